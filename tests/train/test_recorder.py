"""What is written down, warned of and refused while a run goes."""

import types

import numpy as np
import pytest

from train.errors import UserError
from train.evaluate import Report
from train.recorder import Clock, Recorder
from train.schedule import Phase

AGENT, MAIN = Phase("agent", 0, 9), Phase("main", 0, 9)


class Said(list):
    """Takes any call and remembers it."""

    def __getattr__(self, name):
        return lambda *args: self.append((name, *args))


def report(router, loss=0.5):
    """Straight is right for half, all layers for all; the agent iterates nothing."""
    correct = np.arange(100) < (100 if router == "all" else 50)
    iterated = np.full((100, 2), router == "all")
    each = {"correct": correct, "iterated": iterated, "cost": np.zeros(100)}
    return Report({**each, "loss": np.full(100, loss)}, 1.0)


def recorder(loss=0.5, router="agent"):
    evaluate = lambda params, split, router: report(router, loss)
    checkpoints = types.SimpleNamespace(newest=lambda: "checkpoints/4")
    progress, writer = Said(), Said()
    task = types.SimpleNamespace(config=types.SimpleNamespace(router=router))
    return Recorder(task, evaluate, checkpoints, writer, progress, Clock(0.0)), progress, writer


STATE = types.SimpleNamespace(evaluated=None)


def test_a_collapsed_agent_is_warned_of():
    watch, progress, _ = recorder()
    assert watch._validate(5, AGENT, STATE) == 0.5
    text = " ".join(str(call[1]) for call in progress)
    assert "the agent takes action 0 for 100" in text and "50.0 % would be right" in text


def test_no_checkpoint_is_rated_before_the_agent_is_trained():
    watch, progress, writer = recorder()
    assert watch._validate(5, MAIN, STATE) is None
    assert not any("Warning" in str(call[1]) for call in progress)
    assert writer[0][:3] == ("write", 5, "validation")
    assert writer[0][3]["all_layers_accuracy"] == 1.0


def test_a_baseline_is_rated_by_its_route():
    watch, _, writer = recorder(router="all")
    assert watch._validate(5, MAIN, STATE) == 1.0
    assert writer[0][3]["all_accuracy"] == 1.0 and "agent_accuracy" not in writer[0][3]


def test_a_validation_loss_that_is_not_finite_is_refused():
    watch, _, _ = recorder(loss=np.nan)
    with pytest.raises(
        UserError, match=r"validation loss .* step 5; last good .*: checkpoints/4\."
    ):
        watch._validate(5, AGENT, STATE)
