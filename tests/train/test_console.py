"""The progress line and tables, on a terminal and in a log file."""

import io
import time

import pytest
from rich.console import Console

from train.console import Clock, Progress, human, percent, print_table, shown


class Now:
    """Seconds that pass when told."""

    seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Now()


def log(now, what="joint", total=1000, **options):
    file = io.StringIO()
    console = Console(file=file, width=60)
    clock = Clock(now=now)
    options = {"batch": 64, "unit": "images", "after": 0.0, **options}
    return Progress(what, total, clock=clock, console=console, **options), file, clock


def steps(progress, now, first, last, seconds=1.0, text=""):
    for step in range(first, last + 1):
        now.seconds += seconds
        progress.update(step, text)


def test_a_line_in_full(now):
    progress, file, _ = log(now, total=5000)
    values = {f"action_{i}": (10 - i) / 55 for i in range(11)}
    values |= {"loss": 1.23456, "accuracy": 0.456, "macs": 1_234_567, "unknown": 3.0}
    with progress:
        steps(progress, now, 1000, 1001)
        now.seconds += 100
        progress.update(1002, shown(values))
    assert file.getvalue().splitlines()[-1] == (
        "joint 1,002/5,000  1.27 images/s  2 days, 8:04:59 left  loss 1.2346  accuracy 45.6 %  "
        "MACs 1.23 M  actions 18/16/15/13/11/9/7/5/4/2/0 %"
    )


def test_every_part_leaves_its_last_line_and_pauses_do_not_count(now):
    """Two seconds a step; a run resumed at step 500; a minute of evaluation; a faster part."""
    progress, file, clock = log(now, "", every=600.0)
    with progress:
        progress.begin("first", 500, "compiling")
        now.seconds += 300
        steps(progress, now, 501, 510, seconds=2.0)
        with pytest.raises(KeyError), clock.paused():
            now.seconds += 60
            assert clock.seconds == 320
            raise KeyError
        steps(progress, now, 511, 520, seconds=2.0)
        progress.begin("second", 520)
        steps(progress, now, 521, 530, seconds=0.5)
    assert clock.seconds == 345
    assert [line for line in file.getvalue().splitlines() if "so far" not in line] == [
        "first 520/1,000  32 images/s  0:16:00 left",
        "second 530/1,000  128 images/s  0:03:55 left",
    ]


@pytest.mark.parametrize("seconds", [4, 6])
def test_what_takes_less_than_five_seconds_is_not_shown(now, seconds):
    progress, file, _ = log(now, "reading", unit="", after=5.0)
    with progress:
        now.seconds += seconds
    assert file.getvalue() == ("reading 0/1,000  0:00:06 so far\n" if seconds > 5 else "")


def test_lines_come_while_the_command_is_busy():
    file = io.StringIO()
    console = Console(file=file, width=60)
    with Progress("reading", 7, after=0.01, every=0.01, console=console):
        for _ in range(1000):
            if file.getvalue():
                break
            time.sleep(0.01)
    assert file.getvalue().startswith("reading 0/7  0:00:00 so far")


def test_a_terminal_has_a_live_line(now):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=150, color_system=None)
    progress = Progress("first", 100, clock=Clock(now=now), after=0.0, console=console)
    with progress:
        steps(progress, now, 1, 50, text="loss 0.5")
        for _ in range(1000):
            if "━" in file.getvalue():
                break
            time.sleep(0.01)
        progress.begin("second", 50)
    assert "━" in file.getvalue()
    lines = [line.split("\x1b[2K")[-1] for line in file.getvalue().splitlines()]
    assert "first 50/100  0:00:50 left  loss 0.5" in lines


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
