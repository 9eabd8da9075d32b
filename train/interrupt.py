"""Stopping on request: SIGTERM and Ctrl-C are remembered until the loop has saved."""

from collections.abc import Iterator
import contextlib
import signal
from typing import Any

_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "interrupt"}


class Interrupted(Exception):
    """The run was asked to stop; everything up to now is saved."""


class Stop:
    """Remembers that the process was asked to stop, so that the loop can save first."""

    def __init__(self) -> None:
        self.by: str | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Handles SIGTERM and SIGINT meanwhile, where the interpreter lets us (main thread)."""

        def remember(number: int, frame: Any) -> None:
            del frame
            self.by = _NAMES[signal.Signals(number)]

        former = {}
        with contextlib.suppress(ValueError):
            for number in _NAMES:
                former[number] = signal.signal(number, remember)
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
