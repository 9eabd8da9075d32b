"""Settings of compaction, and which operands are gathered into a bucket with their samples."""

from collections.abc import Callable
import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.solve import linen, validate
from dynalay_jax.solve.closure import Converted, inner_jaxprs

PyTree = Any
# Limit on the arrays to infer: each of them doubles the number of traces.
_MOST_INFERRED = 4
_CURE = "Set compact=Compaction(arg_axes=(...)), with 0 or None for each argument."


@dataclasses.dataclass(frozen=True)
class Compaction:
    """Settings of `fixed_point(..., compact=...)`; `compact=True` means `Compaction()`.

    Args:
        min_bucket: smallest bucket, ≥ 1. Smaller buckets save more when few samples are slow, and
            cost compile time. Buckets halve in size; if f does not read its state there are also
            buckets of three quarters of each size.
        arg_axes: which of `*args` hold one entry for each sample, in the form of `jax.vmap`'s
            `in_axes`: a tuple with 0 (sample axis first), None (shared by all samples) or a tree
            prefix of these for each argument. None infers the axes: each leaf whose leading axis
            is the batch may be read both ways, and exactly one combination must let `f` run on a
            smaller batch. Otherwise `fixed_point` raises an error.

    Raises:
        TypeError, ValueError: min_bucket is no integer, or below 1.
    """

    min_bucket: int = 16
    arg_axes: Any = None

    def __post_init__(self) -> None:
        validate.positive_integer("Compaction(min_bucket=...)", self.min_bucket)


def batched_leaves(
    compaction: Compaction, f: Callable, z: PyTree, args: tuple, sizes: tuple[int, ...]
) -> PyTree:
    """For every leaf of `args`, whether it is gathered along with the samples.

    Args:
        compaction: the settings.
        f: raises if its output does not have the shapes of its first argument.
        z: state at full batch.
        args: f's further arguments.
        sizes: of the buckets, the full batch first.

    Returns:
        Pytree of bool with the structure of `args`.

    Raises:
        ValueError: `arg_axes` does not fit `args`, f does not run on a bucket, or (inferring) a
            leaf can be read both ways.
    """
    batch, bucket = sizes[0], sizes[-1]
    if compaction.arg_axes is not None:
        flags = _explicit(compaction.arg_axes, args, batch)
        if len(sizes) > 1:
            _evaluate_on_bucket(f, z, args, flags, bucket)
        return flags

    leaves, tree = jax.tree.flatten_with_path(args)
    open_ones = [i for i, (_, x) in enumerate(leaves) if jnp.ndim(x) > 0 and x.shape[0] == batch]
    names = {i: f"args{jax.tree_util.keystr(leaves[i][0])}" for i in open_ones}
    as_flags = lambda chosen: jax.tree.unflatten(tree, [i in chosen for i in range(len(leaves))])
    if len(sizes) == 1:
        return as_flags(open_ones)
    if len(open_ones) > _MOST_INFERRED:
        raise ValueError(
            f"compact=True: expected at most {_MOST_INFERRED} arrays whose leading axis is the "
            f"batch of {batch}, got {', '.join(names.values())}; each may hold one entry for each "
            f"sample. {_CURE}"
        )
    # Every combination is tried, because weights that only fit each other can be misread together.
    # Each is tried on two sizes, because a wrong reading may fit one size by chance.
    readings = [
        list(itertools.compress(open_ones, choice))
        for choice in itertools.product((True, False), repeat=len(open_ones))
    ]
    fits = lambda reading: all(
        _runs_on_bucket(f, z, args, as_flags(reading), size) for size in {sizes[1], bucket}
    )
    fitting = [reading for reading in readings if fits(reading)]
    if not fitting:
        _evaluate_on_bucket(f, z, args, as_flags(open_ones), bucket)
    if len(fitting) > 1:
        differ = [names[i] for i in open_ones if len({i in reading for reading in fitting}) > 1]
        raise ValueError(
            f"compact=True: cannot tell whether {' and '.join(differ)}, with a leading axis of "
            f"{batch} like the batch, holds one entry for each sample or is shared by all samples: "
            f"f runs either way. {_CURE}"
        )
    return as_flags(fitting[0])


