"""What the Jacobian J = ∂f/∂z at the fixed point says: how stable it is, and a penalty on it.

Plain iteration converges near z* where the spectral radius of J is below 1; both solves, forward
and backward, take about log(tol) / log(radius) steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import per_sample, validate

PyTree = Any


def jacobian_regularization(
    f: Callable[..., PyTree],
    z: PyTree,
    *args: PyTree,
    key: jax.Array,
    samples: int = 1,
    batched: bool = True,
) -> jax.Array:
    """Hutchinson estimate of ‖J‖_F² / n, to be added to a loss: it keeps the fixed point stable.

    E‖εᵀJ‖² over random signs ε is ‖J‖_F² = tr(J Jᵀ); one vector–Jacobian product a sample.

    Args:
        f: `f(z, *args)`, as given to `fixed_point`.
        z: where J is taken, usually `sol.value`.
        *args: f's further arguments.
        key: typed PRNG key.
        samples: draws of ε, ≥ 1.
        batched: whether axis 0 of z's leaves holds samples.

    Returns:
        [B], scalar if not batched; float32 or float64. n is the size of one sample's state, in
        real numbers.

    Raises:
        TypeError, ValueError: samples is no integer, or below 1.

    References:
        Bai, Koltun and Kolter, Stabilizing Equilibrium Models by Jacobian Regularization,
        ICML 2021; Hutchinson 1989.
    """
    validate.positive_integer("samples", samples)
    g, z, _ = per_sample.canonical(lambda z: f(z, *args), z, batched)
    _, pull = jax.vjp(g, z)

    def estimate(key: jax.Array) -> jax.Array:
        (row,) = pull(_random_like(z, key, _signs))
        return per_sample.square_norm(row)

    # vmap, not a loop: the pull-back's residuals are shared.
    total = jnp.mean(jax.vmap(estimate)(jax.random.split(key, samples)), axis=0)
    per_entry = total / _entries(z)
    return per_entry if batched else per_entry[0]


def spectral_radius(
    f: Callable[..., PyTree],
    z: PyTree,
    *args: PyTree,
    key: jax.Array,
    steps: int = 50,
    batched: bool = True,
) -> jax.Array:
    """Estimate of max |eigenvalue of J|, for real eigenvalues and complex pairs.

    Orthogonal iteration on two vectors: the dominant eigenvalue, or the dominant complex pair, is
    in the limit an eigenvalue of the 2 × 2 matrix H = QᵀJQ. Power iteration on one vector turns
    for ever with a complex pair and settles on nothing. Where J Q is not close to Q H, as with more
    than two eigenvalues of nearly the same modulus, it is the mean growth of ‖Jᵏ q‖ over the last
    half of the steps, ‖Jᵏ‖^(1/k) in the limit, with an error of about 1/steps.

    Args:
        f: `f(z, *args)`, as given to `fixed_point`.
        z: where J is taken, usually `sol.value`.
        *args: f's further arguments.
        key: typed PRNG key.
        steps: iterations, ≥ 1, of two Jacobian–vector products each; the error of the first way
            falls by the ratio of the next eigenvalue's modulus to the dominant one a step.
        batched: whether axis 0 of z's leaves holds samples.

    Returns:
        [B], scalar if not batched; float32 or float64. An estimate, not a bound.

    Raises:
        TypeError, ValueError: steps is no integer, or below 1.

    References:
        Golub and Van Loan, Matrix Computations, 4th ed., sec. 7.3 (orthogonal iteration).
    """
    validate.positive_integer("steps", steps)
    g, z, _ = per_sample.canonical(lambda z: f(z, *args), z, batched)
    _, push = jax.linearize(g, z)
    ka, kb = jax.random.split(key)
    start = _orthonormal(
        _random_like(z, ka, jax.random.normal), _random_like(z, kb, jax.random.normal)
    )

    def step(pair: tuple, _: None) -> tuple[tuple, jax.Array]:
        ja, jb = push(pair[0]), push(pair[1])
        return _orthonormal(ja, jb), jnp.log(per_sample.norm(ja))

    (a, b), growth = jax.lax.scan(step, start, None, length=steps)
    ja, jb = push(a), push(b)
    h = [[per_sample.inner(x, y) for y in (ja, jb)] for x in (a, b)]
    astray = [
        per_sample.square_norm(per_sample.difference(jx, _combination(a, h[0][i], b, h[1][i])))
        for i, jx in enumerate((ja, jb))
    ]
    invariant = astray[0] + astray[1] < 1e-4 * (
        per_sample.square_norm(ja) + per_sample.square_norm(jb)
    )
    nothing = per_sample.square_norm(ja) == 0
    radius = jnp.where(
        invariant | nothing,
        _radius_2x2(*h[0], *h[1]),
        jnp.exp(jnp.mean(growth[steps // 2 :], axis=0)),
    )
    return radius if batched else radius[0]


def _combination(a: PyTree, x: jax.Array, b: PyTree, y: jax.Array) -> PyTree:
    return jax.tree.map(jnp.add, per_sample.scale(a, x), per_sample.scale(b, y))


def _radius_2x2(a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> jax.Array:
    """max |eigenvalue| of [[a, b], [c, d]]."""
    half, determinant = (a + d) / 2, a * d - b * c
    discriminant = jnp.square((a - d) / 2) + b * c
    real = jnp.abs(half) + jnp.sqrt(jnp.maximum(discriminant, 0))
    return jnp.where(discriminant >= 0, real, jnp.sqrt(jnp.maximum(determinant, 0)))


def _orthonormal(a: PyTree, b: PyTree) -> tuple[PyTree, PyTree]:
    """Gram–Schmidt in every lane; what is zero up to rounding becomes zero."""
    a, before = _normalize(a), per_sample.norm(b)
    for _ in range(2):  # once more for rounding
        b = per_sample.difference(b, per_sample.scale(a, per_sample.inner(a, b)))
    left = per_sample.norm(b)
    noise = left <= 10 * jnp.finfo(left.dtype).eps * before
    return a, _normalize(per_sample.select(noise, per_sample.fill(b, 0), b))


def _normalize(x: PyTree) -> PyTree:
    norm = per_sample.norm(x)
    return per_sample.scale(x, jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1), 0))


def _entries(z: PyTree) -> int:
    return sum(leaf.size // max(leaf.shape[0], 1) for leaf in jax.tree.leaves(z))


def _signs(key: jax.Array, shape: tuple, dtype: jnp.dtype) -> jax.Array:
    return jax.random.rademacher(key, shape).astype(dtype)


def _random_like(z: PyTree, key: jax.Array, draw: Callable) -> PyTree:
    leaves, tree = jax.tree.flatten(z)
    keys = jax.random.split(key, len(leaves))
    # Adding a zero made from z gives the draw z's mesh axes.
    fresh = [
        draw(k, x.shape, x.dtype) + per_sample.fill(x, 0) for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, fresh)


def error_bound(residual: jax.Array | float, contraction: jax.Array | float) -> jax.Array:
    """Distance to the fixed point, ‖z − z*‖ ≤ ‖f(z) − z‖ / (1 − κ), where f contracts.

    Args:
        residual: ‖f(z) − z‖, or a relative residual for a relative bound; any shape. The value
            that `fixed_point` returns is f(z), which is closer still by the factor κ.
        contraction: κ, Lipschitz constant of f; broadcast against `residual`.

    Returns:
        The bound; `inf` where κ ≥ 1 (there is none) or κ is NaN.

    References:
        Banach, Fundamenta Mathematicae 3, 1922.
    """
    gap = 1 - jnp.asarray(contraction)
    safe = gap > 0
    return jnp.where(safe, jnp.asarray(residual) / jnp.where(safe, gap, 1), jnp.inf)
