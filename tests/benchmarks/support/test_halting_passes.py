"""Passes that end early: as accurate and as dear as the recorded exits say, at each setting."""

import jax
import numpy as np
import pytest
from short_run import begun, tiny

from benchmarks.support import halting_passes
from train.parallel import unreplicate
from train.run import Run
from train.studies import early_exit, halting_nets
from train.workdir import write_record

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.fixture(scope="module")
def run(tmp_path_factory, flax_promotion):
    config = tiny(**{"data.validation": 500})
    return Run.to_evaluate(config, begun(config, tmp_path_factory.mktemp("run")))


def test_without_a_comparison_there_are_none(tmp_path):
    assert halting_passes.arms(tmp_path, None, None) == {}


@pytest.mark.slow
def test_programs_do_what_was_recorded(run, monkeypatch):
    monkeypatch.setattr(halting_nets, "_STEPS", 30)
    for name, values in {"_PRIORS": (0.3, 0.5), "_TAUS": (0.1,), "_QUANTILES": (0.5, 0.7)}.items():
        monkeypatch.setattr(early_exit, name, values)
    _, params = run.restored()
    record = early_exit.measure(run, params)
    write_record(run.workdir, "early_exit", record)
    params = unreplicate(params)
    budget = record["at_agent_cost"]["agent"]["mean_cost"]
    arms, test = halting_passes.arms(run.workdir, run, params), run.dataset.test
    assert [arm.kind for arm in arms.values()] == ["early exit", "PonderNet", "Q-exit", "ACT"]
    for (name, arm), rule in zip(arms.items(), halting_passes.RULES, strict=True):
        points = [point for point in record[rule] if halting_passes.RULES[rule].setting in point]
        point = min(points, key=lambda point: abs(point["mean_cost"] - budget))
        program, draws = jax.jit(arm.program), 60 if rule == "pondernet" else 1
        seen = [program(arm.params, test.images, jax.random.key(i)) for i in range(draws)]
        accuracy = np.mean([out["logits"].argmax(-1) == test.labels for out in seen])
        cost = np.mean([out["macs"] for out in seen]) / run.task.costs.straight - 1
        iterated = seen[0]["iterated"].any(-1).mean()
        assert 0 < iterated < 1 or rule == "act", f"{name}: everybody is alike"
        assert accuracy == pytest.approx(point["accuracy"], abs=0.01 if draws > 1 else 0.004)
        assert cost == pytest.approx(point["mean_cost"], rel=0.02 if draws > 1 else 5e-3)
