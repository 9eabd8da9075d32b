"""Certified cells: they contract by their factor, and have one fixed point."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.layers.certified import ACTIVATIONS
from dynalay_jax.layers.registry import CELLS
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.mark.parametrize("name", ["orthogonal", "bounded", "dense"])
def test_contracts_by_its_factor_to_one_fixed_point(name):
    cell, _, _, (w, u) = problems.built_cell(name)
    factor = float(cell.contraction_factor(w))
    assert factor < 1
    step, straight = jax.jit(cell.step), cell.straight(w, u)
    # The worst direction by power iteration on the difference of two states.
    start, change = jax.random.normal(jax.random.key(2), (2, *straight.shape))
    a, b = start, start + change
    for _ in range(30):
        before = jnp.linalg.norm(a - b)
        a, b = step(a, w, u), step(b, w, u)
        after = jnp.linalg.norm(a - b)
        assert float(after) <= factor * float(before) * (1 + 1e-5)
        # Scaled back, so that rounding does not decide.
        b = a + (b - a) / jnp.maximum(after, 1e-3)

    solve = jax.jit(lambda z: fixed_point(cell.step, z, w, u, tol=1e-5, max_steps=3000).value)
    assert jnp.allclose(solve(start), solve(straight), atol=2e-3)


def test_certificates_hold_at_any_width_and_gain():
    """At 256 features a looser bound on the orthogonal factor would exceed 1."""
    cell = CELLS["dense"](features=256)
    params = jax.jit(cell.init)(jax.random.key(0), jnp.zeros((1, 8)))
    params = {"params": params["params"] | {"k": jnp.float32(8.0)}}
    w, _ = jax.jit(cell.apply)(params, jnp.zeros((1, 8)))
    assert 0.98 < float(cell.contraction_factor(w)) < 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_1_lipschitz(name):
    a, b = jax.random.normal(jax.random.key(0), (2, 64, 16))
    change = jnp.linalg.norm(ACTIVATIONS[name](a) - ACTIVATIONS[name](b), axis=-1)
    assert bool((change <= jnp.linalg.norm(a - b, axis=-1) * (1 + 1e-6)).all())
