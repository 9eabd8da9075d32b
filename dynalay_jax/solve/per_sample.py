"""Arithmetic on pytrees of real leaves that have the samples on axis 0, one sample a lane.

Every reduction stays inside its lane, so a sample that diverges does not affect the others. It
accumulates in float32 or better, so a bfloat16 state gets a float32 residual.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any


def accumulation_dtype(tree: PyTree) -> jnp.dtype:
    """Real dtype for norms over `tree`: float64 if any leaf has that precision, else float32."""
    wide = any(jnp.finfo(leaf.dtype).bits == 64 for leaf in jax.tree.leaves(tree))
    return jnp.dtype(jnp.float64 if wide else jnp.float32)


def as_real(tree: PyTree) -> PyTree:
    """Complex leaves as real ones with a last axis of (real, imaginary)."""
    split = lambda x: jnp.stack([x.real, x.imag], axis=-1) if jnp.iscomplexobj(x) else x
    return jax.tree.map(split, tree)


def as_complex(tree: PyTree, like: PyTree) -> PyTree:
    """Undoes `as_real` for the leaves that are complex in `like`."""
    join = lambda x, c: jax.lax.complex(x[..., 0], x[..., 1]) if jnp.iscomplexobj(c) else x
    return jax.tree.map(join, tree, like)


def canonical(
    f: Callable[..., PyTree], z: PyTree, batched: bool
) -> tuple[Callable[..., PyTree], PyTree, Callable[[PyTree], PyTree]]:
    """f and z with lanes and real leaves, and the function that converts a state back.

    A single state becomes a batch of one lane; a complex leaf becomes a pair of real numbers.
    """

    def enter(z: PyTree) -> PyTree:
        z = as_real(z)
        return z if batched else lift(z)

    def leave(lane: PyTree) -> PyTree:
        return as_complex(lane if batched else drop(lane), z)

    @functools.wraps(f, updated=())
    def canonical_f(lane: PyTree, *args: PyTree) -> PyTree:
        return enter(f(leave(lane), *args))

    return canonical_f, enter(z), leave


def vary_like(tree: PyTree, *others: PyTree) -> PyTree:
    """`tree`, made to vary over the mesh axes of a `shard_map` that any of `others` varies over.

    A loop's carry must have the type that its body returns. XLA removes these operations, including
    the computation of `others`.
    """
    never = jnp.zeros((), jnp.bool_)
    for leaf in jax.tree.leaves(others):
        never = never | (jnp.any(leaf != leaf) & jnp.zeros((), jnp.bool_))
    return jax.tree.map(lambda x: jnp.where(never, x, x), tree)


def difference(a: PyTree, b: PyTree) -> PyTree:
    """a − b."""
    return jax.tree.map(jnp.subtract, a, b)


def widen(tree: PyTree) -> PyTree:
    """Leaves of less than 32 bits as float32."""
    wide = lambda x: x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x
    return jax.tree.map(wide, tree)


def expand(per_lane: jax.Array, rank: int) -> jax.Array:
    """Appends unit axes to `per_lane`, so that it broadcasts against a leaf of that rank."""
    return jnp.expand_dims(per_lane, tuple(range(per_lane.ndim, rank)))


def lift(tree: PyTree) -> PyTree:
    """A single state as a batch of one lane."""
    return jax.tree.map(lambda x: jnp.expand_dims(x, 0), tree)


def drop(tree: PyTree) -> PyTree:
    """The state of a batch of one lane; undoes `lift`."""
    return jax.tree.map(lambda x: jnp.squeeze(x, 0), tree)


def select(mask: jax.Array, on_true: PyTree, on_false: PyTree) -> PyTree:
    """`on_true` in the lanes where `mask` [B] holds, `on_false` in the others."""
    return jax.tree.map(lambda a, b: jnp.where(expand(mask, a.ndim), a, b), on_true, on_false)


def fill(like: PyTree, value: float) -> PyTree:
    """Constant arrays with the type of `like`, mesh axes included.

    A loop carry from `jnp.full_like` would not vary over the axes of an enclosing `shard_map`, but
    the output of the loop body does. XLA removes the select.
    """
    constant = lambda x: jnp.where(x == x, *[jnp.asarray(value, x.dtype)] * 2)
    return jax.tree.map(constant, like)


def scale(tree: PyTree, factor: jax.Array) -> PyTree:
    """Multiplies lane i of every leaf by `factor[i]`, keeping the leaves' dtypes.

    The product is in the factor's dtype, which may exceed the range of a float16 leaf.
    """
    product = lambda x: (x.astype(factor.dtype) * expand(factor, x.ndim)).astype(x.dtype)
    return jax.tree.map(product, tree)


def divide(tree: PyTree, divisor: jax.Array) -> PyTree:
    """Divides lane i of every leaf by `divisor[i]`, whose reciprocal might underflow."""
    quotient = lambda x: (x.astype(divisor.dtype) / expand(divisor, x.ndim)).astype(x.dtype)
    return jax.tree.map(quotient, tree)


def finite_or_zero(tree: PyTree) -> PyTree:
    """Zeros in the lanes that are not finite, as 0 · NaN would reach shared weights."""
    return select(jnp.isfinite(square_norm(tree)), tree, fill(tree, 0))


def _sum(terms: PyTree, axis: int = 1) -> jax.Array:
    """Sum over the axes from `axis` on, and over the leaves."""
    sums = [jnp.sum(x, axis=tuple(range(axis, x.ndim))) for x in jax.tree.leaves(terms)]
    return functools.reduce(jnp.add, sums)


def square_norm(tree: PyTree) -> jax.Array:
    """‖tree‖² of every lane, [B]."""
    dtype = accumulation_dtype(tree)
    return _sum(jax.tree.map(lambda x: jnp.square(x.astype(dtype)), tree))


def norm(tree: PyTree) -> jax.Array:
    """‖tree‖ of every lane, [B]; its derivative at 0 is 0, not NaN."""
    square = square_norm(tree)
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def inner(a: PyTree, b: PyTree) -> jax.Array:
    """Inner product ⟨a, b⟩ of every lane, [B]."""
    dtype = accumulation_dtype(a)
    return _sum(jax.tree.map(lambda x, y: x.astype(dtype) * y.astype(dtype), a, b))


def largest(tree: PyTree) -> jax.Array:
    """max |tree| of every lane, [B]; unlike a norm it cannot underflow."""
    dtype = accumulation_dtype(tree)
    peaks = [
        jnp.max(jnp.abs(x), axis=tuple(range(1, x.ndim)), initial=0).astype(dtype)
        for x in jax.tree.leaves(tree)
    ]
    return jnp.max(jnp.stack(peaks), axis=0)


def history(like: PyTree, memory: int) -> PyTree:
    """Empty store of `memory` past states: leaves [B, memory, ...] of zeros."""
    zeros = fill(like, 0)
    repeat = lambda x: jnp.repeat(jnp.expand_dims(x, 1), memory, axis=1)
    return jax.tree.map(repeat, zeros)


def remember(store: PyTree, entry: PyTree, slot: jax.Array) -> PyTree:
    """Writes `entry` into column `slot` of a `history`."""
    write = lambda s, e: jax.lax.dynamic_update_index_in_dim(s, e, slot, axis=1)
    return jax.tree.map(write, store, entry)


def project(store: PyTree, state: PyTree) -> jax.Array:
    """Inner products of a `history` [B, m, ...] with a state [B, ...]: [B, m]."""
    dtype = accumulation_dtype(state)
    product = lambda s, x: s.astype(dtype) * jnp.expand_dims(x.astype(dtype), 1)
    return _sum(jax.tree.map(product, store, state), axis=2)


def combine(store: PyTree, weights: jax.Array) -> PyTree:
    """Weighted sum over a `history` [B, m, ...] with weights [B, m]: [B, ...]."""

    def total(s: jax.Array) -> jax.Array:
        # A dot, not a sum of products: XLA would fuse the computation of the weights into a sum,
        # and repeat it for every entry of the state.
        wide = s.astype(weights.dtype)
        return jnp.einsum("bm,bm...->b...", weights, wide, precision="highest").astype(s.dtype)

    return jax.tree.map(total, store)
