"""Contractions by construction (Eq. 6) and certified bounds on the norm of linear maps.

    W = κ·Q(V),    Q(V) the orthogonal factor of a free matrix V,    κ < 1

This is how the library reads the paper's orthogonal over-parameterisation. With a 1-Lipschitz
activation φ, z ← φ(W z + u) contracts by the factor κ. So Theorem 1 (Banach) holds by construction,
and the distance to the fixed point is bounded.
"""

import functools
import math

import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.solve import per_sample


def contractive(v: jax.Array, k: jax.Array, max_factor: float = 0.99) -> jax.Array:
    """κ·Q(V) of Eq. 6, with κ = sigmoid(k)·max_factor.

    Args:
        v: free matrix [m, n].
        k: free scalar.
        max_factor: bound on κ, in (0, 1).

    Returns:
        Matrix [m, n] of v's dtype; all its singular values are κ.

    Raises:
        TypeError, ValueError: v is not a floating-point matrix, or `max_factor` not in (0, 1).
    """
    check_factor(max_factor)
    validate.number("k", k, "one real number", lambda k: (k == k) & (k.ndim == 0))
    k = jnp.asarray(k, jnp.result_type(k, float))
    return orthogonal(v) * (jax.nn.sigmoid(k) * max_factor).astype(v.dtype)


def check_factor(max_factor: float) -> None:
    """Raises TypeError or ValueError unless `max_factor` is in (0, 1)."""
    fits = lambda factor: (factor > 0) & (factor < 1)
    validate.number("max_factor", max_factor, "a number in (0, 1)", fits)


def orthogonal(v: jax.Array, steps: int = 30) -> jax.Array:
    """Polar factor of a free matrix, its nearest orthogonal matrix: QᵀQ = I, or Q Qᵀ = I if m < n.

    Newton–Schulz: Q ← Q (3 I − QᵀQ) / 2.

    Args:
        v: floating-point matrix [m, n] of full rank.
        steps: of the iteration; 30 are enough in float32 for a condition number up to about 10⁴.

    Returns:
        Matrix [m, n] of v's dtype; differentiable in v. NaN if v = 0.

    Raises:
        TypeError, ValueError: v is not a floating-point matrix.

    References:
        Björck and Bowie, SIAM J. Numer. Anal. 8(2), 1971.
    """
    _check("v", v, "[m, n]")
    validate.integer("steps", steps, 1)
    if v.shape[0] < v.shape[1]:
        return orthogonal(v.T, steps).T
    q = per_sample.widen(v)
    # Converges for singular values in (0, √3): divide by a bound on the largest.
    q = q / jax.lax.stop_gradient(dense_bound(q))
    dot = functools.partial(jnp.matmul, precision="highest")
    # A loop, so that its body is traced and compiled once.
    turn = lambda _, q: 1.5 * q - 0.5 * dot(q, dot(q.T, q))
    return jax.lax.fori_loop(0, steps, turn, q).astype(v.dtype)


