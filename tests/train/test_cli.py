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


@pytest.mark.parametrize(
    "command", ["train.main", "train.sweep", "train.studies.calibrate", "benchmarks.paper.report"]
)
def test_ctrl_c_during_the_imports_ends_a_command_without_a_traceback(command):
    """As Python imports it: the package of the command comes first."""
    hook = (
        "import builtins, signal, sys; kept = builtins.__import__\n"
        "def wait(name, *args, **kwargs):\n"
        "    if name == 'jax': signal.raise_signal(signal.SIGINT)\n"
        "    return kept(name, *args, **kwargs)\n"
        "builtins.__import__ = wait\n"
        f"import runpy; sys.argv = ['-m']; runpy.run_module({command!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", hook], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
