"""Concave cells: monotone iterates, gates that shut, and the spread of parameters at the start."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.layers.registry import CELLS
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")
both = pytest.mark.parametrize("name", ["concave", "separable"])


@both
def test_iterates_rise_to_the_fixed_point(name):
    cell, _, _, (w, u) = problems.built_cell(name)
    zero = jnp.zeros_like(u["offset"])
    advance = lambda z, _: (cell.step(z, w, u), z)
    z, iterates = jax.jit(lambda: jax.lax.scan(advance, zero, length=60))()
    assert bool((iterates[1:] >= iterates[:-1] - 1e-6).all())
    assert float(z.max()) <= 1
    solution = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-5, max_steps=200)
    assert jnp.allclose(solution.value, z, atol=1e-3)
    assert bool((solution.stats.status == 0).all())
    assert cell.contraction_factor(w) is None


@both
@pytest.mark.parametrize("hard", [False, True])
def test_nothing_spreads_past_shut_hard_gates(name, hard):
    """A wall through the middle, activity on its left, and a gain that makes any leak grow."""
    cell = CELLS[name](features=16, gain=20.0, hard_gates=hard)
    below = jnp.ones((1, 5, 7, 1)).at[:, :, 3].set(-1.0)
    params = jax.jit(cell.init)(jax.random.key(0), below)["params"]
    gate = {"kernel": jnp.full((1, 1, 1, 16), 5.0), "bias": jnp.zeros(16)}
    w, u = cell.apply({"params": params | {"gate": gate}}, below)
    u |= {"offset": jnp.zeros((1, 5, 7, 16)).at[:, 2, 0].set(1.0)}
    z = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-6, max_steps=100).value
    assert float(z[:, :, :3].min()) > 0.8
    behind = z[:, :, 4:]
    assert not behind.any() if hard else float(behind.min()) > 0.8


@both
def test_offsets_start_with_the_spread_asked_for(name):
    below = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))

    def deviation(**fields):
        cell = CELLS[name](features=64, norm=False, **fields)
        _, u = jax.jit(cell.init_with_output)(jax.random.key(0), below)[0]
        return float(u["offset"].std())

    assert deviation() == pytest.approx(1, rel=0.2)
    assert deviation(offset=0.1) == pytest.approx(0.1 * deviation(), rel=1e-4)


def test_separable_is_concave_with_a_kernel_that_is_a_product():
    cell, _, _, (w, u) = problems.built_cell("separable")
    dense, _, _, (start, _) = problems.built_cell("concave")
    z, kernel = cell.straight(w, u), w["depthwise"][:, :, 0, :, None] * w["pointwise"]
    assert jnp.allclose(cell.step(z, w, u), dense.step(z, kernel, u), atol=1e-5)
    row_sum = lambda kernel: float(kernel.sum((0, 1, 2)).mean())
    assert row_sum(kernel) == pytest.approx(row_sum(start), rel=0.2)
