"""What a command prints: how far it is, and tables, on a terminal or in a log file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import datetime
import functools
import math
import re
import threading
import time

from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_LOG_WIDTH = 160
_PREFIXES = " kMGT"


class Clock:
    """Seconds since it was made, and `before` that, without pauses."""

    def __init__(self, before: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._start, self._stopped = now, now() - before, math.inf

    @property
    def seconds(self) -> float:
        return min(self._now(), self._stopped) - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The time inside does not count."""
        self._stopped = self._now()
        try:
            yield
        finally:
            self._start += self._now() - self._stopped
            self._stopped = math.inf


class Progress:
    """Says what goes on inside, how far it is and how long it takes. A context manager.

    On a terminal the line is live. Elsewhere a line is printed every ten seconds. What takes less
    than `after` seconds is not shown.

        with Progress("corruptions", total=24) as progress:
            for done, name in enumerate(names):
                progress.update(done, name)
                ...
    """

    def __init__(
        self,
        what: str,
        total: int = 0,
        batch: int = 1,
        unit: str = "",
        clock: Clock | None = None,
        after: float = 5.0,
        every: float = 10.0,
        console: Console | None = None,
    ) -> None:
        """Args:
        what: is done.
        total: steps; 0 if unknown.
        batch, unit: examples a step, and what an example is called, if a speed is to be shown.
        clock: its pauses do not count for speed and time left.
        after, every: seconds until the line is shown, and between lines if there is no terminal.
        console: where to write; stdout unless given.
        """
        self._total, self._batch, self._unit = total, batch, unit
        self._clock, self._after, self._every = clock or Clock(), after, every
        self._console = console or _console()
        self._what, self._printed, self._ended = "", "", threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self.begin(what)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self._print_last()

    def begin(self, what: str, done: int = 0, text: str = "") -> None:
        """The next part begins. The last line of the one before stays, if it had steps."""
        self._print_last()
        self._what, self._done, self._text, self._begun = what, done, text, self._clock.seconds
        self._origin: tuple[int, float] | None = None

    def update(self, done: int, text: str = "") -> None:
        """So many steps of `total` are done, with this result.

        Speed and time left are measured from the first update of a part on, so that neither
        compilation nor the steps before a restart count.
        """
        self._origin = self._origin or (done, self._clock.seconds)
        self._done, self._text = done, text

    def _show(self) -> None:
        if self._ended.wait(self._after):
            return
        if self._console.is_terminal:
            with Live(get_renderable=self._live, console=self._console, transient=True):
                self._ended.wait()
        else:
            self._print()
            while not self._ended.wait(self._every):
                self._print()

    def _live(self) -> Table:
        bar = [ProgressBar(self._total, self._done, width=10)] if self._total else []
        row = Table.grid(padding=(0, 1))
        row.add_row(*bar, Text(self._line()))
        return row

    def _line(self) -> str:
        done, seconds = self._done, self._clock.seconds
        first, since = self._origin or (done, seconds)
        parts = [f"{self._what} {done:,}/{self._total:,}" if self._total else self._what]
        if done > first and seconds > since:
            speed = (done - first) / (seconds - since)
            parts += [f"{human(speed * self._batch)} {self._unit}/s"] if self._unit else []
            parts.append(f"{_time((self._total - done) / speed)} left")
        else:
            parts.append(f"{_time(seconds - self._begun)} so far")
        return "  ".join(filter(None, [*parts, self._text]))

    def _print_last(self) -> None:
        if self._what and self._total and self._clock.seconds - self._begun >= self._after:
            self._print()

    def _print(self) -> None:
        line = self._line()
        if line != self._printed:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._printed = line


def _time(seconds: float) -> str:
    return f"{datetime.timedelta(seconds=round(seconds))}"


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


def shown(values: Mapping[str, float]) -> str:
    """Of a training step's means: loss, accuracy, MACs and actions, where they are given."""
    parts = []
    if "loss" in values:
        parts.append(f"loss {values['loss']:.4f}")
    if "accuracy" in values:
        parts.append(f"accuracy {percent(values['accuracy'])}")
    if "macs" in values:
        parts.append(f"MACs {human(values['macs'])}")
    if actions := action_names(values):
        parts.append("actions " + "/".join(f"{100 * values[a]:.0f}" for a in actions) + " %")
    return "  ".join(parts)


@functools.cache
def _console() -> Console:
    """Stdout. There is one console for all output, so that a table does not break the live line."""
    console = Console()
    # A log file has no width. Rich would cut lines at 80 columns.
    return console if console.is_terminal else Console(width=_LOG_WIDTH)
