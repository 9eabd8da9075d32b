"""The linear fixed point x = A x + b of every sample, differentiable to any order.

Both directions of implicit differentiation come down to it: A is J for tangents and Jᵀ for
cotangents. It is solved by the loop that solves z = f(z), and `lax.custom_linear_solve` gives it
its own derivatives.
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
    """Solves x = A x + b in the lanes of `limits.mask`; where b is 0, x is, without a step.

    Args:
        bind: gives the linear map A for the full batch and for each bucket.
        b: right-hand side, zero outside the mask.
        zeros: like b. Handed in, since b may be a tangent, which only linear operations may touch.
        solver: as of `active_set.solve`.
        limits: tol bounds ‖A x + b − x‖ / (‖b‖ + epsilon/tol · ‖x‖) and is at least epsilon; mask
            says in which lanes to solve; floor and weight are not used.
        epsilon: a few times the machine epsilon.
        sizes: bucket sizes; a single one does not compact.
        fall_back: whether a lane that does not converge gets b instead of NaN.

    Returns:
        x, and the account of its solve.
    """

    def solve(linear: loop.Bind, b: PyTree, sizes: Sequence[int]) -> tuple[PyTree, Stats]:
        # Cotangents can be tiny: at unit size neither the squares of a norm underflow nor does the
        # constant in the relative residual count.
        peak = per_sample.largest(b)
        size = jnp.where((peak > 0) & jnp.isfinite(peak), peak, 1)
        unit = per_sample.divide(b, size)

        def affine(level: int, ids: jax.Array | None) -> loop.Map:
            apply = linear(level, ids)
            shift = buckets.gather(unit, ids)
            return lambda x: jax.tree.map(jnp.add, shift, apply(x))

        # Relative to ‖b‖: relative to ‖x‖, which grows with its error where A does not contract, a
        # solve that goes astray would look converged. ‖x‖ counts as far as rounding goes.
        run_here = limits.mask & (peak != 0)
        relative = limits._replace(
            mask=run_here, floor=per_sample.norm(unit), weight=epsilon / limits.tol
        )
        x, stats = loop.solve(affine, unit, solver, relative, sizes)
        failed = (stats.status == Status.MAX_STEPS) | (stats.status == Status.DIVERGED)
        instead = b if fall_back else per_sample.fill(b, jnp.nan)
        return per_sample.select(failed, instead, per_sample.scale(x, size)), stats

    def transpose_solve(vecmat: Callable, b: PyTree) -> tuple[PyTree, Stats]:
        # For gradients of gradients: x = Aᵀ x + b, with Aᵀ x = x − (I − Aᵀ) x.
        transposed = lambda x: per_sample.difference(x, vecmat(x))
        return jax.jit(lambda b: solve(lambda level, ids: transposed, b, sizes[:1]))(b)

    # The solves are jitted because JAX traces them again, equation by equation, when it lowers a
    # custom_linear_solve, and forgets the types of a shard_map in that; a jitted call is a single
    # equation.
    full = bind(0, None)
    return jax.lax.custom_linear_solve(
        lambda x: per_sample.difference(x, per_sample.select(limits.mask, full(x), zeros)),
        b,
        solve=lambda _, b: jax.jit(lambda b: solve(bind, b, sizes))(b),
        transpose_solve=transpose_solve,
        has_aux=True,
    )
