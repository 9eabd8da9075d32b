"""Signals: remembered while training, at once otherwise, and handlers put back."""

import os
import signal

import pytest

from train.cli import Interrupted, Stop, at_once

SIGNALS = [(signal.SIGTERM, "SIGTERM", 0), (signal.SIGINT, "Ctrl-C", 130)]


@pytest.mark.parametrize(("number", "name", "code"), SIGNALS)
def test_at_once_raises(number, name, code):
    before = signal.getsignal(number)
    with (
        pytest.raises(Interrupted, match=f"Stopped by {name}. The same command") as stopped,
        at_once(),
    ):
        os.kill(os.getpid(), number)
    assert stopped.value.code == code
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "name", "code"), SIGNALS)
def test_listening_remembers(number, name, code):
    with at_once():
        with Stop().listening() as stop:
            assert stop.by is None
            os.kill(os.getpid(), number)
            assert stop.by == name
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)
    assert Interrupted(name, "").code == code
