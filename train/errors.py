"""Errors that are shown to the user without a traceback."""


class UserError(Exception):
    """An error the user can cure: main prints its one line and exits 2."""