def dense_bound(w: jax.Array, iterations: int = 6) -> jax.Array:
    """Certified upper bound on the largest singular value of a matrix.

    Gram iteration: ‖W‖ ≤ ‖(WᵀW)^(2^k)‖_F^(2^-(k+1)), which falls to ‖W‖ superlinearly in k. (Power
    iteration, the usual choice, approaches ‖W‖ from below and is no bound.) Computed in float32 or
    better and rounded up by the accumulated rounding error.

    Args:
        w: matrix [m, n].
        iterations: k ≥ 0; at 6 the bound is at most n^(1/128) ‖W‖, 5 % above for n = 512.

    Returns:
        Scalar, float32 or float64; differentiable.

    Raises:
        TypeError, ValueError: w is not a floating-point matrix.

    References:
        Delattre et al., Efficient Bound of Lipschitz Constant for Convolutional Layers by Gram
        Iteration, ICML 2023.
    """
    _check("w", w, "[m, n]")
    validate.integer("iterations", iterations, 0)
    w = per_sample.widen(w)
    long, short = max(w.shape), min(w.shape)
    peak = jax.lax.stop_gradient(jnp.max(jnp.abs(w)))
    gram = (w.T if w.shape[0] < w.shape[1] else w) / jnp.where(peak > 0, peak, 1)
    bound = peak
    for i in range(iterations + 1):
        # ‖W‖ = bound · ‖gram‖^(2^-i), and ‖gram‖ = norm · ‖(gram/norm)ᵀ(gram/norm)‖^½.
        norm = _frobenius(gram)
        bound = bound * norm ** (0.5**i)
        gram = gram / norm
        gram = jnp.matmul(gram.T, gram, precision="highest")
    # A bound on the rounding error of the products, relative to ‖WᵀW‖_F ≥ ‖W‖_F² / √short.
    slack = 1 + 2 * long * math.sqrt(short) * float(jnp.finfo(w.dtype).eps)
    return bound * _frobenius(gram) ** (0.5 ** (iterations + 1)) * slack


def _check(name: str, value: jax.Array, form: str) -> None:
    validate.array(name, value, form, jnp.floating)
    if not value.size:
        raise ValueError(f"{name}: expected at least one entry, got shape {value.shape}.")


def _frobenius(w: jax.Array) -> jax.Array:
    square = jnp.sum(jnp.square(w))
    # A zero matrix must give neither NaN nor a NaN gradient.
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 1)


def conv_bound(kernel: jax.Array, iterations: int = 6) -> jax.Array:
    """Certified bound on the ℓ2 operator norm of a convolution, at any image size.

    √(h·w) times the least spectral norm of four reshapes of the kernel, each bounded by
    `dense_bound`. Holds for stride 1 with zero ("SAME") or circular padding.

    Args:
        kernel: [h, w, in, out], as Flax keeps it.
        iterations: of `dense_bound`.

    Returns:
        Scalar, float32 or float64; differentiable.

    Raises:
        TypeError, ValueError: the kernel has another rank or no floating-point dtype.

    References:
        Singla and Feizi, Fantastic Four: Differentiable and Efficient Bounds on Singular Values
        of Convolution Layers, ICLR 2021.
    """
    _check("kernel", kernel, "[h, w, in, out]")
    h, w, cin, cout = kernel.shape
    shapes = [
        ((3, 0, 2, 1), (cout * h, cin * w)),
        ((3, 1, 2, 0), (cout * w, cin * h)),
        ((3, 2, 0, 1), (cout, cin * h * w)),
        ((3, 0, 1, 2), (cout * h * w, cin)),
    ]
    bounds = [dense_bound(kernel.transpose(axes).reshape(s), iterations) for axes, s in shapes]
    return math.sqrt(h * w) * jnp.min(jnp.stack(bounds))


def depthwise_bound(kernel: jax.Array) -> jax.Array:
    """Certified bound on the ℓ2 norm of a depthwise convolution: the largest ℓ1 norm of a channel.

    Young's inequality, ‖k ∗ z‖₂ ≤ ‖k‖₁ ‖z‖₂; any stride and image size, zero or circular padding.

    Args:
        kernel: [h, w, 1, channels], as Flax keeps it.

    Returns:
        Scalar, float32 or float64, rounded up; differentiable.

    Raises:
        TypeError, ValueError: the kernel has another shape or no floating-point dtype.

    References:
        Grafakos, Classical Fourier Analysis, sec. 1.2.
    """
    _check("kernel", kernel, "[h, w, 1, channels]")
    if kernel.shape[2] != 1:
        raise ValueError(f"kernel: expected shape [h, w, 1, channels], got {kernel.shape}.")
    kernel = per_sample.widen(kernel)
    slack = 1 + kernel.shape[0] * kernel.shape[1] * float(jnp.finfo(kernel.dtype).eps)
    return jnp.max(jnp.sum(jnp.abs(kernel), axis=(0, 1, 2))) * slack
