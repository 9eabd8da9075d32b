"""Maps that do not read their state: f(z) is the fixed point, for every z.

One evaluation solves the problem. As J = 0, the adjoint equation w = v + Jᵀ w is solved by w = v,
and the gradient is that of one ordinary evaluation by autodiff.
"""

from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import buckets, per_sample
from dynalay_jax.solve.problem import Operands, Problem
from dynalay_jax.solve.solution import BackwardStats, Solution, Stats, Status

PyTree = Any


def solve(
    problem: Problem,
    z0: PyTree,
    operands: Operands,
    probe: BackwardStats | None,
    forward_mode: bool,
) -> Solution:
    """The solution of a problem with `reads_state` False; arguments as in `Adjoint.solve`.

    With `forward_mode` there are forward-mode derivatives, which need the full batch.
    """
    limits = operands.limits
    run = limits.mask & (limits.max_steps > 0)

    def compute(level: int, ids: jax.Array | None, smooth: PyTree, fixed: tuple) -> PyTree:
        operands, z = fixed
        args, consts = operands.with_smooth(smooth)
        evaluate = problem.maps[level]
        return evaluate(consts, buckets.gather(z, ids), *problem.gather(args, ids))

    # A branch allows no forward mode and no sum of cotangents over devices.
    full = forward_mode or operands.shared(run)
    sizes = problem.sizes[:1] if full else problem.sizes
    # These have no derivative.
    fixed = jax.lax.stop_gradient((operands, z0))
    value = buckets.update(compute, run, z0, operands.smooth(), sizes, fixed)
    if probe is not None:
        value = _with_report(value, run, probe)
    finite = jnp.isfinite(per_sample.square_norm(jax.lax.stop_gradient(value)))
    outcome = jnp.where(finite, Status.CONVERGED, Status.DIVERGED)
    stats = Stats(
        steps=jnp.where(run, 1, 0).astype(jnp.int32),
        residual=jnp.where(run & finite, 0.0, jnp.inf).astype(jnp.float32),
        status=jnp.where(run, outcome, Status.SKIPPED).astype(jnp.int32),
    )
    return Solution(per_sample.select(run & ~finite, jax.lax.stop_gradient(z0), value), stats)


@jax.custom_vjp
def _with_report(value: PyTree, run: jax.Array, probe: BackwardStats) -> PyTree:
    """`value`; the probe's cotangent reports a backward solve of 0 steps."""
    return value


def _report_forward(
    value: PyTree, run: jax.Array, probe: BackwardStats
) -> tuple[PyTree, jax.Array]:
    return value, run


def _report_backward(run: jax.Array, v: PyTree) -> tuple[PyTree, None, BackwardStats]:
    peak = per_sample.largest(v)
    # From `run` and v, so that all have their mesh axes.
    solved, broken = run & (peak != 0), run & ~jnp.isfinite(peak)
    pick = lambda mask, yes, no: jnp.where(mask, jnp.float32(yes), jnp.float32(no))
    outcome = pick(broken, Status.DIVERGED, Status.CONVERGED)
    account = BackwardStats(
        steps=pick(solved, 0, 0),
        residual=pick(solved & ~broken, 0, jnp.inf),
        status=jnp.where(solved, outcome, jnp.float32(Status.SKIPPED)),
        error=pick(broken, jnp.inf, 0),
        rescued=pick(solved, 0, 0),
        given_up=pick(solved, 0, 0),
    )
    return v, None, account


_with_report.defvjp(_report_forward, _report_backward)