def _explicit(arg_axes: Any, args: tuple, batch: int) -> PyTree:
    """`arg_axes` as a pytree of bool with the structure of `args`."""
    is_none = lambda x: x is None
    try:
        axes = jax.tree.broadcast(arg_axes, args, is_leaf=is_none)
    except ValueError as error:
        raise ValueError(
            f"Compaction(arg_axes=...): expected a tuple with 0, None or a tree prefix for each of "
            f"the {len(args)} arguments after z0, got {arg_axes!r}: {error}"
        ) from None
    flags = []
    structure: Any = jax.tree.structure(args)
    for (path, leaf), axis in zip(
        jax.tree.leaves_with_path(args), structure.flatten_up_to(axes), strict=True
    ):
        fits = axis is None or (axis == 0 and jnp.ndim(leaf) > 0 and leaf.shape[0] == batch)
        if not fits:
            raise ValueError(
                f"Compaction(arg_axes=...): expected None, or 0 for an argument with leading axis "
                f"{batch}; got {axis!r} for args{jax.tree_util.keystr(path)} of shape "
                f"{jnp.shape(leaf)}."
            )
        flags.append(axis == 0)
    return jax.tree.unflatten(structure, flags)


def take_bucket(tree: PyTree, flags: PyTree, bucket: int) -> PyTree:
    """The first `bucket` lanes of the leaves whose flag (a tree prefix of bool) is True."""
    flags = jax.tree.broadcast(flags, tree)
    return jax.tree.map(lambda x, flag: x[:bucket] if flag else x, tree, flags)


def _evaluate_on_bucket(f: Callable, z: PyTree, args: tuple, flags: PyTree, bucket: int) -> None:
    small, rest = take_bucket((z, args), (True, flags), bucket)
    try:
        with linen.untouched():
            jax.eval_shape(f, small, *rest)
    except Exception as error:  # whatever f raises when shapes do not fit
        raise ValueError(
            f"compact: f failed on a bucket of {bucket} samples. Data of each sample must come in "
            "through *args, not through f's closure, with the samples on axis 0. To name these "
            "arguments, set compact=Compaction(arg_axes=(...)), with 0 or None for each. "
            f"The error in f: {error}"
        ) from error


def _runs_on_bucket(f: Callable, z: PyTree, args: tuple, flags: PyTree, bucket: int) -> bool:
    try:
        _evaluate_on_bucket(f, z, args, flags, bucket)
    except ValueError:
        return False
    return True


# Primitives that make values from a shape: the values in a bucket differ.
_RANDOM = {"random_bits", "random_split", "rng_bit_generator", "rng_uniform"}


def check_sources(full: Converted, bucket: Converted) -> None:
    """Checks that f makes no values from the batch size, such as random numbers or indices.

    Args:
        full: f traced at full batch.
        bucket: f traced on a smaller bucket.

    Raises:
        ValueError: f makes, say, a dropout mask of the batch's shape or `jnp.arange(batch)`.
    """
    shapes = [[jnp.shape(const) for const in each.consts] for each in (full, bucket)]
    source = "a constant" if shapes[0] != shapes[1] else None
    source = source or _batch_sized_source(full.jaxpr, bucket.jaxpr)
    if source is not None:
        raise ValueError(
            f"compact: f makes {source} of the batch's size. In a smaller bucket the same samples "
            "would get other values. Make these values outside of f and pass them through *args, "
            "with the samples on axis 0 (for dropout: the mask, or one key for each sample); to "
            "index by row, use jnp.take_along_axis."
        )


def _batch_sized_source(full: Any, bucket: Any) -> str | None:
    for a, b in zip(full.eqns, bucket.eqns, strict=False):
        name, x, y = a.primitive.name, a.params, b.params
        # "shape" is the shape drawn for every key, so one key for each sample is fine.
        if name in _RANDOM and x["shape"] != y["shape"]:
            return "random numbers"
        if name == "iota" and x["shape"][x["dimension"]] != y["shape"][y["dimension"]]:
            return "a range"
        for inner in zip(inner_jaxprs(a), inner_jaxprs(b), strict=False):
            if (found := _batch_sized_source(*inner)) is not None:
                return found
    return None
