"""What sets the solvers apart; that each finds the fixed points is tested in test_fixed_point."""

import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Anderson, Broyden, Picard, Status, fixed_point


def affine(a):
    return lambda z, b: z @ a.T + b


def test_damping_tames_a_negative_eigenvalue():
    f = lambda z, b: -1.5 * z + b
    run = lambda solver: fixed_point(f, jnp.zeros(2), jnp.ones(2), solver=solver, max_steps=200)
    assert np.all(run(Picard()).stats.status != Status.CONVERGED)
    np.testing.assert_allclose(run(Picard(damping=0.5)).value, 0.4, rtol=1e-4)


@pytest.mark.parametrize("solver", [Anderson(memory=4), Broyden(memory=8)], ids=repr)
def test_finite_termination_on_affine_maps(x64, solver):
    """n = 4 unknowns: Anderson with memory n needs n + 2 evaluations, Broyden 2 n + 1."""
    rng = np.random.default_rng(0)
    a = jnp.asarray(0.9 * np.linalg.qr(rng.normal(size=(4, 4)))[0])
    b = jnp.asarray(rng.normal(size=(1, 4)))
    sol = fixed_point(affine(a), jnp.zeros((1, 4)), b, solver=solver, tol=1e-8)
    assert sol.stats.steps[0] <= (6 if isinstance(solver, Anderson) else 9)
    assert fixed_point(affine(a), jnp.zeros((1, 4)), b, tol=1e-8, max_steps=999).stats.steps[0] > 50


@pytest.mark.parametrize("solver", [Anderson(), Broyden()], ids=repr)
def test_faster_than_picard_where_it_is_slow(solver):
    rng = np.random.default_rng(1)
    w = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    w = jnp.asarray(0.98 * (w + w.T) / 2, jnp.float32)
    x = jnp.asarray(0.3 * rng.normal(size=(6, 32)), jnp.float32)
    f = lambda z, x: jnp.tanh(z @ w + x)
    run = lambda s: fixed_point(f, jnp.zeros((6, 32)), x, solver=s, max_steps=2000).stats
    fast, slow = run(solver), run(Picard())
    assert np.all(fast.status == Status.CONVERGED)
    assert np.mean(fast.steps) < 0.6 * np.mean(slow.steps)


@pytest.mark.parametrize("memory", [1, 2, 7])
def test_broyden_restarts_when_its_memory_is_full(x64, memory):
    rng = np.random.default_rng(2)
    w = jnp.asarray(0.9 * np.linalg.qr(rng.normal(size=(12, 12)))[0])
    f = lambda z, x: jnp.tanh(z @ w + x)
    x = jnp.asarray(rng.normal(size=(5, 12)))
    sol = fixed_point(f, jnp.zeros((5, 12)), x, solver=Broyden(memory), tol=1e-12, max_steps=500)
    assert np.all(sol.stats.status == Status.CONVERGED)
    assert np.any(sol.stats.steps > memory + 1)
    np.testing.assert_allclose(sol.value, f(sol.value, x), atol=1e-11)


def test_a_restart_forgets_all_but_the_last_pair(x64):
    """With memory 2, step number 3 starts afresh: as if step number 0 had been the one before."""
    solver, f = Broyden(memory=2), lambda z: jnp.cos(z) * jnp.asarray([[0.9, 0.5, 1.3]])
    z = jnp.asarray([[0.1, 0.2, 0.3]])
    state = solver.init(z)
    for k in range(3):
        z, state = solver.step(z, f(z), state, jnp.int32(k))
    went_on, _ = solver.step(z, f(z), state, jnp.int32(3))
    last_z, last_g, *_ = state
    _, _, empty_u, empty_v = solver.init(z)
    afresh, _ = solver.step(z, f(z), (last_z, last_g, empty_u, empty_v), jnp.int32(1))
    np.testing.assert_allclose(went_on, afresh, rtol=1e-12)


def test_no_ridge_at_all():
    """One dimension, five parallel pairs: the normal equations are singular."""
    f = lambda z: jnp.cos(z)
    sol = fixed_point(f, jnp.zeros((2, 1)), solver=Anderson(ridge=0.0))
    assert np.all(sol.stats.status == Status.CONVERGED)


def test_ridge_shortens_the_step():
    """With a huge ridge nothing is left of the acceleration: Picard."""
    f = lambda z, b: jnp.cos(z) + b
    run = lambda s: fixed_point(f, jnp.zeros((2, 1)), jnp.zeros((2, 1)), solver=s, max_steps=200)
    np.testing.assert_array_equal(run(Anderson(ridge=1e6)).stats.steps, run(Picard()).stats.steps)
    assert np.all(run(Anderson()).stats.steps < run(Picard()).stats.steps)


def test_anderson_damping_mixes_the_residual():
    """Before there is a pair, damping β takes β of the residual, as Picard's does."""
    f = lambda z: 0.5 * z + 1
    value = lambda s: fixed_point(f, jnp.zeros(1), solver=s, max_steps=2, tol=0.0).value
    np.testing.assert_allclose(value(Anderson(damping=0.25)), value(Picard(damping=0.25)))
    assert value(Anderson(damping=0.25)) != value(Anderson())
