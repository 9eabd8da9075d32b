"""The linear fixed point x = A x + b of every sample, differentiable to any order.

Both directions of implicit differentiation need it: A is J for tangents and Jᵀ for cotangents. The
loop that solves z = f(z) solves it too, and `lax.custom_linear_solve` provides its derivatives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import buckets, loop, per_sample
from dynalay_jax.solve.solution import Stats, Status
from dynalay_jax.solve.solvers import Solver

PyTree = Any


def solve_linear(
    bind: loop.Bind,
    b: PyTree,
    zeros: PyTree,
    *,
    solver: Solver,
    limits: loop.Limits,
    epsilon: float,
    sizes: Sequence[int],
    fall_back: bool,
) -> tuple[PyTree, Stats]:
    """Solves x = A x + b in the lanes of `limits.mask`; where b is 0, x = 0 takes no step.

    Args:
        bind: returns the linear map A for the full batch and for each bucket.
        b: right-hand side, zero outside the mask.
        zeros: zeros like b. An argument, because b may be a tangent, which allows only linear
            operations.
        solver: as in `loop.solve`.
        limits: tol bounds ‖A x + b − x‖ / (‖b‖ + epsilon/tol · ‖x‖) and is at least epsilon; mask
            selects the lanes to solve; floor and weight are not used.
        epsilon: a few times the machine epsilon.
        sizes: bucket sizes; a single size means no compaction.
        fall_back: whether a lane that does not converge gets b instead of NaN.

    Returns:
        x, and the `Stats` of its solve.
    """

    def solve(linear: loop.Bind, b: PyTree, sizes: Sequence[int]) -> tuple[PyTree, Stats]:
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
        run_here = limits.mask & (peak != 0)
        relative = limits._replace(
            mask=run_here, floor=per_sample.norm(unit), weight=epsilon / limits.tol
        )
        x, stats = loop.solve(affine, unit, solver, relative, sizes)
        failed = (stats.status == Status.MAX_STEPS) | (stats.status == Status.DIVERGED)
        fallback = b if fall_back else per_sample.fill(b, jnp.nan)
        return per_sample.select(failed, fallback, per_sample.scale(x, size)), stats

    def transpose_solve(vecmat: Callable, b: PyTree) -> tuple[PyTree, Stats]:
        # For gradients of gradients: x = Aᵀ x + b, with Aᵀ x = x − (I − Aᵀ) x.
        transposed = lambda x: per_sample.difference(x, vecmat(x))
        return jax.jit(lambda b: solve(lambda level, ids: transposed, b, sizes[:1]))(b)

    # The solves are jitted because JAX traces them again, equation by equation, when it lowers a
    # custom_linear_solve, and loses the types of a shard_map on the way. A jitted call is a single
    # equation.
    full = bind(0, None)
    return jax.lax.custom_linear_solve(
        lambda x: per_sample.difference(x, per_sample.select(limits.mask, full(x), zeros)),
        b,
        solve=lambda _, b: jax.jit(lambda b: solve(bind, b, sizes))(b),
        transpose_solve=transpose_solve,
        has_aux=True,
    )
