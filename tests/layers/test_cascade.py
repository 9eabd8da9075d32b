"""The cascade cell: nilpotent, and solved with its gradient by one sweep over its groups."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.adaptive import macs
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")


def test_is_at_its_fixed_point_after_as_many_steps_as_groups():
    cell, _, _, (w, u) = problems.built_cell("cascade")
    step, first = jax.jit(cell.step), cell.straight(w, u)
    far = 100 * jax.random.normal(jax.random.key(4), first.shape)
    straight, other = (
        functools.reduce(lambda z, _: step(z, w, u), range(steps), start)
        for start, steps in ((first, cell.groups - 1), (far, cell.groups))
    )
    assert jnp.array_equal(step(straight, w, u), straight)
    assert jnp.array_equal(straight, other)
    assert not jnp.allclose(straight, first, atol=0.1)
    swept = jax.jit(cell.iterate)(far, w, u)
    assert jnp.allclose(swept, straight, atol=1e-5), "in one sweep, from anywhere"
    assert cell.contraction_factor(w) is None


def test_a_sweep_has_the_value_and_gradient_of_the_steps():
    cell, params, below, (w, u) = problems.built_cell("cascade")

    def loss(params, turn):
        w, u = cell.apply(params, below)
        solution = fixed_point(turn, cell.straight(w, u), w, u, tol=1e-5, max_steps=10)
        return jnp.sum(jnp.sin(solution.value)), solution.stats

    differentiated = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    swept, stepped = (differentiated(params, turn) for turn in (cell.iterate, cell.step))
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-4)
    close((swept[0][0], swept[1]), (stepped[0][0], stepped[1]))
    stats = swept[0][1]
    assert stats.steps.tolist() == [1] * 4 and not stats.residual.any()
    assert stepped[0][1].steps.tolist() == [cell.groups] * 4
    assert macs.macs(cell.iterate, u, w, u) == macs.macs(cell.step, u, w, u)
