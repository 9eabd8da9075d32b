"""Errors that are shown to the user without a traceback."""

from collections.abc import Iterable
import difflib


class UserError(Exception):
    """An error the user can cure: main prints its one line and exits 2."""


def expect_one_of(name: str, known: Iterable[str], got: str) -> None:
    """Raises UserError, with the nearest name, unless `got` is known."""
    known = list(known)
    if got not in known:
        near = difflib.get_close_matches(got, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{name}: expected one of {', '.join(known)}, got {got!r}.{hint}")
