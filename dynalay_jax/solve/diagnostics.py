"""Stability of a fixed point from its Jacobian J = ∂f/∂z, a penalty on J, and an error bound.

Plain iteration converges near z* if the spectral radius ρ of J is below 1. The forward and the
backward solve then take about log(tol) / log(ρ) steps.
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
    """Hutchinson estimate of ‖J‖_F² / n. Add it to a loss to keep the fixed point stable.

    E‖εᵀJ‖² over random signs ε is ‖J‖_F² = tr(J Jᵀ). Each draw takes one vector–Jacobian product.

    Args:
        f: `f(z, *args)`, as given to `fixed_point`.
        z: the point of J, usually `sol.value`.
        *args: f's further arguments.
        key: typed PRNG key.
        samples: draws of ε, ≥ 1.
        batched: whether axis 0 of z's leaves holds samples.

    Returns:
        [B], scalar if not batched; float32 or float64. n is the number of real numbers in one
        sample's state.

    Raises:
        TypeError, ValueError: samples is no integer, or below 1; another argument is not as
            described.

    References:
        Bai, Koltun and Kolter, Stabilizing Equilibrium Models by Jacobian Regularization,
        ICML 2021; Hutchinson 1989.
    """
    validate.positive_integer("samples", samples)
    g, z = _lanes(f, z, args, key, batched)
    _, pull = jax.vjp(g, z)

    def estimate(key: jax.Array) -> jax.Array:
        (row,) = pull(_random_like(z, key, _signs))
        return per_sample.square_norm(row)

    # vmap, not a loop: all draws share the residuals of the vector–Jacobian product.
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

    Orthogonal iteration on two vectors Q: in the limit, the dominant eigenvalue or complex pair is
    that of the 2 × 2 matrix H = QᵀJQ. (Power iteration on one vector does not converge for a
    complex pair.) If J Q is not close to Q H, as with more than two eigenvalues of nearly the same
    modulus, the estimate is the mean growth of ‖Jᵏ q‖ over the last half of the steps. This tends
    to ‖Jᵏ‖^(1/k), with an error of about 1/steps.

    Args:
        f: `f(z, *args)`, as given to `fixed_point`.
        z: the point of J, usually `sol.value`.
        *args: f's further arguments.
        key: typed PRNG key.
        steps: iterations, ≥ 1, of two Jacobian–vector products each. In each step the error of
            the first estimate falls by the ratio of the next eigenvalue's modulus to the dominant.
        batched: whether axis 0 of z's leaves holds samples.

    Returns:
        [B], scalar if not batched; float32 or float64. An estimate, not a bound.

    Raises:
        TypeError, ValueError: steps is no integer, or below 1; another argument is not as
            described.

    References:
        Golub and Van Loan, Matrix Computations, 4th ed., sec. 7.3 (orthogonal iteration).
    """
    validate.positive_integer("steps", steps)
    g, z = _lanes(f, z, args, key, batched)
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
    outside = [
        per_sample.square_norm(per_sample.difference(jx, _combination(a, h[0][i], b, h[1][i])))
        for i, jx in enumerate((ja, jb))
    ]
    invariant = outside[0] + outside[1] < 1e-4 * (
        per_sample.square_norm(ja) + per_sample.square_norm(jb)
    )
    zero = per_sample.square_norm(ja) == 0
    radius = jnp.where(
        invariant | zero,
        _radius_2x2(*h[0], *h[1]),
        jnp.exp(jnp.mean(growth[steps // 2 :], axis=0)),
    )
    return radius if batched else radius[0]


def _lanes(
    f: Callable, z: PyTree, args: tuple, key: jax.Array, batched: bool
) -> tuple[Callable[[PyTree], PyTree], PyTree]:
    """z ↦ f(z, *args) and z in canonical form, after checks of all arguments."""
    validate.function(f, z, args)
    validate.flag("batched", batched)
    validate.key("key", key)
    validate.arguments(args)
    z = validate.state(z, batched, name="z")
    checked = validate.same_type(f)
    g, z, _ = per_sample.canonical(lambda z: checked(z, *args), z, batched)
    return g, z


def _combination(a: PyTree, x: jax.Array, b: PyTree, y: jax.Array) -> PyTree:
    return jax.tree.map(jnp.add, per_sample.scale(a, x), per_sample.scale(b, y))


def _radius_2x2(a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> jax.Array:
    """max |eigenvalue| of [[a, b], [c, d]]."""
    half, determinant = (a + d) / 2, a * d - b * c
    discriminant = jnp.square((a - d) / 2) + b * c
    real = jnp.abs(half) + jnp.sqrt(jnp.maximum(discriminant, 0))
    return jnp.where(discriminant >= 0, real, jnp.sqrt(jnp.maximum(determinant, 0)))


def _orthonormal(a: PyTree, b: PyTree) -> tuple[PyTree, PyTree]:
    """Gram–Schmidt in every lane; a vector that is zero up to rounding becomes zero."""
    a, before = _normalize(a), per_sample.norm(b)
    for _ in range(2):  # twice, against rounding errors
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
    # Adding a zero computed from z gives the draw the mesh axes of z.
    fresh = [
        draw(k, x.shape, x.dtype) + per_sample.fill(x, 0) for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, fresh)


def error_bound(residual: jax.Array | float, contraction: jax.Array | float) -> jax.Array:
    """Banach's bound on the distance to the fixed point: ‖z − z*‖ ≤ ‖f(z) − z‖ / (1 − κ).

    Args:
        residual: ‖f(z) − z‖, or a relative residual for a relative bound; any shape. The value
            that `fixed_point` returns is f(z), whose distance is smaller by the factor κ.
        contraction: κ, Lipschitz constant of f; broadcast against `residual`.

    Returns:
        The bound; `inf` if κ ≥ 1 (no bound exists) or κ is NaN.

    Raises:
        TypeError: an argument is no real number or array.

    References:
        Banach, Fundamenta Mathematicae 3, 1922.
    """
    validate.dtype_kind("residual", residual, "f")
    validate.dtype_kind("contraction", contraction, "f")
    gap = 1 - jnp.asarray(contraction)
    safe = gap > 0
    return jnp.where(safe, jnp.asarray(residual) / jnp.where(safe, gap, 1), jnp.inf)
