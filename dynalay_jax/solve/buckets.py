"""Something computed for some samples alone, with static shapes: they are gathered into a bucket.

A batch costs as much as all of its samples, whoever needs it. So there are programs for a few
smaller sizes, and the smallest that holds the samples concerned is the one that runs.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import per_sample

PyTree = Any


def bucket_sizes(batch: int, min_bucket: int, between: bool = False) -> tuple[int, ...]:
    """Sizes of the buckets: batch, batch/2, ..., none below `min_bucket` but the batch itself.

    With `between`, also those of three quarters of each: above the smallest, a bucket is then at
    most half as large again as it has to be, instead of twice, for one more program each.
    """
    sizes = [batch]
    while (half := (sizes[-1] + 1) // 2) >= min_bucket and half < sizes[-1]:
        sizes.append(half)
    if between:
        more = (-(-3 * size // 4) for size in sizes)
        sizes = sorted({*sizes, *(size for size in more if size >= min_bucket)}, reverse=True)
    return tuple(sizes)


def smallest(sizes: Sequence[int], count: jax.Array) -> jax.Array:
    """Index, int32, of the smallest of the falling sizes that holds so many."""
    held = jnp.asarray(sizes[1:], jnp.int32) >= count
    return jnp.sum(held, dtype=jnp.int32)


def gather(tree: PyTree, ids: jax.Array | None) -> PyTree:
    """Lanes `ids` of every leaf; all of them where that is None."""
    if ids is None:
        return tree
    return jax.tree.map(lambda x: jnp.take(x, ids, axis=0, mode="clip"), tree)


def update(
    compute: Callable[..., PyTree],
    run: jax.Array,
    old: PyTree,
    operands: PyTree,
    sizes: Sequence[int],
    fixed: PyTree = (),
) -> PyTree:
    """`old`, with new values in the lanes that `run`.

    With several buckets nothing is computed where no lane runs; going back, what is needed of the
    values is computed again; and there are no forward-mode derivatives.

    Args:
        compute: `compute(level, ids, operands, fixed)` gives the lanes `ids`, of bucket number
            `level`; with ids None, of the full batch, which is level 0. It closes over nothing
            traced.
        run: bool [B].
        old: pytree with the lanes on axis 0, and the type of what `compute` gives.
        operands: what new values are differentiated with respect to, of floating point. In a
            `shard_map` they vary over all axes that `run` does, as a sum of cotangents over devices
            must not be in a branch.
        sizes: of the buckets, from `bucket_sizes`.
        fixed: what else they depend on, without derivative, of any dtype.

    Returns:
        A pytree like old.
    """
    if len(sizes) == 1:
        return per_sample.select(run, compute(0, None, operands, fixed), old)
    batch, count = len(run), jnp.sum(run, dtype=jnp.int32)
    # Those that run come first. Past them there is nobody: such places are not written to.
    order, place = jnp.argsort(~run, stable=True), jnp.arange(batch)
    order = jnp.where(place < count, order, batch + place)

    def in_bucket(level: int, fixed: tuple, old: PyTree, operands: PyTree) -> PyTree:
        run, order, rest = fixed
        if not level:
            return per_sample.select(run, compute(0, None, operands, rest), old)
        ids = order[: sizes[level]]
        put = lambda old, new: old.at[ids].set(new, mode="drop", unique_indices=True)
        return jax.tree.map(put, old, compute(level, ids, operands, rest))

    branches = [functools.partial(in_bucket, level) for level in range(len(sizes))]
    nobody = lambda fixed, old, operands: old
    level = smallest((*sizes, 0), count)
    return _switch([*branches, nobody], level, (run, order, fixed), (old, operands))


def _switch(
    branches: Sequence[Callable], level: jax.Array, fixed: tuple, operands: tuple
) -> PyTree:
    """`lax.switch`, with a gradient that computes the branch taken again.

    JAX's own has every branch store what the gradients of all of them need, zeros but for its own.

    Args:
        branches: functions of (fixed, *operands).
        level: the branch to take.
        fixed: what has no derivative.
        operands: with derivative, in reverse mode only.
    """

    @jax.custom_vjp
    def run(level: jax.Array, fixed: tuple, operands: tuple) -> PyTree:
        return jax.lax.switch(level, branches, fixed, *operands)

    def forward(level: jax.Array, fixed: tuple, operands: tuple) -> tuple[PyTree, tuple]:
        # Not `run`, so that derivatives of the gradient are JAX's own, forward mode included.
        return jax.lax.switch(level, branches, fixed, *operands), (level, fixed, operands)

    def backward(saved: tuple, v: PyTree) -> tuple:
        level, fixed, operands = saved

        def pulled(branch: Callable, operands: tuple, v: PyTree) -> tuple:
            return jax.vjp(functools.partial(branch, fixed), *operands)[1](v)

        pulls = [functools.partial(pulled, branch) for branch in branches]
        return None, None, jax.lax.switch(level, pulls, operands, v)

    run.defvjp(forward, backward)
    return run(level, fixed, operands)
