"""Which operands follow their samples into a smaller bucket."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Compaction:
    """Settings of `fixed_point(..., compact=...)`; `compact=True` means `Compaction()`.

    Args:
        min_bucket: size below which a bucket is not halved any more, ≥ 1. Smaller buckets save
            more when few samples are slow, and cost compile time.
        arg_axes: which of `*args` hold one entry a sample, as `jax.vmap`'s `in_axes`: a tuple with
            0 (sample axis first), None (shared by all samples) or a tree prefix of these for each
            argument. None infers it: a leaf whose leading axis is the batch is taken as one entry
            a sample where `f` accepts that reading and no other, and is an error otherwise.

    Raises:
        ValueError: min_bucket below 1.
    """

    min_bucket: int = 16
    arg_axes: Any = None

    def __post_init__(self) -> None:
        if self.min_bucket < 1:
            raise ValueError(
                f"Compaction(min_bucket=...): expected an integer >= 1, got {self.min_bucket}."
            )


def follows_samples(
    compaction: Compaction, f: Callable, z: PyTree, args: tuple, batch: int, bucket: int
) -> PyTree:
    """For every leaf of `args`, whether it is gathered along with the samples.

    Args:
        compaction: the settings.
        f: raises when its output does not have the shapes of its first argument.
        z: state at full batch.
        args: f's further arguments.
        batch: full batch size.
        bucket: size of the first smaller bucket.

    Returns:
        Pytree of bool with the structure of `args`.

    Raises:
        ValueError: `arg_axes` does not fit `args`, f does not run on a bucket, or (inferring) a
            leaf can be read both ways.
    """
    if compaction.arg_axes is not None:
        flags = _explicit(compaction.arg_axes, args, batch)
        _try(f, z, args, flags, bucket, raising=True)
        return flags

    leaves, tree = jax.tree.flatten_with_path(args)
    flags = [jax.numpy.ndim(leaf) > 0 and leaf.shape[0] == batch for _, leaf in leaves]
    _try(f, z, args, jax.tree.unflatten(tree, flags), bucket, raising=True)
    for i, (path, leaf) in enumerate(leaves):
        if flags[i]:
            shared = jax.tree.unflatten(tree, [*flags[:i], False, *flags[i + 1 :]])
            if _try(f, z, args, shared, bucket, raising=False):
                raise ValueError(
                    f"compact=True: cannot tell whether args{jax.tree_util.keystr(path)} of shape "
                    f"{leaf.shape} holds one entry a sample (the batch is {batch}) or is shared by "
                    "all: f runs either way. Say so with compact=Compaction(arg_axes=(...)), 0 or "
                    "None for each argument."
                )
    return jax.tree.unflatten(tree, flags)


def _explicit(arg_axes: Any, args: tuple, batch: int) -> PyTree:
    is_none = lambda x: x is None
    try:
        axes = jax.tree.broadcast(arg_axes, args, is_leaf=is_none)
    except ValueError as error:
        raise ValueError(
            f"Compaction(arg_axes=...): expected a tuple with 0, None or a tree prefix for each of "
            f"the {len(args)} arguments after z0, got {arg_axes!r}: {error}"
        ) from None
    flags = []
    for (path, leaf), axis in zip(
        jax.tree.flatten_with_path(args)[0], jax.tree.leaves(axes, is_leaf=is_none), strict=True
    ):
        fits = axis is None or (axis == 0 and jax.numpy.ndim(leaf) > 0 and leaf.shape[0] == batch)
        if not fits:
            raise ValueError(
                f"Compaction(arg_axes=...): expected None, or 0 for an argument with leading axis "
                f"{batch}; got {axis!r} for args{jax.tree_util.keystr(path)} of shape "
                f"{jax.numpy.shape(leaf)}."
            )
        flags.append(axis == 0)
    return jax.tree.unflatten(jax.tree.structure(args), flags)


def take_bucket(tree: PyTree, flags: PyTree, bucket: int) -> PyTree:
    """The first `bucket` lanes of the leaves that follow their samples."""
    return jax.tree.map(lambda x, flag: x[:bucket] if flag else x, tree, flags)


def _try(f: Callable, z: PyTree, args: tuple, flags: PyTree, bucket: int, raising: bool) -> bool:
    small = jax.tree.map(lambda x: x[:bucket], z)
    try:
        jax.eval_shape(f, small, *take_bucket(args, flags, bucket))
    except Exception as error:
        if not raising:
            return False
        raise ValueError(
            f"compact: f failed on a bucket of {bucket} samples. What f needs of each sample must "
            "come in through *args, not through its closure, with the samples on axis 0; name the "
            "arguments that do with compact=Compaction(arg_axes=(...)), 0 or None for each. "
            f"f said: {error}"
        ) from error
    return True
