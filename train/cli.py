"""What the commands have in common: mistakes are answered in one line, signals end them."""

import argparse
from collections.abc import Iterator
import contextlib
import sys
from typing import NoReturn

from absl import logging as absl_logging

from train.errors import UserError
from train.interrupt import Interrupted, at_once


@contextlib.contextmanager
def friendly() -> Iterator[None]:
    """Exits 2 with one line on stderr for what the user can cure, and quietly when interrupted."""
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
    """A parser whose mistakes are `UserError`s, without the usage around them."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help.")
