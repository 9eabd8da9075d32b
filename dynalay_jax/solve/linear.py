"""The linear fixed point x = A x + b of every sample, differentiable to any order.

Both directions of implicit differentiation need it: A is J for tangents and Jᵀ for cotangents. The
loop that solves z = f(z) solves it too, and `lax.custom_linear_solve` provides its derivatives.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax.solve import buckets, loop, per_sample
from dynalay_jax.solve.solution import BackwardStats, Stats, Status
from dynalay_jax.solve.solvers import Solver

PyTree = Any


class Settings(NamedTuple):
    """How a linear system is solved; see `Implicit`.

    Attributes:
        solver: of the first solve.
        rescue: solver of the lanes that the first solve does not converge, or None.
        limits: tol bounds ‖A x + b − x‖ / (‖b‖ + epsilon/tol · ‖x‖) and is at least epsilon; mask
            selects the lanes to solve; floor and weight are not used. Each of the two solves may
            take max_steps.
        epsilon: a few times the machine epsilon.
        max_error: largest estimated relative error of x that is accepted.
        fall_back: whether a lane that is given up gets b instead of NaN.
    """

    solver: Solver
    rescue: Solver | None
    limits: loop.Limits
    epsilon: float
    max_error: float
    fall_back: bool


def solve_linear(
    bind: loop.Bind, b: PyTree, zeros: PyTree, settings: Settings, sizes: Sequence[int]
) -> tuple[PyTree, BackwardStats]:
    """Solves x = A x + b in the lanes of `limits.mask`; where b is 0, x = 0 takes no step.

    Args:
        bind: returns the linear map A for the full batch and for each bucket.
        b: right-hand side, zero outside the mask.
        zeros: zeros like b. An argument, because b may be a tangent, which allows only linear
            operations.
        settings: see `Settings`.
        sizes: bucket sizes; a single size means no compaction.

    Returns:
        x, and the account of its solve.
    """
    # The solves are jitted because JAX traces them again, equation by equation, when it lowers a
    # custom_linear_solve, and loses the types of a shard_map on the way. A jitted call is a single
    # equation.
    mask, full = settings.limits.mask, bind(0, None)

    def transpose_solve(vecmat: Callable, b: PyTree) -> tuple[PyTree, BackwardStats]:
        # For gradients of gradients: x = Aᵀ x + b, with Aᵀ x = x − (I − Aᵀ) x.
        transposed = lambda x: per_sample.difference(x, vecmat(x))
        return jax.jit(lambda b: _solve(lambda *_: transposed, b, settings, sizes[:1]))(b)

    return jax.lax.custom_linear_solve(
        lambda x: per_sample.difference(x, per_sample.select(mask, full(x), zeros)),
        b,
        solve=lambda _, b: jax.jit(lambda b: _solve(bind, b, settings, sizes))(b),
        transpose_solve=transpose_solve,
        has_aux=True,
    )


def _solve(
    linear: loop.Bind, b: PyTree, settings: Settings, sizes: Sequence[int]
) -> tuple[PyTree, BackwardStats]:
    """`solve_linear` without derivatives: the first solve, the rescue, the account."""
    # Cotangents can be tiny. Scaled to unit size, the squares in a norm do not underflow.
    peak = per_sample.largest(b)
    size = jnp.where((peak > 0) & jnp.isfinite(peak), peak, 1)
    unit = per_sample.divide(b, size)

    def affine(level: int, ids: jax.Array | None) -> loop.Map:
        apply = linear(level, ids)
        shift = buckets.gather(unit, ids)
        return lambda x: jax.tree.map(jnp.add, shift, apply(x))

    # Relative to ‖b‖, not ‖x‖: where A does not contract, ‖x‖ grows with its error and a
    # diverging solve would look converged. ‖x‖ enters only to the extent of rounding.
    limits = settings.limits
    limits = limits._replace(
        mask=limits.mask & (peak != 0),
        floor=per_sample.norm(unit),
        weight=settings.epsilon / limits.tol,
    )
    x, first = loop.solve(affine, unit, settings.solver, limits, sizes)

    def poor(x: PyTree, stats: Stats) -> jax.Array:
        """Lanes above their tolerance whose error may be too large, also of those that stalled."""
        error = _relative_error(x, stats, first, limits)
        return _unsettled(stats, limits) & ~(error <= settings.max_error)

    def go_on() -> tuple[PyTree, Stats, jax.Array, jax.Array]:
        if settings.rescue is None:
            return x, first, nobody, poor(x, first)
        run = _failed(first) | poor(x, first)
        y, stats, rescued = _rescue(linear, x, unit, first, run, limits, settings.rescue, sizes)
        return y, stats, rescued, poor(y, stats)

    unsettled = _unsettled(first, limits)
    nobody = unsettled & (peak < 0)
    y, stats, rescued, given_up = jax.lax.cond(
        jnp.any(unsettled), go_on, lambda: (x, first, nobody, nobody)
    )
    # Only a probe reads it; without one XLA removes it.
    error = _relative_error(y, stats, first, limits)
    measured = *stats, error, rescued, given_up
    account = BackwardStats(*(leaf.astype(jnp.float32) for leaf in measured))
    fallback = b if settings.fall_back else per_sample.fill(b, jnp.nan)
    return per_sample.select(given_up, fallback, per_sample.scale(y, size)), account


def _rescue(
    linear: loop.Bind,
    x: PyTree,
    b: PyTree,
    first: Stats,
    run: jax.Array,
    limits: loop.Limits,
    solver: Solver,
    sizes: Sequence[int],
) -> tuple[PyTree, Stats, jax.Array]:
    """Lanes `run` go on from x: the better x, its stats, and whether it is new, bool [B].

    The solve is that of the correction d = A d + r to x, with the residual r = A x + b − x: next to
    a long x, rounding would hide a short r.
    """
    r = per_sample.difference(jax.tree.map(jnp.add, b, linear(0, None)(x)), x)
    # A diverged lane begins anew: d = A d + b.
    usable = jnp.isfinite(per_sample.square_norm(r))
    x = per_sample.select(usable | ~run, x, per_sample.fill(x, 0))
    r = per_sample.select(usable, r, b)
    # Two buckets, full and smallest: each costs compile time, and few lanes need a rescue.
    ends = tuple(dict.fromkeys((sizes[0], sizes[-1])))

    def affine(level: int, ids: jax.Array | None) -> loop.Map:
        apply, shift = linear(level and len(sizes) - 1, ids), buckets.gather(r, ids)
        return lambda d: jax.tree.map(jnp.add, shift, apply(d))

    d, then = loop.solve(affine, r, solver, limits._replace(mask=run), ends)
    rescued = run & (then.residual < first.residual)
    stats = jax.tree.map(lambda a, b: jnp.where(rescued, a, b), then, first)
    stats = stats._replace(steps=first.steps + then.steps + run.astype(jnp.int32))
    d = per_sample.select(rescued, d, per_sample.fill(d, 0))
    return jax.tree.map(jnp.add, x, d), stats, rescued


def _failed(stats: Stats) -> jax.Array:
    return (stats.status == Status.MAX_STEPS) | (stats.status == Status.DIVERGED)


def _unsettled(stats: Stats, limits: loop.Limits) -> jax.Array:
    """Lanes that failed, or stalled above their tolerance."""
    return _failed(stats) | (limits.mask & (stats.residual > limits.tol.astype(jnp.float32)))


def _relative_error(x: PyTree, stats: Stats, first: Stats, limits: loop.Limits) -> jax.Array:
    """Estimate of ‖x − x*‖ / ‖x‖ from the residual r = A x + b − x, as x − x* = −(I − A)⁻¹ r.

    (I − A)⁻¹ lengthens b by ‖x‖ / ‖b‖, and an r that plain iteration shrinks by ρ in each step by
    up to 1 / (1 − ρ). The larger of the two is taken.

    Args:
        x: the solution.
        stats: of the solve that found x.
        first: of the first solve, whose mean rate is ρ.
        limits: its floor is ‖b‖.

    Returns:
        [B]; 0 where nothing was to be solved.
    """
    norm, b = per_sample.norm(x), limits.floor
    scale = limits.weight * norm + b
    r, r_first = (each.residual.astype(norm.dtype) * scale for each in (stats, first))
    rate = (r_first / b) ** (1 / jnp.maximum(first.steps, 1).astype(norm.dtype))
    slowness = jnp.where(rate < 1, 1 / jnp.where(rate < 1, 1 - rate, 1), 1)
    error = jnp.maximum(norm / b, slowness) * r / norm
    return jnp.where(limits.mask, error, 0)
