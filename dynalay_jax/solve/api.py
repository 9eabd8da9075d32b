"""The primitive: solves z = f(z) separately for every sample of a batch, with implicit gradients.

    iterate until ‖f(z) − z‖ / (‖f(z)‖ + atol) ≤ tol

`Solution.value` is h* = g(h*, u) of the paper's FPI layer. Its gradient is Eq. 5, computed by the
`adjoint`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.solve import linen, per_sample, precision, state_free, validate
from dynalay_jax.solve.adjoints import Implicit, Unrolled
from dynalay_jax.solve.compaction import Compaction
from dynalay_jax.solve.implicit import Adjoint
from dynalay_jax.solve.loop import Limits
from dynalay_jax.solve.problem import Operands, pose
from dynalay_jax.solve.solution import BackwardStats, Solution, Value
from dynalay_jax.solve.solvers import Picard, Solver

PyTree = Any
_SOLVERS = ("Picard()", "Anderson()", "Broyden()")
_ADJOINTS = ("Implicit()", "JacobianFree()", "Phantom()", "ImplicitJVP()", "Unrolled()")


def fixed_point(
    f: Callable[..., Value],
    z0: Value,
    *args: PyTree,
    solver: Solver = Picard(),
    adjoint: Adjoint = Implicit(),
    tol: Any = None,
    max_steps: Any = 100,
    atol: Any = 1e-12,
    batched: bool = True,
    mask: Any = None,
    compact: bool | Compaction = False,
    probe: BackwardStats | None = None,
) -> Solution[Value]:
    """Solves z = f(z, *args) for each sample until it converges. Differentiable.

    Each sample has its own tolerance, budget, residual and status, and does not affect the other
    samples. Call this function under `jax.jit`. f is traced once, and again for each bucket size of
    `compact` and for mesh axes of a `shard_map` that z0 does not vary over. f may close over traced
    values of any dtype. If f does not read z, one evaluation is the fixed point, with residual 0,
    and its gradient is that of autodiff, for any solver and adjoint.

    Args:
        f: `f(z, *args)` returns a pytree like z. If `batched`, sample i of the result may depend
            only on sample i of z.
        z0: start; pytree of floating-point arrays. If `batched`, axis 0 of every leaf is the
            sample axis, of size B ≥ 0.
        *args: pytrees of arrays, passed to f. Floating-point leaves are differentiable.
        solver: `Picard`, `Anderson` or `Broyden`.
        adjoint: `Implicit`, `JacobianFree`, `Phantom`, `ImplicitJVP` or `Unrolled`.
        tol: relative residual at which a sample has converged, ≥ 0; scalar or [B], may be traced.
            None is 1e-5, and 0.008 for bfloat16. With a positive tol, a sample has also converged
            where rounding keeps its residual from falling further; 0 asks for all `max_steps`.
        max_steps: most evaluations of f for a sample, ≥ 0; scalar or int [B], may be traced.
            0 skips the sample.
        atol: added to ‖f(z)‖ in the relative residual, ≥ 0, so that a solve can converge to a
            fixed point at zero. Choose it well below the norm of your states. Scalar or [B], may
            be traced.
        batched: False takes z0 as one state: settings and stats are scalars, and norms are over
            the whole state.
        mask: bool, scalar or [B]. Samples with False are skipped: their value is that of z0.
        compact: True or a `Compaction` gathers the running samples into smaller and smaller
            batches, forward and backward, so that early finishers save time. Data of each sample
            must then come through `*args`, and f must not draw random numbers of z's shape.
        probe: a `backward_probe`; its cotangent is the report of the backward solve.

    Returns:
        `Solution(value, stats)`. `value` is f(z) of the finite evaluation with the smallest
        residual: the last evaluation if the sample converged, z0 if it was skipped.

    Raises:
        TypeError: an argument has the wrong type, or f changes a dtype of z.
        ValueError: an argument has the wrong shape or value, or f changes the structure or a shape
            of z. Both errors come at trace time; traced values are not checked.
        UserWarning: tol is below the rounding error of the state's dtype.

    References:
        Eq. 5 of DynaLay (arXiv 2312.12781); Bai et al., Deep Equilibrium Models, NeurIPS 2019.
    """
    validate.function(f, z0, args)
    validate.flag("batched", batched)
    validate.instance("solver", solver, Solver, _SOLVERS)
    if solver.linear:
        raise ValueError(
            f"solver: expected one of {', '.join(_SOLVERS)}, got {solver!r}, which solves linear "
            f"maps only. Use it for the gradient: adjoint=Implicit(solver={solver!r})."
        )
    validate.instance("adjoint", adjoint, Adjoint, _ADJOINTS)
    z0 = validate.state(z0, batched)
    validate.arguments(args)
    shape = jax.tree.leaves(z0)[0].shape[:1] if batched else ()
    real = per_sample.accumulation_dtype(z0)
    tol = precision.default_tolerance(z0) if tol is None else tol
    budget = validate.concrete(max_steps)
    limits = Limits(
        tol=validate.per_sample("tol", tol, shape, real),
        max_steps=validate.per_sample("max_steps", max_steps, shape, jnp.int32),
        mask=validate.per_sample("mask", True if mask is None else mask, shape, jnp.bool_),
        floor=validate.per_sample("atol", atol, shape, real),
        weight=jnp.ones(shape, real),
    )
    precision.warn_below(validate.concrete(tol), z0)
    validate.probe(probe, shape)
    if probe is not None and adjoint.forward_mode:
        raise ValueError(
            f"probe: expected None with adjoint={type(adjoint).__name__}(), which has no backward "
            "solve to report. Use adjoint=Implicit()."
        )
    compaction = _compaction(compact, batched, adjoint, z0)

    f = validate.same_type(linen.repeatable(f))
    f, z0, leave = per_sample.canonical(f, z0, batched)
    if not batched:
        limits, probe = per_sample.lift((limits, probe))
    length = None if budget is None else int(np.max(budget, initial=0))
    problem, z0, operands = pose(
        f, z0, Operands(args, (), limits), solver, length, compaction, isinstance(adjoint, Unrolled)
    )
    if problem.reads_state:
        value, stats = adjoint.solve(problem, z0, operands, probe)
    else:
        value, stats = state_free.solve(problem, z0, operands, probe, adjoint.forward_mode)
    return Solution(leave(value), stats if batched else per_sample.drop(stats))


def backward_probe(batch: int | None) -> BackwardStats:
    """A dummy argument: its gradient is the account of a backward solve.

        def loss(theta, probe):
            return jnp.sum(fixed_point(f, z0, theta, probe=probe).value)

        grad, backward = jax.grad(loss, argnums=(0, 1))(theta, backward_probe(batch))
        backward.steps, backward.error, backward.given_up   # float32 [B]

    Use one probe for each solve, because cotangents add up. Map or shard it like z0.

    Args:
        batch: B ≥ 0; None for a solve with `batched=False`.

    Returns:
        `BackwardStats` of float32 zeros, shape [B] or scalar.

    Raises:
        TypeError, ValueError: batch is no integer, or negative.
    """
    if batch is not None:
        validate.batch_size("batch", batch)
    shape = () if batch is None else (batch,)
    return BackwardStats(*[jnp.zeros(shape, jnp.float32) for _ in BackwardStats._fields])


def _compaction(
    compact: bool | Compaction, batched: bool, adjoint: Adjoint, z0: PyTree
) -> Compaction | None:
    if compact is False:
        return None
    compaction = Compaction() if compact is True else compact
    validate.instance("compact", compaction, Compaction, ("True", "False", "Compaction()"))
    if not batched:
        raise ValueError("compact: expected False with batched=False: a single state has no batch.")
    if isinstance(adjoint, Unrolled):
        raise ValueError(
            "compact: expected False with adjoint=Unrolled(), whose loop cannot change its batch "
            "size. Use adjoint=Implicit(), or remove compact."
        )
    if not isinstance(jax.tree.leaves(z0)[0].shape[0], int):
        raise ValueError(
            "compact: expected a batch size known at trace time, got a symbolic one. Bucket sizes "
            "are part of the program. Export with a fixed batch size, or remove compact."
        )
    validate.unsharded_samples(z0)
    return compaction
