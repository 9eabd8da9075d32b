"""Signals: the first is remembered by who can save, all others end the process, and at once."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, signal, sys, time
from train.cli import Interrupted, Stop, friendly

number = signal.Signals[sys.argv[1]]
with friendly():
    if sys.argv[2] == "listening":
        stop = Stop("saving")
        stop.listen()
        signal.raise_signal(number)
        while stop.by is None:
            time.sleep(0.01)
    if sys.argv[3] == "saved":
        stop.close()
        raise Interrupted(stop.by, " at step 3.")
    signal.raise_signal(number)
    ctypes.CDLL(None).sleep(60)  # as a compilation: no handler of Python runs before it ends
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize(
    ("waits", "ends", "said"),
    [
        ("listening", "saved", ["{}: saving. A second one ends at once.", "Stopped by {} at step"]),
        ("listening", "twice", ["{}: saving. A second one ends at once.", "Stopped by {}. The"]),
        ("not", "once", ["Stopped by {}. The same command starts again, from the newest"]),
    ],
)
def test_signals(name, waits, ends, said):
    command = [sys.executable, "-c", SCRIPT, name, waits, ends]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + signal.Signals[name], "")
    shown = "Ctrl-C" if name == "SIGINT" else name
    for line, words in zip(done.stdout.splitlines(), said, strict=True):
        assert line.startswith(words.format(shown))
