"""Optimisers: Nesterov's momentum with faster biases for the main model, AdamW for the agent."""

import jax.numpy as jnp
import numpy as np
import pytest
from short_run import tiny

from train import schedule
from train.state import join, optimizers, split

pytestmark = pytest.mark.usefixtures("flax_promotion")


def test_sgd_is_nesterovs_momentum_with_faster_biases_and_no_decay_of_them():
    settings = dict(optimizer="sgd", momentum=0.8, bias_rate=4.0, learning_rate=0.5, warmup=0.0)
    settings |= dict(weight_decay=0.01, clip=float("inf"))
    config = tiny(**{f"train.{name}": value for name, value in settings.items()})
    phases = schedule.plan(config, 1_000)
    transforms = optimizers(config, phases)
    # Biases of several routes have two dimensions.
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((3, 2)), "scale": jnp.ones(2)}
    state = transforms["main"].init(params)
    gradients = {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.ones((3, 2)), "scale": jnp.ones(2)}
    _, state = transforms["main"].update(gradients, state, params)
    updates, _ = transforms["main"].update(gradients, state, params)
    # The second of the updates: after one update of warm-up, the peak rate.
    for name, gradient, times in (("kernel", 2.01, 1), ("bias", 1, 4), ("scale", 1, 4)):
        trace = gradient + 0.8 * gradient
        expected = -0.5 * times * (gradient + 0.8 * trace)
        np.testing.assert_allclose(updates[name], expected, rtol=1e-5)
    agent, _ = transforms["agent"].update(params, transforms["agent"].init(params), params)
    assert float(jnp.abs(agent["kernel"]).max()) < 0.1, "AdamW's first rate is 0"


@pytest.mark.parametrize("measured", [{}, {"statistics": {"layer": jnp.zeros(2)}}])
def test_split_and_join_keep_what_is_measured(measured):
    variables = {"params": {"agent": jnp.ones(1), "classifier": jnp.ones(2)}, **measured}
    groups = split(variables)
    assert set(groups) == {"main", "agent", *measured} and set(groups["main"]) == {"classifier"}
    assert join(groups) == variables
