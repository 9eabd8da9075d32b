"""A run beside another model's losses."""

from types import SimpleNamespace

import numpy as np
import pytest
from short_run import SMALL, begun, tiny

from train.errors import UserError
from train.run import reopen
from train.studies import difficulty_judge

pytestmark = pytest.mark.usefixtures("flax_promotion")


def static(**changes):
    config = tiny(router="none", **SMALL, **changes)
    config.train.epochs.update(agent=0.0, joint=0.0)
    return config


def test_parts_go_from_easy_to_hard_for_the_judge(opened, tmp_path, monkeypatch):
    run, params = opened
    other = reopen(begun(static(seed=1), tmp_path / "judge"), without_agent=True)
    monkeypatch.setattr(difficulty_judge, "finished", lambda *_, **__: other)
    record = difficulty_judge.measure(run, params, tmp_path / "judge")
    assert record["judge"] == "judge" and record["test_examples"] == 500
    losses = [part["judge_loss"] for part in record["parts"]]
    assert len(losses) == 5 and losses == sorted(losses) and losses[0] < losses[-1]
    judged = other.evaluate(other.restored()[1], "test", "none")
    assert np.mean(losses) == pytest.approx(judged.loss, rel=1e-5)
    assert record["judge_accuracy"] == judged.accuracy
    hardest = np.argsort(judged.each["loss"], kind="stable")[-100:]
    cost = run.evaluate(params, "test", "agent").each["cost"]
    assert record["parts"][-1]["agent_cost"] == pytest.approx(cost[hardest].mean())
    shown = difficulty_judge.table(record)
    assert "from easy to hard for judge" in shown.title and len(shown.rows) == 5


def test_a_judge_of_other_examples_is_refused(opened, monkeypatch):
    run, params = opened
    other = SimpleNamespace(dataset=SimpleNamespace(test=run.dataset.test.take(slice(9))))
    monkeypatch.setattr(difficulty_judge, "finished", lambda *_, **__: other)
    with pytest.raises(UserError, match="expected a run with the test split of"):
        difficulty_judge.measure(run, params, "judge")
    with pytest.raises(UserError, match="expected another run as judge, got the run itself"):
        difficulty_judge.measure(run, params, run.workdir)
