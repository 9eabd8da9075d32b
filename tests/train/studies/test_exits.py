"""Exits are the passes of `first_l`, at the cost of the sweeps that lead to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from short_run import tiny

from dynalay_jax.adaptive import inspect, macs
import problems
from train import run
from train.data import loading
from train.errors import UserError
from train.studies import exits

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.mark.slow
def test_exits_are_the_passes_with_the_first_layers_iterated():
    changes = {"model.widths": (8, 6, 4), "model.strides": (1, 1, 1), "eval_batch": 16}
    config = tiny(**changes)
    dataset = loading.load(config.data)
    task, split = run.build_task(config, dataset), dataset.test.take(slice(20))
    params = inspect.init(task.model, jax.random.key(0), split.images.shape[1:])
    seen = exits.measurement(task, params)(split)

    @jax.jit
    def first(mask):
        router, x = lambda key, seen: mask, task.normalise(split.images)
        logits, trace = task.model.apply(params, x, router, 1.0, jax.random.key(0))
        spent = macs.spent(task.costs, trace.sweeps.iterate, trace.sweeps.steps)
        return jax.nn.log_softmax(logits), spent / task.costs.straight

    head, inject = (getattr(task.costs, name) for name in ("head", "inject"))
    # Beyond a single pass: a head for each exit passed, and layer 3 once more, at exits 1 and 2.
    extra = np.array([0, 0, head + inject[2], 2 * head + inject[2]]) / task.costs.straight
    for exit in range(4):
        log_probs, spent = first(jnp.broadcast_to(jnp.arange(3) < exit, (20, 3)))
        np.testing.assert_allclose(seen.log_probs[:, exit], log_probs, atol=1e-5)
        np.testing.assert_allclose(seen.cost[:, exit], spent + extra[exit], rtol=1e-5)
        right = jnp.argmax(log_probs, -1) == split.labels
        np.testing.assert_array_equal(seen.correct[:, exit], right)
    assert len(np.unique(seen.cost[:, 3])) > 1, "solves take a sample's own steps"
    # The features say which exit it is: last action, before the progress.
    np.testing.assert_array_equal(seen.phi.metrics[..., -5:-1], np.tile(np.eye(4), (20, 1, 1)))


@pytest.mark.slow
def test_exits_of_stages_iterate_more_layers_from_the_last_down():
    changes = {"model.cell": "stage", "model.widths": (4, 4), "model.strides": (2, 1)}
    config = tiny(**changes, eval_batch=16)
    dataset = loading.load(config.data)
    task, split = run.build_task(config, dataset), dataset.test.take(slice(20))
    params = inspect.init(task.model, jax.random.key(0), split.images.shape[1:])
    seen = exits.measurement(task, params)(split)
    costs = np.array(task.costs.step) / task.costs.straight
    again = (task.costs.head + np.array([task.costs.inject[1], 0])) / task.costs.straight
    upper = costs[1] + again[1]
    expected = [0, upper, upper + costs.sum() + again[0]]
    np.testing.assert_allclose(seen.cost, np.tile(expected, (20, 1)), rtol=1e-5)
    for exit, action in enumerate((0, 2, 1)):
        router = problems.route(jnp.full(20, action))
        x = task.normalise(split.images)
        logits, _ = task.model.apply(params, x, router, 1.0, jax.random.key(0))
        expected = jax.nn.log_softmax(logits)
        np.testing.assert_allclose(seen.log_probs[:, exit], expected, atol=1e-5)


def test_answers_that_memory_cannot_hold_are_refused(opened, monkeypatch):
    task, test = opened[0].task, opened[0].dataset.test
    monkeypatch.setattr(exits, "_MOST", 4 * 500 * (len(task.model.widths) + 1) * 10 - 1)
    with pytest.raises(UserError, match="answers to 500 examples in 10 classes"):
        exits.measurement(task, None)(test)
