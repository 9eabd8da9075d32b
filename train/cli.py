"""What all commands share: one line for a mistake, and a clean end on a signal."""

import argparse
from collections.abc import Callable, Iterator
import contextlib
import signal
import sys
from typing import Any, NoReturn

from absl import logging as absl_logging

from train.errors import UserError


@contextlib.contextmanager
def friendly() -> Iterator[None]:
    """A `UserError` inside prints one line and exits 2; a signal exits without a traceback."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        with at_once():
            yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(stopped, flush=True)
        sys.exit(stopped.code)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError` for a mistake and does not print its usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help.")


_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class Interrupted(Exception):
    """A signal stopped the command; everything worth keeping is saved.

    Attributes:
        code: exit status, 0 after SIGTERM, as schedulers expect, and 130 after Ctrl-C.
    """

    def __init__(self, by: str, what: str) -> None:
        super().__init__(f"Stopped by {by}{what}")
        self.code = 0 if by == "SIGTERM" else 130


class Stop:
    """Remembers a signal, so that the training loop can save before it stops."""

    def __init__(self) -> None:
        self.by: str | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """SIGTERM and Ctrl-C set `by` inside."""

        def remember(name: str) -> None:
            self.by = name

        with _handled(remember):
            yield self


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """SIGTERM and Ctrl-C raise `Interrupted` inside."""

    def stop(name: str) -> None:
        raise Interrupted(name, ". The same command goes on from the last checkpoint.")

    with _handled(stop):
        yield


@contextlib.contextmanager
def _handled(react: Callable[[str], None]) -> Iterator[None]:
    """SIGTERM and Ctrl-C call react(name) inside. Only the main thread can handle signals."""

    def handler(number: int, frame: Any) -> None:
        del frame
        react(_NAMES[signal.Signals(number)])

    former = {}
    with contextlib.suppress(ValueError):
        for number in _NAMES:
            former[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)
