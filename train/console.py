"""What a command prints: a progress line and tables, on a terminal or in a log file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import datetime
import functools
import math
import re
import time

from rich import box
from rich.console import Console
import rich.progress
from rich.table import Column, Table
from rich.text import Text

_LOG_WIDTH = 160
_PREFIXES = " kMGT"


class Progress:
    """A line with step, speed, time left and the latest values. A context manager.

    On a terminal the line is live and messages scroll above it. Elsewhere it is printed now and
    then. In both the last line of every phase stays.

        with Progress(total=5_000, batch=64) as progress:
            progress.update(1_300, "joint", {"loss": 1.5, "accuracy": 0.45})
            with progress.paused():
                evaluate()

    Speed and time left are those of this process in this phase from its first update on, so that
    neither compilation nor the steps before a restart count.
    """

    def __init__(
        self,
        total: int,
        batch: int,
        every: float = 10.0,
        unit: str = "images",
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        total: steps of the whole run.
        batch: examples a step.
        every: seconds between lines where output is not a terminal.
        unit: what an example is called.
        console: where to write; stdout unless given.
        clock: seconds.
        """
        self._total, self._batch, self._unit = total, batch, unit
        self._every, self._clock = every, clock
        self._console = console or _console()
        self._phase: str | None = None
        self._origin = (0, 0.0)
        self._line = ""
        self._printed = (-math.inf, "")
        self._live = rich.progress.Progress(
            rich.progress.BarColumn(bar_width=10),
            # A column that wraps: rich would cut a text on a narrow terminal.
            rich.progress.TextColumn("{task.description}", markup=False, table_column=Column()),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._live.add_task("", total=total)

    def __enter__(self) -> "Progress":
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def update(self, step: int, phase: str, values: Mapping[str, float]) -> None:
        """Shows the step's values.

        Args:
            step: steps taken in the whole run, those before a restart included.
            phase: its name; a new one starts a new measurement of speed.
            values: of these `loss`, `accuracy` (0 to 1), `macs` (mean a sample) and the
                frequencies `action_0`, `action_1`, … (0 to 1) are shown where they are given.
        """
        if phase != self._phase:
            self._print_last()
            self._phase, self._origin = phase, (step, self._clock())
        self._line = "  ".join([*self._where(step, phase), *_shown(values)])
        self._live.update(self._task, completed=step, description=self._line)
        if not self._console.is_terminal and self._clock() - self._printed[0] >= self._every:
            self._print_last()

    def message(self, text: str) -> None:
        """Prints a text above the live line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time inside, of an evaluation for example, does not count for speed and time left."""
        start = self._clock()
        try:
            yield
        finally:
            step, since = self._origin
            self._origin = (step, since + self._clock() - start)

    def close(self) -> None:
        """Ends the live line and prints the last line once more, to stay."""
        self._live.stop()
        self._print_last()

    def _where(self, step: int, phase: str) -> list[str]:
        first, since = self._origin
        steps, seconds = step - first, self._clock() - since
        parts = [f"{phase} {step:,}/{self._total:,}"]
        if steps > 0 and seconds > 0:
            left = datetime.timedelta(seconds=round((self._total - step) * seconds / steps))
            parts += [f"{human(steps * self._batch / seconds)} {self._unit}/s", f"{left} left"]
        return parts

    def _print_last(self) -> None:
        if self._line != self._printed[1]:
            self.message(self._line)
            self._printed = (self._clock(), self._line)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str | float | int]]
) -> None:
    """Prints a table on stdout, as wide as its cells need.

    Args:
        title: stands above it.
        columns: headings.
        rows: cells, as many as columns; numbers are made readable by `human`.
    """
    # Text, because rich reads the "[batch, 32]" of a plain string as markup.
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        numeric = bool(rows) and not isinstance(rows[0][i], str)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell if isinstance(cell, str) else human(cell)) for cell in row])
    _console().print(table)


def human(number: float) -> str:
    """Three significant digits and a prefix: 1.23 M, 45.6 k, 7, 0.0123."""
    if not math.isfinite(number):
        return f"{number}"
    # Round first: 999,900 is 1.00 M and not 1000 k.
    digits, exponent = f"{number:.2e}".split("e")
    power = min(int(exponent) // 3, len(_PREFIXES) - 1)
    if power <= 0:
        return f"{float(f'{number:.2e}'):g}"
    shift = int(exponent) - 3 * power
    return f"{float(digits) * 10**shift:.{max(0, 2 - shift)}f} {_PREFIXES[power]}"


def percent(fraction: float) -> str:
    """45.6 % for 0.456."""
    return f"{100 * fraction:.1f} %"


def action_names(keys: Iterable[str]) -> list[str]:
    """Those of the keys that are `action_0`, `action_1`, …, sorted by number."""
    return sorted(
        (key for key in keys if re.fullmatch(r"action_\d+", key)),
        key=lambda key: int(key.removeprefix("action_")),
    )


def _shown(values: Mapping[str, float]) -> list[str]:
    parts = []
    if "loss" in values:
        parts.append(f"loss {values['loss']:.4f}")
    if "accuracy" in values:
        parts.append(f"accuracy {percent(values['accuracy'])}")
    if "macs" in values:
        parts.append(f"MACs {human(values['macs'])}")
    if actions := action_names(values):
        parts.append("actions " + "/".join(f"{100 * values[a]:.0f}" for a in actions) + " %")
    return parts


@functools.cache
def _console() -> Console:
    """Stdout. There is one console for all output, so that a table does not break the live line."""
    console = Console()
    # A log file has no width. Rich would cut lines at 80 columns.
    return console if console.is_terminal else Console(width=_LOG_WIDTH)
