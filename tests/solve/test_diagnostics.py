"""Jacobian regularisation and the spectral radius, against dense Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import jacobian_regularization, spectral_radius


def linear(z, a):
    return jnp.einsum("bij,bj->bi", a, z)


def with_eigenvalues(*values, seed=0):
    """A real, non-normal matrix with the given eigenvalues (complex ones stand for a pair)."""
    blocks = []
    for v in values:
        block = np.array([[v.real, v.imag], [-v.imag, v.real]]) if v.imag else [[v.real]]
        blocks.append(np.atleast_2d(block))
    n = sum(len(b) for b in blocks)
    matrix, at = np.zeros((n, n)), 0
    for b in blocks:
        matrix[at : at + len(b), at : at + len(b)] = b
        at += len(b)
    basis = np.random.default_rng(seed).normal(size=(n, n)) + 2 * np.eye(n)
    return basis @ matrix @ np.linalg.inv(basis)


@pytest.mark.parametrize(
    ("values", "radius"),
    [
        ((0.9 + 0j, 0.5 + 0j, -0.2 + 0j), 0.9),
        ((-0.95 + 0j, 0.5 + 0j, 0.2 + 0j), 0.95),
        ((0.6 + 0.6j, 0.3 + 0j), 0.6 * np.sqrt(2)),
        ((1.3j, 0.4 + 0j, 0.1 + 0j), 1.3),
        ((0.8 + 0j, -0.8 + 0j, 0.3 + 0j), 0.8),
        ((0.9 + 0j, 0j, 0j), 0.9),
    ],
)
def test_spectral_radius(values, radius):
    """Real, negative, complex pairs (no power iteration converges), equal and opposite."""
    a = jnp.asarray(with_eigenvalues(*values), jnp.float32)
    got = spectral_radius(lambda z: a @ z, jnp.zeros(len(a)), key=jax.random.key(0), batched=False)
    np.testing.assert_allclose(got, radius, rtol=2e-3)


def test_spectral_radius_of_many_eigenvalues_of_one_modulus():
    """Scaled rotations in 32 dimensions: no two vectors span anything invariant."""
    q = np.linalg.qr(np.random.default_rng(3).normal(size=(32, 32)))[0]
    a = jnp.asarray(0.87 * q, jnp.float32)
    got = spectral_radius(lambda z: a @ z, jnp.zeros(32), key=jax.random.key(0), batched=False)
    np.testing.assert_allclose(got, 0.87, rtol=1e-3)


def test_rounding_is_not_taken_for_a_second_vector():
    """One eigenvalue and zeros: noise along the first vector, made unit, would double it."""
    f = lambda z: z * jnp.asarray([[0.9, 0.0]])
    got = spectral_radius(f, jnp.ones((500, 2)), key=jax.random.key(0))
    np.testing.assert_allclose(got, 0.9, rtol=1e-3)


def test_spectral_radius_per_sample_and_of_pytrees():
    matrices = [with_eigenvalues(v, 0.2 + 0j) for v in (0.9j, 0.5 + 0.5j, 0.05 + 0.02j)]
    a = jnp.asarray(np.stack(matrices), jnp.float32)

    def f(z, a):
        flat = jnp.concatenate([z["x"], z["y"][:, None]], axis=1)
        out = linear(flat, a)
        return {"x": out[:, :2], "y": out[:, 2]}

    z = {"x": jnp.zeros((3, 2)), "y": jnp.zeros(3)}
    got = jax.jit(lambda a: spectral_radius(f, z, a, key=jax.random.key(1)))(a)
    np.testing.assert_allclose(got, [0.9, np.sqrt(0.5), 0.2], rtol=2e-3)


def test_spectral_radius_of_small_states():
    """One dimension has no second vector, and a zero map no first."""
    key = jax.random.key(0)
    got = spectral_radius(lambda z: -0.7 * z, jnp.ones(1), key=key, batched=False)
    np.testing.assert_allclose(got, 0.7, rtol=1e-5)
    got = spectral_radius(lambda z: 0.0 * z, jnp.ones((2, 3)), key=key)
    np.testing.assert_array_equal(got, 0.0)


def test_regularization_estimates_the_frobenius_norm():
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.normal(size=(3, 8, 8)), jnp.float32)
    wanted = jnp.sum(a**2, axis=(1, 2)) / 8
    got = jacobian_regularization(linear, jnp.zeros((3, 8)), a, key=jax.random.key(0), samples=4000)
    np.testing.assert_allclose(got, wanted, rtol=0.05)
    one = jacobian_regularization(linear, jnp.zeros((3, 8)), a, key=jax.random.key(0))
    assert one.shape == (3,) and not np.allclose(one, wanted, rtol=1e-3)


def test_regularization_is_exact_for_diagonal_jacobians_and_differentiable():
    """Random signs square to one: no variance on a diagonal."""
    f = lambda z, a: a * z
    a = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    penalty = lambda a: jacobian_regularization(f, jnp.ones((2, 2)), a, key=jax.random.key(0))
    np.testing.assert_allclose(penalty(a), [2.5, 12.5], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda a: jnp.sum(penalty(a)))(a), a, rtol=1e-6)
    single = jacobian_regularization(
        lambda z: 3.0 * z, jnp.ones((2, 2)), key=jax.random.key(0), batched=False
    )
    np.testing.assert_allclose(single, 9.0, rtol=1e-6)


def test_complex_states():
    """A complex number is two reals to both: the norm of a + bi as a real map is √2 |a + bi|."""
    z, key = jnp.zeros((1, 1), jnp.complex64), jax.random.key(0)
    a = jnp.asarray(0.6 + 0.6j)
    np.testing.assert_allclose(
        spectral_radius(lambda z: a * z, z, key=key), 0.6 * np.sqrt(2), rtol=1e-4
    )
    wide = jnp.zeros((2, 3), jnp.complex64)
    got = spectral_radius(lambda z: a * z, wide, key=key)
    np.testing.assert_allclose(got, 0.6 * np.sqrt(2), rtol=1e-4)
    got = jacobian_regularization(lambda z: a * z, z, key=key, samples=50)
    np.testing.assert_allclose(got, 0.72, rtol=1e-4)
