"""A run beside another model's losses."""

import json

import numpy as np
import pytest
from short_run import begun, tiny

from train import run as finished
from train.errors import UserError
from train.studies import difficulty_judge

pytestmark = pytest.mark.usefixtures("flax_promotion")


def static(seed):
    config = tiny(router="none", seed=seed)
    config.train.epochs.update(agent=0.0, joint=0.0)
    return config


def test_parts_go_from_what_the_judge_finds_easy_to_what_it_finds_hard(tmp_path, capsys):
    workdir, judge = begun(tiny(), tmp_path / "run"), begun(static(1), tmp_path / "judge")
    record = difficulty_judge.agreement(workdir, judge)
    assert json.loads((workdir / "agreement.json").read_text()) == record
    assert record["judge"] == "judge" and record["test_examples"] == 500
    losses = [part["judge_loss"] for part in record["parts"]]
    assert len(losses) == 5 and losses == sorted(losses) and losses[0] < losses[-1]
    other = finished.reopen(judge, baseline=True)
    judged = other.evaluate(other.restored()[1], "test", "none")
    assert np.mean(losses) == pytest.approx(judged.loss, rel=1e-5)
    assert record["judge_accuracy"] == judged.accuracy
    run = finished.reopen(workdir)
    report = run.evaluate(run.restored()[1], "test", "agent")
    hardest = np.argsort(judged.each["loss"], kind="stable")[-100:]
    expected = report.each["cost"][hardest].mean()
    assert record["parts"][-1]["agent_cost"] == pytest.approx(expected)
    assert "from easy to hard for judge" in capsys.readouterr().out


def test_of_equal_weights_run_and_judge_have_equal_answers(tmp_path):
    """Judged on its own route, the judge is the straight pass of the run."""
    workdir, judge = begun(tiny(seed=1), tmp_path / "run"), begun(static(1), tmp_path / "judge")
    record = difficulty_judge.agreement(workdir, judge)
    straight = np.mean([part["straight_accuracy"] for part in record["parts"]])
    assert record["judge_accuracy"] == pytest.approx(straight)


def test_a_judge_of_other_examples_is_refused(tmp_path):
    other = static(1)
    other.augment.update(crop=0, cutout=0)
    other.data = {"name": "connectivity", "grid": 8, "open_fraction": 0.6, "seed": 0}
    other.data.update(train=300, validation=100, test=500)
    workdir, judge = begun(tiny(), tmp_path / "run"), begun(other, tmp_path / "judge")
    with pytest.raises(UserError, match="expected a run with the test split of"):
        difficulty_judge.agreement(workdir, judge)
