"""What is to be solved: f, closed and traced for every bucket size, and all that it depends on."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax import active_set, lanes
from dynalay_jax.compaction import Compaction, follows_samples, take_bucket
from dynalay_jax.hoist import hoist
from dynalay_jax.solution import Solution
from dynalay_jax.solvers import Solver

PyTree = Any


class Operands(NamedTuple):
    """All that a solve depends on besides z0."""

    args: tuple
    consts: tuple[list[Any], ...]  # what f closed over, one list a bucket size
    tol: jax.Array
    max_steps: jax.Array
    mask: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """f, closed and traced for every bucket size, with the samples on axis 0.

    Attributes:
        maps: `maps[level](consts[level], z, *args)` is f for bucket number `level`.
        sizes: the bucket sizes; a single one does not compact.
        per_sample: for every leaf of `args`, whether it is gathered with the samples.
        solver: of the forward solve.
        length: bound on the number of steps, where it is known at trace time.
    """

    maps: tuple[Callable, ...]
    sizes: Sequence[int]
    per_sample: PyTree
    solver: Solver
    length: int | None

    def gather(self, args: tuple, ids: jax.Array | None) -> tuple:
        if ids is None:
            return args
        take = lambda x, flag: active_set.gather(x, ids) if flag else x
        return jax.tree.map(take, args, self.per_sample)

    def map(self, operands: Operands, level: int = 0, ids: jax.Array | None = None) -> Callable:
        """z ↦ f(z) for the lanes `ids`."""
        args, consts = self.gather(operands.args, ids), operands.consts[level]
        return lambda z: self.maps[level](consts, z, *args)

    def solve(self, z0: PyTree, operands: Operands) -> Solution:
        bind = lambda level, ids: self.map(operands, level, ids)
        _, _, tol, max_steps, mask = operands
        return active_set.solve(bind, z0, self.solver, tol, max_steps, mask, self.sizes)


def pose(
    f: Callable,
    z0: PyTree,
    args: tuple,
    tol: jax.Array,
    max_steps: jax.Array,
    mask: jax.Array,
    solver: Solver,
    length: int | None,
    compaction: Compaction | None,
) -> tuple[Problem, PyTree, tuple, tuple]:
    """Traces f for every bucket size; z0 comes back with the type of f's output."""
    never = (tol < 0) & (max_steps < 0) & mask & ~mask
    z0 = lanes.select(never, z0, z0)  # varies over the mesh axes that these vary over
    pure, consts, types = hoist(f, z0, *args)
    if types != [jax.typeof(z) for z in jax.tree.leaves(z0)]:
        # Inside shard_map f's output varies over mesh axes that z0 does not vary over. A loop
        # needs equal types: z0 takes them on in a select, and XLA drops the evaluation of f.
        fz0 = pure(*jax.lax.stop_gradient((consts, z0, *args)))
        z0 = jax.tree.map(lambda z, fz: jnp.where(fz == fz, z, z), z0, fz0)
        pure, consts, _ = hoist(f, z0, *args)

    maps, all_consts = [pure], [consts]
    batch = jax.tree.leaves(z0)[0].shape[0]
    sizes: tuple = (batch,)
    per_sample = jax.tree.map(lambda _: False, args)
    if compaction is not None:
        sizes = active_set.bucket_sizes(batch, compaction.min_bucket)
    if len(sizes) > 1:
        assert compaction is not None
        per_sample = follows_samples(compaction, f, z0, args, batch, sizes[1])
        for size in sizes[1:]:
            small = jax.tree.map(lambda x, size=size: x[:size], z0)
            pure, consts, _ = hoist(f, small, *take_bucket(args, per_sample, size))
            maps.append(pure)
            all_consts.append(consts)
    problem = Problem(tuple(maps), sizes, per_sample, solver, length)
    return problem, z0, args, tuple(all_consts)
