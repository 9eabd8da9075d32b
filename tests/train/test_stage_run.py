"""A whole run with stage cells: statistics are measured, saved, and used in evaluation."""

import jax
import numpy as np
import pytest
from short_run import tiny

from train import loop, parallel
from train.run import Run, reopen

pytestmark = pytest.mark.usefixtures("flax_promotion")


def stages(**changes):
    config = tiny(**changes)
    config.model.update(cell="stage", widths=(8, 8), strides=(2, 1), whitening=2)
    config.train.update(optimizer="sgd", learning_rate=0.1, ema=0.9, distillation=0.5)
    config.train.update(straight=0.4, everything=0.4)
    return config


@pytest.mark.slow
def test_statistics_are_measured_saved_and_evaluated(tmp_path):
    config = stages()
    begun = Run.prepare(config, None).initial().params
    summary = loop.train_and_evaluate(config, tmp_path)
    assert len(summary["routes"]) == 3 and sum(summary["routes"]) == pytest.approx(1)
    run = reopen(tmp_path)
    _, params = run.restored()
    found = parallel.unreplicate(params)
    # The stem was measured once on the images; statistics follow the batches.
    stem = lambda params: params["statistics"]["first"]["kernel"]
    assert np.allclose(stem(found), stem(begun), atol=1e-6)
    assert not np.allclose(stem(begun), np.eye(len(stem(begun))))
    for j in range(2):
        mean = found["statistics"][f"layers_{j}"]["inject_norm"]["mean"]
        assert mean.any(axis=-1).all(), "of every row"
    assert run.evaluate(params, "test", "all").accuracy == summary["all_layers_accuracy"]
    fresh = {**found, "statistics": begun["statistics"]}
    assert run.evaluate(parallel.replicate(fresh), "test", "all").loss != summary["all_layers_loss"]


def test_devices_agree_on_the_statistics():
    run = Run.prepare(stages(), None)
    state, data = parallel.replicate(run.initial()), parallel.Resident(run.dataset.train)
    call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
    indices = np.arange(2 * 128, dtype=np.int32).reshape(2, 128)
    state, _ = call(state, data, indices)
    for leaf in jax.tree.leaves(state.params["statistics"]):
        assert (np.asarray(leaf) == np.asarray(leaf)[:1]).all()
