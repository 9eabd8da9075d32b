"""The one masked `while_loop`: every lane iterates until its own stopping rule holds.

    stop when ‖f(z) − z‖ / (weight · ‖f(z)‖ + floor) ≤ tol, or after max_steps evaluations of f

A lane also stops, as converged, where rounding keeps its residual from falling further: when it no
longer falls and ‖f(z) − z‖ ≤ reach · ‖f(z)‖. `reach` follows from the dtype.

A finished lane is frozen, but still computed: a batch costs as much as its slowest lane. Compaction
saves that time with static shapes. It loops at size B until at most B/2 lanes run, gathers those
into a bucket of B/2, continues there, halves again, and scatters back. The plain masked loop is the
same with a single bucket.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax.solve import per_sample, precision
from dynalay_jax.solve.buckets import gather
from dynalay_jax.solve.solution import Solution, Stats, Status
from dynalay_jax.solve.solvers import Solver

PyTree = Any
Map = Callable[[PyTree], PyTree]
# bind(level, ids) returns f for bucket number `level`; its lane j is lane ids[j] of the full batch.
# Level 0 is the full batch itself, with ids None.
Bind = Callable[[int, jax.Array | None], Map]

_RUNNING = -1
# A residual no longer falls if _WINDOW evaluations leave more than the share _FALL of it.
_WINDOW = 64
_FALL = 0.98


class Limits(NamedTuple):
    """When each lane stops.

    Attributes:
        tol: relative residual at which the lane has converged, float [B].
        max_steps: budget of evaluations, int32 [B]; 0 skips the lane.
        mask: bool [B]; False skips the lane.
        floor, weight: of the `relative_residual` that is compared to tol, float [B].
    """

    tol: jax.Array
    max_steps: jax.Array
    mask: jax.Array
    floor: jax.Array
    weight: jax.Array


class _Loop(NamedTuple):
    """Loop carry; every field but `k` has the lanes on axis 0."""

    k: jax.Array  # evaluations of the running lanes so far, int32 scalar
    z: PyTree  # where f is evaluated next
    state: PyTree  # the solver's
    best: PyTree  # f(z) of the evaluation with the smallest residual so far
    residual: jax.Array  # that residual
    mark: jax.Array  # the smallest residual at the end of the last window
    steps: jax.Array
    status: jax.Array
    tol: jax.Array
    max_steps: jax.Array
    floor: jax.Array
    weight: jax.Array


def solve(
    bind: Bind,
    z0: PyTree,
    solver: Solver,
    limits: Limits,
    sizes: Sequence[int],
) -> Solution:
    """Solves z = f(z) in every lane separately, without derivatives.

    Args:
        bind: returns f for the full batch and for each bucket.
        z0: start, a pytree with the lanes on axis 0 and the type of f's output.
        solver: computes the next iterate.
        limits: when each lane stops.
        sizes: of the buckets, from `bucket_sizes`; a single size runs one masked loop.

    Returns:
        Solution with the lanes on axis 0.
    """
    start = lambda: _start(z0, solver, limits)
    if limits.mask.shape[0] == 0:
        return _finish(start())
    return jax.lax.cond(
        jnp.any(limits.mask & (limits.max_steps > 0)),
        lambda: _finish(_run_in_buckets(bind, solver, start(), sizes)),
        lambda: _finish(start()),
    )


def _run_in_buckets(bind: Bind, solver: Solver, full: _Loop, sizes: Sequence[int]) -> _Loop:
    """Runs all lanes until they are done, in smaller and smaller buckets."""

    def advance(level: int, leave: int, full: _Loop) -> _Loop:
        if level == 0:
            return _run(bind(0, None), solver, full, leave)
        # Stable sort of "is finished": the running lanes come first, in order.
        ids = jnp.argsort(full.status != _RUNNING, stable=True)[: sizes[level]]
        per_lane = {name: leaf for name, leaf in full._asdict().items() if name != "k"}
        bucket = _run(bind(level, ids), solver, full._replace(**gather(per_lane, ids)), leave)
        put = lambda a, b: a.at[ids].set(b, unique_indices=True, mode="drop")
        changing = "z", "state", "best", "residual", "mark", "steps", "status"
        old, new = ({name: getattr(c, name) for name in changing} for c in (full, bucket))
        return full._replace(k=bucket.k, **jax.tree.map(put, old, new))

    for level in range(len(sizes)):
        leave = sizes[level + 1] if level + 1 < len(sizes) else 0
        # A level without work is not even bound, because linearising f costs a step.
        full = jax.lax.cond(
            _more_than(leave, full),
            functools.partial(advance, level, leave),
            lambda full: full,
            full,
        )
    return full


def unroll(
    f: Map,
    z0: PyTree,
    solver: Solver,
    limits: Limits,
    length: int,
    checkpoint: bool,
) -> Solution:
    """The masked loop of `solve` as a scan of static length, which autodiff can differentiate.

    With `checkpoint`, √length carries are stored and the backward pass recomputes the others. All
    `length` steps are made, even if no lane runs any more: devices of a mesh may disagree on that,
    and a collective (the sum of a weight's gradient) that only some of them reach would hang.
    """

    def body(carry: _Loop, _: None) -> tuple[_Loop, None]:
        return _advance(lambda z: f(per_sample.finite_or_zero(z)), solver, carry), None

    carry = _start(z0, solver, limits)
    if limits.mask.shape[0] == 0:
        return _finish(carry)
    if not checkpoint:
        return _finish(jax.lax.scan(body, carry, None, length=length)[0])
    inner = max(1, round(length**0.5))
    remat = lambda step: jax.checkpoint(step, prevent_cse=False)

    def chunk(carry: _Loop, _: None) -> tuple[_Loop, None]:
        return jax.lax.scan(remat(body), carry, None, length=inner)

    # The last chunk may run past `length`, when every budget is spent.
    return _finish(jax.lax.scan(remat(chunk), carry, None, length=-(-length // inner))[0])


def relative_residual(
    z: PyTree, fz: PyTree, floor: jax.Array | float, weight: jax.Array | float = 1.0
) -> jax.Array:
    """‖f(z) − z‖ / (weight · ‖f(z)‖ + floor) of every lane, [B].

    With weight 1 and floor atol this is Eq. 13 of MIND over Body. It is not finite if f(z) is not
    finite or too large to square.
    """
    return _quotient(*_change_and_norm(z, fz), floor, weight)


def _change_and_norm(z: PyTree, fz: PyTree) -> tuple[jax.Array, jax.Array]:
    """‖f(z) − z‖ and ‖f(z)‖ of every lane."""
    z, fz = per_sample.widen(jax.lax.stop_gradient((z, fz)))
    return per_sample.norm(per_sample.difference(fz, z)), per_sample.norm(fz)


def _quotient(
    change: jax.Array, norm: jax.Array, floor: jax.Array | float, weight: jax.Array | float
) -> jax.Array:
    residual = jnp.where(change == 0, 0, change / (weight * norm + floor))
    # If ‖f(z)‖ overflows, the quotient would be 0, as if the lane had converged.
    return jnp.where(jnp.isfinite(norm), residual, jnp.inf)


def _start(z0: PyTree, solver: Solver, limits: Limits) -> _Loop:
    tol, max_steps, mask, floor, weight = limits
    # Built from data, so that the carry has the mesh axes of the loop's output: `never` is False,
    # with the combined type of everything that a lane depends on.
    norm = per_sample.square_norm(jax.lax.stop_gradient(z0))
    never = (norm < 0) & (tol < 0) & (max_steps < 0) & (floor < 0) & (weight < 0) & mask
    z0 = per_sample.select(never, z0, z0)
    constant = lambda value, dtype: per_sample.fill(never.astype(dtype), value)
    return _Loop(
        k=jnp.zeros((), jnp.int32),
        z=z0,
        state=solver.init(z0),
        best=z0,
        residual=constant(jnp.inf, norm.dtype),
        mark=constant(jnp.inf, norm.dtype),
        steps=constant(0, jnp.int32),
        status=jnp.where(mask & (max_steps > 0), constant(_RUNNING, jnp.int32), Status.SKIPPED),
        tol=jnp.where(never, 0, tol.astype(norm.dtype)),
        max_steps=jnp.where(never, 0, max_steps),
        floor=jnp.where(never, 0, floor.astype(norm.dtype)),
        weight=jnp.where(never, 0, weight.astype(norm.dtype)),
    )


def _run(f: Map, solver: Solver, carry: _Loop, leave: int) -> _Loop:
    """Advances until at most `leave` lanes are running."""
    go_on = functools.partial(_more_than, leave)
    return jax.lax.while_loop(go_on, lambda c: _advance(f, solver, c), carry)


def _more_than(leave: int, carry: _Loop) -> jax.Array:
    """Whether more than `leave` lanes are running."""
    running = carry.status == _RUNNING
    return jnp.any(running) if leave == 0 else jnp.sum(running, dtype=jnp.int32) > leave


def _advance(f: Map, solver: Solver, c: _Loop) -> _Loop:
    """One evaluation of f, and the update of every lane that is running."""
    running = c.status == _RUNNING
    fz = f(c.z)
    change, norm = _change_and_norm(c.z, fz)
    residual = _quotient(change, norm, c.floor, c.weight)
    steps = c.steps + running.astype(jnp.int32)

    # Comparisons with NaN are False: such a residual is never better and never small enough.
    finite = jnp.isfinite(residual)
    better = running & (residual < c.residual)
    smallest = jnp.where(better, residual, c.residual)
    # tol = 0 asks for every step.
    window_ends = c.k % _WINDOW == _WINDOW - 1
    stalled = window_ends & (smallest > _FALL * c.mark) & (c.tol > 0)
    stalled &= change <= precision.reach(c.z) * norm
    outcome = jnp.where(steps >= c.max_steps, jnp.int32(Status.MAX_STEPS), jnp.int32(_RUNNING))
    outcome = jnp.where((residual <= c.tol) | stalled, jnp.int32(Status.CONVERGED), outcome)
    outcome = jnp.where(finite, outcome, jnp.int32(Status.DIVERGED))
    status = jnp.where(running, outcome, c.status)

    z, state = solver.step(c.z, fz, c.state, c.k)
    return c._replace(
        k=c.k + 1,
        z=per_sample.select(status == _RUNNING, z, c.z),
        state=state,
        best=per_sample.select(better, fz, c.best),
        residual=smallest,
        mark=jnp.where(window_ends, smallest, c.mark),
        steps=steps,
        status=status,
    )


def _finish(carry: _Loop) -> Solution:
    stats = Stats(carry.steps, carry.residual.astype(jnp.float32), carry.status)
    return Solution(carry.best, stats)
