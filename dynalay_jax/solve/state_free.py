"""Maps that do not read their state: f(z) is the fixed point, wherever z is.

One evaluation is the solve. With J = 0 the adjoint equation w = v + Jᵀ w has nothing to solve, and
the gradient is what autodiff makes of the evaluation, as of any function.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import buckets, per_sample
from dynalay_jax.solve.implicit import stats_as_float
from dynalay_jax.solve.problem import Operands, Problem
from dynalay_jax.solve.solution import Solution, Stats, Status

PyTree = Any


def solve(
    problem: Problem, z0: PyTree, operands: Operands, probe: Stats | None, forward_mode: bool
) -> Solution:
    """The solution of a problem with `reads_state` False.

    Args:
        problem: f, hoisted.
        z0: start, canonical; returned where a lane is skipped.
        operands: all else that the solution depends on.
        probe: None, or `Stats` of float32 [B] whose cotangent is to be the backward account.
        forward_mode: whether to allow forward-mode derivatives, which takes the full batch.

    Returns:
        Solution with the lanes on axis 0.
    """
    limits = operands.limits
    run = limits.mask & (limits.max_steps > 0)

    def compute(level: int, ids: jax.Array | None, smooth: PyTree, fixed: tuple) -> PyTree:
        operands, z = fixed
        args, consts = operands.with_smooth(smooth)
        evaluate = problem.maps[level]
        return evaluate(consts, buckets.gather(z, ids), *problem.gather(args, ids))

    # In a branch there is no forward mode, nor a sum of cotangents over devices.
    full = forward_mode or operands.shared(run)
    sizes = problem.sizes[:1] if full else problem.sizes
    # What f does not read needs no derivative either.
    fixed = jax.lax.stop_gradient((operands, z0))
    value = buckets.update(compute, run, z0, operands.smooth(), sizes, fixed)
    if probe is not None:
        value = _accounted(value, run, probe)
    finite = jnp.isfinite(per_sample.square_norm(jax.lax.stop_gradient(value)))
    outcome = jnp.where(finite, Status.CONVERGED, Status.DIVERGED)
    stats = Stats(
        steps=jnp.where(run, 1, 0).astype(jnp.int32),
        residual=jnp.where(run & finite, 0.0, jnp.inf).astype(jnp.float32),
        status=jnp.where(run, outcome, Status.SKIPPED).astype(jnp.int32),
    )
    return Solution(per_sample.select(run & ~finite, jax.lax.stop_gradient(z0), value), stats)


@jax.custom_vjp
def _accounted(value: PyTree, run: jax.Array, probe: Stats) -> PyTree:
    """`value`; going back, the probe's cotangent says that there was nothing to solve."""
    return value


def _accounted_forward(value: PyTree, run: jax.Array, probe: Stats) -> tuple[PyTree, jax.Array]:
    return value, run


def _accounted_backward(run: jax.Array, v: PyTree) -> tuple[PyTree, None, Stats]:
    peak = per_sample.largest(v)
    outcome = jnp.where(jnp.isfinite(peak), Status.CONVERGED, Status.DIVERGED)
    status = jnp.where(run & (peak != 0), outcome, Status.SKIPPED)
    residual = jnp.where(status == Status.CONVERGED, 0.0, jnp.inf)
    return v, None, stats_as_float(Stats(jnp.zeros_like(status), residual, status))


_accounted.defvjp(_accounted_forward, _accounted_backward)
