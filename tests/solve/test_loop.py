"""The loop: its residual, and that finished samples are frozen. See test_api for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Anderson, Broyden, Picard, Status, Unrolled, fixed_point
from dynalay_jax.solve.loop import relative_residual


def test_residual_of_bfloat16_is_taken_in_float32():
    """1 + 2⁻⁷ − 2⁻⁹ needs more bits than bfloat16 has; outside jit nothing hides the rounding."""
    z, fz = (jnp.full((1, 3), v, jnp.bfloat16) for v in (2.0**-9, 1 + 2.0**-7))
    wanted = (1 + 2.0**-7 - 2.0**-9) / (1 + 2.0**-7)
    np.testing.assert_allclose(relative_residual(z, fz, jnp.zeros(1)), wanted, rtol=1e-6)


def test_finished_samples_are_frozen():
    """A sample out of its budget is not iterated on: it would overflow, and its gradient be NaN."""
    budget = jnp.asarray([3, 100])
    z0, x = jnp.asarray([2.0, 0.1]), jnp.asarray([0.0, 0.2])

    def loss(w):
        f = lambda z, w, x: w * z**2 + x
        options = {"adjoint": Unrolled(), "max_steps": np.asarray(budget), "tol": 0.0}
        return jnp.sum(fixed_point(f, z0, w, x, **options).value)

    assert np.isfinite(jax.grad(loss)(jnp.float32(1.0)))


ROTATION = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0], jnp.float32)


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden(5)], ids=repr)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_solve_ends_where_rounding_keeps_the_residual_from_falling(solver, dtype):
    """Rates to 0.97, and a tolerance far below what rounding leaves."""
    rate = jnp.asarray([[0.5], [0.9], [0.97]], dtype)
    b = jnp.linspace(-1.0, 1.0, 3 * 64, dtype=dtype).reshape(3, 64)
    f = lambda z, b: (rate * (z @ ROTATION.astype(dtype)) + b).astype(dtype)
    solve = lambda tol: fixed_point(
        f, jnp.zeros_like(b), b, tol=jnp.asarray(tol), max_steps=3000, solver=solver
    )
    stats = jax.jit(solve)(1e-9).stats
    assert set(np.asarray(stats.status)) == {Status.CONVERGED}
    assert stats.steps.max() < 1500
    assert stats.residual.max() < 16 * float(jnp.finfo(dtype).eps)
    # tol = 0 asks for every step, unless two iterates are equal.
    zero = jax.jit(solve)(0.0).stats
    assert np.all((zero.steps == 3000) | (zero.residual == 0))


def test_a_cycle_far_from_a_fixed_point_is_no_convergence():
    """z ← −z repeats itself for ever: its residual does not fall, but is no rounding."""
    stats = fixed_point(lambda z: -z, jnp.ones((2, 3)), max_steps=500).stats
    assert np.all(stats.status == Status.MAX_STEPS) and np.all(stats.steps == 500)


@pytest.mark.parametrize("rate", [0.9, 0.999])
def test_a_slow_solve_is_not_taken_for_a_stalled_one(x64, rate):
    """It falls by little in each step, and goes on to the tolerance: from afar and from near."""
    f = lambda z, b: rate * z + b
    for start in (0.0, (1 - 1e-9) / (1 - rate)):
        solution = fixed_point(f, jnp.full((2, 3), start), 1.0, tol=1e-13, max_steps=100_000)
        assert np.all(solution.stats.residual <= 1e-13)
        np.testing.assert_allclose(solution.value, 1 / (1 - rate), rtol=1e-9)
