"""The progress line and tables, on a terminal and in a log file."""

import io

import pytest
from rich.console import Console

from train.console import Progress, human, percent, print_table


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def log(clock, total=1000, **options):
    file = io.StringIO()
    console = Console(file=file, width=60)
    return Progress(total, batch=64, console=console, clock=clock, **options), file


def steps(progress, clock, first, last, phase="joint", seconds=1.0, values=None):
    for step in range(first, last + 1):
        clock.now += seconds
        progress.update(step, phase, values or {})


def test_a_line_in_full(clock):
    progress, file = log(clock, total=5000)
    values = {f"action_{i}": (10 - i) / 55 for i in range(11)}
    values |= {"loss": 1.23456, "accuracy": 0.456, "macs": 1_234_567, "unknown": 3.0}
    with progress:
        steps(progress, clock, 1000, 1001)
        clock.now += 100
        progress.update(1002, "joint", values)
    assert file.getvalue().splitlines()[-1] == (
        "joint 1,002/5,000  1.27 images/s  2 days, 8:04:59 left  loss 1.2346  accuracy 45.6 %  "
        "MACs 1.23 M  actions 18/16/15/13/11/9/7/5/4/2/0 %"
    )


def test_log_lines_are_rare_and_every_phase_has_its_last(clock):
    progress, file = log(clock, every=10.0, unit="tokens")
    with progress:
        steps(progress, clock, 1, 25, "first")
        steps(progress, clock, 26, 32, "second")
    lines = file.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "first 1/1,000", "first 11/1,000", "first 21/1,000", "first 25/1,000", "second 32/1,000"
    ]  # fmt: skip
    assert "left" not in lines[0], "one update has no speed"
    assert lines[1].endswith("64 tokens/s  0:16:29 left")


def test_pauses_and_what_was_before_do_not_count(clock):
    """Two seconds a step; a run resumed at step 500; a minute of evaluation; a faster phase."""
    progress, file = log(clock, every=0.0)
    clock.now += 300
    with progress:
        steps(progress, clock, 501, 510, "first", seconds=2.0)
        with pytest.raises(KeyError), progress.paused():
            clock.now += 60
            raise KeyError
        steps(progress, clock, 511, 520, "first", seconds=2.0)
        steps(progress, clock, 521, 530, "second", seconds=0.5)
    lines = file.getvalue().splitlines()
    assert lines[19] == "first 520/1,000  32 images/s  0:16:00 left"
    assert lines[29] == "second 530/1,000  128 images/s  0:03:55 left"


def test_messages_stay_whole(clock):
    progress, file = log(clock)
    progress.message("a [bold] message: " + 50 * "long ")
    assert file.getvalue() == "a [bold] message: " + 50 * "long " + "\n"


def test_a_terminal_has_a_live_line(clock):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=150, color_system=None)
    progress = Progress(100, batch=64, console=console, clock=clock)
    with progress:
        steps(progress, clock, 1, 50, "first", values={"loss": 0.5})
        progress.message("message")
        steps(progress, clock, 51, 60, "second")
    *_, last = file.getvalue().splitlines()
    assert last.endswith("\x1b[1A\x1b[2Ksecond 60/100  64 images/s  0:00:40 left"), "in its place"
    assert "━" in file.getvalue()
    plain = [line.split("\x1b[2K")[-1] for line in file.getvalue().splitlines()]
    assert "message" in plain
    assert "first 50/100  64 images/s  0:00:50 left  loss 0.5000" in plain


def test_tables_are_not_cut(capsys):
    name = "layers/1/" + 9 * "block/" + "kernel"
    print_table(
        "The model",
        ["module", "shape", "parameters", "MACs"],
        [[name, "[batch, 32]", 1_234_567, 0.5], ["head", "[10]", 7, 999_950]],
    )
    title, _, heading, _, first, second, *_ = capsys.readouterr().out.splitlines()
    assert title.strip() == "The model"
    assert heading.split() == ["module", "shape", "parameters", "MACs"]
    assert first.split() == [name, "[batch,", "32]", "1.23", "M", "0.5"]
    assert second.split() == ["head", "[10]", "7", "1.00", "M"]
    assert first.index("1.23 M") + 6 == second.index(" 7 ") + 2, "numbers are right-aligned"
    print_table("Empty", ["a"], [])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (7, "7"), (45.67, "45.7"), (0.01234, "0.0123"), (999, "999"), (999.6, "1.00 k"),
        (1000, "1.00 k"), (45_600, "45.6 k"), (456_000, "456 k"), (999_950, "1.00 M"),
        (1_234_567, "1.23 M"), (-2.5e9, "-2.50 G"), (3e12, "3.00 T"), (3e15, "3000 T"),
        (float("nan"), "nan"), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_human(number, text):
    assert human(number) == text


def test_percent():
    assert percent(0.456) == "45.6 %"
