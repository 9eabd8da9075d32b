"""Orthogonal factors and certified bounds, against singular values of the dense operators."""

import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from dynalay_jax import Status, fixed_point
from dynalay_jax.layers import norm_bounds
from dynalay_jax.solve import diagnostics


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 5), (1, 1)])
def test_orthogonal_is_the_polar_factor(x64, shape):
    v = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    u, _, vt = np.linalg.svd(np.asarray(v), full_matrices=False)
    np.testing.assert_allclose(norm_bounds.orthogonal(v, steps=40), u @ vt, atol=1e-10)


def test_orthogonal_keeps_bfloat16():
    q = norm_bounds.orthogonal(draw(6, 4).astype(jnp.bfloat16))
    assert q.dtype == jnp.bfloat16
    gram = np.asarray(q, np.float32).T @ np.asarray(q, np.float32)
    np.testing.assert_allclose(gram, np.eye(4), atol=0.02)


def test_orthogonal_copes_with_bad_conditioning():
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    w = jnp.asarray(u @ np.diag(np.geomspace(1, 1e-4, 8)) @ v, jnp.float32)
    q = np.asarray(norm_bounds.orthogonal(w))
    np.testing.assert_allclose(q.T @ q, np.eye(8), atol=1e-4)


def test_orthogonal_is_differentiable(x64):
    v = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
    loss = jax.jit(lambda v: jnp.sum(jnp.sin(norm_bounds.orthogonal(v))))
    check_grads(loss, (v,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_contractive_map_has_every_singular_value_at_kappa():
    w = norm_bounds.contractive(draw(6, 6), jnp.float32(2.0), max_factor=0.95)
    kappa = 0.95 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(np.linalg.svd(w, compute_uv=False), kappa, rtol=1e-4)


def test_error_bound_holds_and_is_tight():
    """For z ← κ z + b the bound is met with equality by the iterate before the returned one."""
    kappa, b = 0.9, jnp.ones((1, 1))
    for steps in (3, 30, 60):
        sol = fixed_point(lambda z, b: kappa * z + b, jnp.zeros((1, 1)), b, max_steps=steps)
        error = abs(sol.value - 10.0) / abs(sol.value)
        bound = diagnostics.error_bound(sol.stats.residual, kappa)
        assert float(error[0, 0]) <= float(bound[0])
        np.testing.assert_allclose(error[0, 0], kappa * bound[0], rtol=1e-3)
    assert np.isinf(diagnostics.error_bound(0.1, 1.0))
    assert np.isinf(diagnostics.error_bound(jnp.zeros(2), jnp.asarray([2.0, jnp.nan]))).all()


def test_contraction_bounds_the_steps():
    """log(tol) / log(κ) steps suffice, as Theorem 1 promises."""
    w = norm_bounds.contractive(draw(16, 16), jnp.float32(1.0), max_factor=0.9)
    x = draw(8, 16, seed=2)
    kappa = 0.9 / (1 + np.exp(-1.0))
    sol = fixed_point(lambda z, w, x: jnp.tanh(z @ w + x), jnp.zeros((8, 16)), w, x, tol=1e-5)
    assert np.all(sol.stats.status == Status.CONVERGED)
    assert int(sol.stats.steps.max()) <= np.ceil(np.log(1e-5) / np.log(kappa)) + 2


@pytest.mark.parametrize("shape", [(5, 5), (3, 40), (40, 3), (1, 1), (64, 64)])
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_dense_bound_is_an_upper_bound_and_close(shape, scale):
    dense_bound = jax.jit(norm_bounds.dense_bound)
    for seed in range(5):
        w = draw(*shape, seed=seed) * scale
        norm = np.linalg.norm(np.asarray(w, np.float64), 2)
        bound = float(dense_bound(w))
        assert norm <= bound <= 1.06 * norm


def test_dense_bound_where_it_is_exact():
    """Rank one, orthogonal (the worst case for Gram iteration: n^(1/128)), and zero."""
    u = draw(6, 1)
    rank_one = u @ u.T
    exact = float(jnp.sum(u**2))
    assert exact <= float(norm_bounds.dense_bound(rank_one)) <= 1.00001 * exact
    q = norm_bounds.orthogonal(draw(32, 32))
    assert 1.0 <= float(norm_bounds.dense_bound(q)) <= 32 ** (1 / 128) * 1.0001
    assert float(norm_bounds.dense_bound(jnp.zeros((3, 4)))) == 0.0
    assert np.all(np.isfinite(jax.grad(norm_bounds.dense_bound)(jnp.zeros((3, 4)))))


def conv_norm(kernel, size, padding, groups=1):
    """Spectral norm of the convolution as a dense matrix."""
    cin = kernel.shape[2] * groups

    def conv(x):
        x = x.reshape(1, size, size, cin)
        if padding == "CIRCULAR":
            h, w = kernel.shape[:2]
            pads = ((0, 0), (h // 2, (h - 1) // 2), (w // 2, (w - 1) // 2), (0, 0))
            x, mode = jnp.pad(x, pads, mode="wrap"), "VALID"
        else:
            mode = "SAME"
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), mode, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        ).ravel()  # fmt: skip

    matrix = jax.jit(jax.jacfwd(conv))(jnp.zeros(size * size * cin))
    return np.linalg.norm(np.asarray(matrix), 2)


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR"])
@pytest.mark.parametrize("shape", [(3, 3, 2, 4), (1, 1, 3, 3), (5, 3, 2, 2), (3, 3, 1, 1)])
def test_conv_bound(padding, shape):
    kernel = draw(*shape)
    norm = conv_norm(kernel, 6, padding)
    assert norm <= float(jax.jit(norm_bounds.conv_bound)(kernel)) <= 3 * norm


@pytest.mark.parametrize("padding", ["SAME", "CIRCULAR"])
def test_depthwise_bound(padding):
    kernel = draw(3, 3, 1, 4)
    norm = conv_norm(kernel, 6, padding, groups=4)
    assert norm <= float(norm_bounds.depthwise_bound(kernel))
    positive = jnp.abs(kernel)  # met in the limit of large images
    assert conv_norm(positive, 10, "CIRCULAR", groups=4) >= 0.999 * float(
        norm_bounds.depthwise_bound(positive)
    )
