"""The primitive: z = f(z) for every sample of a batch by itself, with implicit gradients.

`Solution.value` is h* of the paper's FPI layer, h* = g(h*, u), reached by iterating until
‖f(z) − z‖ / (‖f(z)‖ + atol) ≤ tol; its gradient is Eq. 5, by the `adjoint`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.solve import per_sample, state_free, validate
from dynalay_jax.solve.adjoints import Implicit, Unrolled
from dynalay_jax.solve.compaction import Compaction
from dynalay_jax.solve.implicit import Adjoint
from dynalay_jax.solve.loop import Limits
from dynalay_jax.solve.problem import Operands, pose
from dynalay_jax.solve.solution import Solution, Stats
from dynalay_jax.solve.solvers import Picard, Solver

PyTree = Any
_SOLVERS = ("Picard()", "Anderson()", "Broyden()")
_ADJOINTS = ("Implicit()", "JacobianFree()", "Phantom()", "ImplicitJVP()", "Unrolled()")


def fixed_point(
    f: Callable[..., PyTree],
    z0: PyTree,
    *args: PyTree,
    solver: Solver = Picard(),
    adjoint: Adjoint = Implicit(),
    tol: Any = 1e-5,
    max_steps: Any = 100,
    atol: Any = 1e-12,
    batched: bool = True,
    mask: Any = None,
    compact: bool | Compaction = False,
    probe: Stats | None = None,
) -> Solution:
    """Solves z = f(z, *args), each sample until it has converged, and differentiates it.

    Samples stop by themselves: each has its own tolerance, budget, residual and status, and what
    happens to one has no effect on another. Call it under `jax.jit`. f is traced once (again for
    the bucket sizes of `compact`, and for mesh axes of a `shard_map` that z0 does not vary over);
    it may close over traced values of any dtype. Where f does not read z, one evaluation is the
    fixed point, with residual 0, and its gradient is autodiff's, by any solver and adjoint.

    Args:
        f: `f(z, *args)` returns a pytree like z. With `batched`, sample i of the result may depend
            on sample i of z alone.
        z0: start; pytree of floating-point arrays. With `batched`, axis 0 of every leaf is the
            sample axis, of size B ≥ 0.
        *args: pytrees of arrays, handed to f; differentiable where their dtype is.
        solver: `Picard`, `Anderson` or `Broyden`.
        adjoint: `Implicit`, `JacobianFree`, `Phantom`, `ImplicitJVP` or `Unrolled`.
        tol: relative residual at which a sample has converged, ≥ 0; scalar or [B], may be traced.
        max_steps: evaluations of f that a sample may take, ≥ 0; scalar or int [B], may be traced.
            0 skips the sample.
        atol: added to ‖f(z)‖ in the relative residual, ≥ 0, so that a fixed point at zero can be
            reached; choose it well below the size of the states that matter. Scalar or [B], may be
            traced.
        batched: False takes z0 as one state: lanes are scalars, and a norm goes over all of it.
        mask: bool, scalar or [B]; samples where it is False are skipped: returned as in z0.
        compact: True or a `Compaction` gathers the samples still running into ever smaller
            batches, so that early finishers save time, forward and backward. What f needs of each
            sample must then come through `*args`, and it may draw no random numbers of z's shape.
        probe: a `backward_probe`; its cotangent is the account of the backward solve.

    Returns:
        `Solution(value, stats)`. `value` is f(z) of the finite evaluation with the smallest
        residual: the last one where the sample converged, z0 where it was skipped.

    Raises:
        TypeError: an argument of the wrong type, or f changes a dtype of z.
        ValueError: an argument with the wrong shape or value, or f changes the structure or a
            shape of z. Both at trace time; values that are traced are not looked at.

    References:
        Eq. 5 of DynaLay (arXiv 2312.12781); Bai et al., Deep Equilibrium Models, NeurIPS 2019.
    """
    if not callable(f):
        raise TypeError(f"f: expected a function f(z, *args), got {type(f).__name__}.")
    validate.instance("solver", solver, Solver, _SOLVERS)
    validate.instance("adjoint", adjoint, Adjoint, _ADJOINTS)
    z0 = validate.state(z0, batched)
    validate.arguments(args)
    shape = jax.tree.leaves(z0)[0].shape[:1] if batched else ()
    real = per_sample.accumulation_dtype(z0)
    budget = validate.concrete(max_steps)
    limits = Limits(
        tol=validate.per_sample("tol", tol, shape, real),
        max_steps=validate.per_sample("max_steps", max_steps, shape, jnp.int32),
        mask=validate.per_sample("mask", True if mask is None else mask, shape, jnp.bool_),
        floor=validate.per_sample("atol", atol, shape, real),
        weight=jnp.ones(shape, real),
    )
    validate.probe(probe, shape)
    if probe is not None and adjoint.forward_mode:
        raise ValueError(
            f"probe: expected None with adjoint={type(adjoint).__name__}(), which has no backward "
            "solve to report on; use adjoint=Implicit()."
        )
    compaction = _compaction(compact, batched, adjoint, z0)

    f, z0, leave = per_sample.canonical(validate.same_type(f), z0, batched)
    if not batched:
        limits, probe = per_sample.lift((limits, probe))
    length = None if budget is None else int(np.max(budget, initial=0))
    problem, z0, operands = pose(f, z0, Operands(args, (), limits), solver, length, compaction)
    if problem.reads_state:
        value, stats = adjoint.solve(problem, z0, operands, probe)
    else:
        value, stats = state_free.solve(problem, z0, operands, probe, adjoint.forward_mode)
    return Solution(leave(value), stats if batched else per_sample.drop(stats))


def backward_probe(batch: int | None) -> Stats:
    """A dummy argument through which `jax.grad` returns the account of a backward solve.

        def loss(theta, probe):
            return jnp.sum(fixed_point(f, z0, theta, probe=probe).value)

        grad, backward = jax.grad(loss, argnums=(0, 1))(theta, backward_probe(batch))
        backward.steps, backward.residual, backward.status   # float32 [B]

    Give every solve a probe of its own: cotangents add up. Map or shard it as z0.

    Args:
        batch: B; None for a solve with `batched=False`.

    Returns:
        `Stats` of float32 zeros, shape [B] or scalar.
    """
    shape = () if batch is None else (batch,)
    return Stats(*[jnp.zeros(shape, jnp.float32) for _ in Stats._fields])


def _compaction(
    compact: bool | Compaction, batched: bool, adjoint: Adjoint, z0: PyTree
) -> Compaction | None:
    if compact is False:
        return None
    compaction = Compaction() if compact is True else compact
    validate.instance("compact", compaction, Compaction, ("True", "False", "Compaction()"))
    if not batched:
        raise ValueError("compact: expected False with batched=False; a single state has no batch.")
    if isinstance(adjoint, Unrolled):
        raise ValueError(
            "compact: expected False with adjoint=Unrolled(), whose loop keeps its batch; use "
            "adjoint=Implicit() or drop compact."
        )
    if not isinstance(jax.tree.leaves(z0)[0].shape[0], int):
        raise ValueError(
            "compact: expected a batch size known at trace time, got a symbolic one; bucket sizes "
            "are part of the program. Export with a fixed batch size, or drop compact."
        )
    validate.unsharded_samples(z0)
    return compaction
