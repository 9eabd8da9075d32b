"""GMRES as a solver of the linear systems of implicit gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import GMRES, Compaction, Implicit, ImplicitJVP, backward_probe, fixed_point


def systems(rng, n=6):
    """A with eigenvalues outside of the unit circle, another for each of four samples."""
    a = rng.normal(size=(4, n, n))
    a *= np.asarray([0.5, 1.5, 3.0, 5.0])[:, None, None] / np.sqrt(n)
    return jnp.asarray(a), jnp.asarray(rng.normal(size=(4, n)))


def gradient(a, b, adjoint, **options):
    """∂/∂b of Σ z² at z = A z + b, from the exact z, and the account of its solve."""
    exact = jnp.linalg.solve(jnp.eye(a.shape[-1])[None] - a, b[..., None])[..., 0]
    f = lambda z, a, b: jnp.einsum("bij,bj->bi", a, z) + b

    def loss(b, probe):
        z0 = jax.lax.stop_gradient(exact)
        return jnp.sum(fixed_point(f, z0, a, b, adjoint=adjoint, probe=probe, **options).value ** 2)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1)))(b, backward_probe(len(b)))
    transposed = jnp.eye(a.shape[-1])[None] - jnp.swapaxes(a, 1, 2)
    return *grad, jnp.linalg.solve(transposed, 2 * exact[..., None])[..., 0]


@pytest.mark.parametrize("restart", [6, 10])
def test_one_cycle_solves_a_small_system_exactly(x64, restart):
    a, b = systems(np.random.default_rng(0))
    adjoint = Implicit(GMRES(restart), tol=1e-12)
    db, account, exact = gradient(a, b, adjoint)
    np.testing.assert_allclose(db, exact, rtol=1e-9)
    # One evaluation at x, one for each dimension, one at the solution; rounding may ask for more.
    assert np.all(account.steps <= 2 * (restart + 1) + 1) and not np.any(account.rescued)


def test_restarts_and_buckets(x64):
    """Symmetric systems of slow modes: short cycles converge, with compaction to the same."""
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.normal(size=(8, 20, 20)))
    top = np.asarray([0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97])
    values = top[:, None] * np.linspace(0.1, 1.0, 20)
    a = jnp.asarray(np.einsum("bij,bj,bkj->bik", q, values, q))
    b = jnp.asarray(rng.normal(size=(8, 20)))
    adjoint = Implicit(GMRES(4), tol=1e-10, max_steps=1000, rescue=None)
    plain, account, exact = gradient(a, b, adjoint)
    compacted, again, _ = gradient(a, b, adjoint, compact=Compaction(2, arg_axes=(0, 0)))
    np.testing.assert_allclose(plain, exact, rtol=1e-7)
    np.testing.assert_allclose(compacted, exact, rtol=1e-7)
    np.testing.assert_array_equal(account.steps, again.steps)
    assert account.steps[-1] > 2 * account.steps[0]


def test_forward_mode_uses_it_too(x64):
    a, b = systems(np.random.default_rng(0))
    exact = lambda b: jnp.linalg.solve(jnp.eye(6)[None] - a, b[..., None])[..., 0]
    f = lambda z, b: jnp.einsum("bij,bj->bi", a, z) + b
    solve = lambda b: (
        fixed_point(
            f, jax.lax.stop_gradient(exact(b)), b, adjoint=ImplicitJVP(GMRES(6), tol=1e-12)
        ).value
    )
    tangent = jnp.ones_like(b)
    ours, theirs = (jax.jvp(g, (b,), (tangent,))[1] for g in (solve, exact))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_it_is_no_solver_of_nonlinear_maps():
    with pytest.raises(ValueError, match=r"solver: .*linear maps only.*Implicit\(solver=GMRES"):
        fixed_point(lambda z: 0.5 * z, jnp.ones(2), solver=GMRES())
