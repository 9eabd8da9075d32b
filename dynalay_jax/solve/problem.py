"""A fixed-point problem: f, closed and traced for every bucket size, and all that it depends on."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax.solve import buckets, closure, loop, per_sample, samples
from dynalay_jax.solve.compaction import Compaction, batched_leaves, check_sources, take_bucket
from dynalay_jax.solve.solution import Solution
from dynalay_jax.solve.solvers import Solver

PyTree = Any


class Operands(NamedTuple):
    """All that a solve depends on besides z0."""

    args: tuple
    consts: tuple[list[Any], ...]  # what f closed over, one list for each bucket size
    limits: loop.Limits

    def smooth(self) -> PyTree:
        """(args, consts of the full batch), with None for leaves that have no derivative."""
        inexact = lambda leaf: jnp.issubdtype(jax.typeof(leaf).dtype, jnp.inexact)
        keep = lambda leaf: leaf if inexact(leaf) else None
        return jax.tree.map(keep, (self.args, self.consts[0]))

    def with_smooth(self, smooth: PyTree) -> tuple[tuple, list[Any]]:
        """(args, consts of the full batch), with the leaves of `smooth` in place of their own."""
        either = lambda new, own: own if new is None else new
        mine = self.args, self.consts[0]
        return jax.tree.map(either, smooth, mine, is_leaf=lambda x: x is None)

    def shared(self, run: jax.Array) -> bool:
        """Whether devices of a `shard_map` share a smooth operand but differ in `run`.

        The cotangents of such an operand are summed over the devices. That sum must not be in a
        branch that some of the devices may not take.
        """
        axes: Callable[[jax.Array], frozenset] = lambda x: jax.typeof(x).mat.varying
        return any(axes(run) - axes(leaf) for leaf in jax.tree.leaves(self.smooth()))


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """f, closed and traced for every bucket size, with the samples on axis 0.

    Attributes:
        maps: `maps[level](consts[level], z, *args)` is f for bucket number `level`.
        sizes: the bucket sizes; a single one means no compaction.
        batched: for every leaf of `args`, whether it is gathered with the samples.
        solver: of the forward solve.
        length: bound on the number of steps, or None if it is not known at trace time.
        reads_state: whether f reads z. If not, `state_free` solves the problem.
    """

    maps: tuple[Callable, ...]
    sizes: Sequence[int]
    batched: PyTree
    solver: Solver
    length: int | None
    reads_state: bool

    def gather(self, args: tuple, ids: jax.Array | None) -> tuple:
        """`args` of the lanes `ids`; of all lanes if `ids` is None."""
        take = lambda x, flag: buckets.gather(x, ids) if flag else x
        return jax.tree.map(take, args, self.batched)

    def at(self, operands: Operands, level: int = 0, ids: jax.Array | None = None) -> Callable:
        """z ↦ f(z) for the lanes `ids`."""
        args, consts = self.gather(operands.args, ids), operands.consts[level]
        return lambda z: self.maps[level](consts, z, *args)

    def solve(self, z0: PyTree, operands: Operands) -> Solution:
        """The forward solve, without derivatives."""
        bind = lambda level, ids: self.at(operands, level, ids)
        return loop.solve(bind, z0, self.solver, operands.limits, self.sizes)


def pose(
    f: Callable,
    z0: PyTree,
    operands: Operands,
    solver: Solver,
    length: int | None,
    compaction: Compaction | None,
    lockstep: bool,
) -> tuple[Problem, PyTree, Operands]:
    """Traces f for every bucket size.

    Args:
        f: checked, and canonical as `per_sample.canonical` makes it; so is z0.
        z0: start.
        operands: without `consts`.
        solver, length: as in `Problem`.
        compaction: None for a single, full bucket.
        lockstep: whether all devices of a mesh make the same number of steps.

    Returns:
        The problem, z0 with the type of f's output, and the operands with `consts`.

    Raises:
        ValueError: f mixes samples, waits for other devices, or does not run on a bucket.
    """
    args = operands.args
    z0 = per_sample.vary_like(z0, operands.limits)
    full = closure.convert(f, z0, *args)
    if full.types != [jax.typeof(z) for z in jax.tree.leaves(z0)]:
        # Inside shard_map f's output varies over mesh axes that z0 does not vary over.
        z0 = per_sample.vary_like(z0, full.call(*jax.lax.stop_gradient((full.consts, z0, *args))))
        full = closure.convert(f, z0, *args)

    states = full.jaxpr.invars[len(full.consts) :][: len(jax.tree.leaves(z0))]
    samples.check_trace(full.jaxpr, states)
    if full.reads_first and not lockstep:
        samples.check_devices(full.jaxpr, states)

    batch = jax.tree.leaves(z0)[0].shape[0]
    levels, batched = [full], jax.tree.map(lambda _: False, args)
    sizes: tuple[int, ...] = (batch,)
    if compaction is not None:
        # A loop passes through all bucket sizes in turn; a single evaluation picks the best one.
        sizes = buckets.bucket_sizes(batch, compaction.min_bucket, between=not full.reads_first)
        batched = batched_leaves(compaction, f, z0, args, sizes)
        for size in sizes[1:]:
            small = take_bucket((z0, args), (True, batched), size)
            levels.append(closure.convert(f, small[0], *small[1]))
        if len(levels) > 1:
            check_sources(full, levels[1])
    maps = tuple(level.call for level in levels)
    problem = Problem(maps, sizes, batched, solver, length, full.reads_first)
    return problem, z0, operands._replace(consts=tuple(level.consts for level in levels))
