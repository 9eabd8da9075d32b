"""Measurements: `python -m benchmarks.NAME`, one command a file."""

import train  # noqa: F401  # a Ctrl-C during the imports ends a command without a traceback
