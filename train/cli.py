"""What all commands share: one line for a mistake, and a clean end on a signal."""

import argparse
from collections.abc import Callable, Iterator
import contextlib
import os
from pathlib import Path
import signal
import sys
import threading
from typing import NoReturn

from absl import logging as absl_logging

from train.errors import UserError

_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C", signal.SIGHUP: "SIGHUP"}


@contextlib.contextmanager
def friendly() -> Iterator[None]:
    """A `UserError` inside prints one line and exits 2; a signal ends the process at once."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        with _watched(_end):
            yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader, such as `head`, has gone. Python would say so once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except Interrupted as stopped:
        print(stopped, flush=True)
        sys.exit(stopped.code)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError` for a mistake and does not print its usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help.")


def folder(text: str) -> Path:
    """The `type` of an option that names a folder, which need not exist.

    Raises:
        ArgumentTypeError: the name is empty or too long, or that of a file.
    """
    path = Path(text)
    try:
        wrong = "an empty name" if not text else f"the file {text}" if path.is_file() else ""
    except OSError as error:
        wrong = f"a name that the system refuses ({error.strerror})"
    if wrong:
        raise argparse.ArgumentTypeError(f"expected a folder, got {wrong}")
    return path


class Interrupted(Exception):
    """A signal stopped the command; everything worth keeping is saved.

    Attributes:
        code: exit status, 128 + the number of the signal.
    """

    def __init__(self, by: signal.Signals, what: str) -> None:
        super().__init__(f"Stopped by {_NAMES[by]}{what}")
        self.code = 128 + by


class Stop:
    """Remembers the first signal, so that its owner can save. The second ends the process.

    Attributes:
        by: the signal, None so far.
    """

    def __init__(self, doing: str) -> None:
        """Args: doing: what the owner does then, as "saving"; is printed at once."""
        self.by: signal.Signals | None = None
        self._doing, self._listening = doing, contextlib.ExitStack()
        self._heard = False

    def listen(self) -> None:
        """From the first call on, until `close`, signals are remembered."""
        if not self._heard:
            self._heard = True
            self._listening.enter_context(_watched(self._remember))

    def close(self) -> None:
        self._listening.close()

    def _remember(self, number: signal.Signals) -> None:
        if self.by:
            _end(number)
        self.by = number
        print(f"{_NAMES[number]}: {self._doing}. A second one ends at once.", flush=True)


def _end(number: signal.Signals) -> None:
    """Ends the process, also in the middle of a compilation, where an exception is a crash."""
    show_cursor = "\x1b[?25h\r" if sys.stdout.isatty() else ""
    print(
        f"{show_cursor}Stopped by {_NAMES[number]}. The same command starts again, from the newest "
        "checkpoint if there is one.",
        flush=True,
    )
    os._exit(128 + number)


@contextlib.contextmanager
def _watched(react: Callable[[signal.Signals], None]) -> Iterator[None]:
    """SIGTERM, Ctrl-C and SIGHUP call react(signal) inside, in a thread of its own.

    Python's handlers wait until the main thread is back from XLA, which may compile for minutes.
    Only the main thread can set handlers; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived, arrives = os.pipe()
    os.set_blocking(arrives, False)

    def watch() -> None:
        while number := os.read(arrived, 1):
            if number[0] in numbers:
                react(signal.Signals(number[0]))
        os.close(arrived)

    # A command under nohup has SIGHUP ignored, and must live on.
    numbers = [n for n in _NAMES if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    descriptor = signal.set_wakeup_fd(arrives)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(arrives)
        thread.join()
