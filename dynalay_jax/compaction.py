"""Which operands follow their samples into a smaller bucket."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from dynalay_jax import validate

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
        TypeError, ValueError: min_bucket is no integer, or below 1.
    """

    min_bucket: int = 16
    arg_axes: Any = None

    def __post_init__(self) -> None:
        validate.positive_integer("Compaction(min_bucket=...)", self.min_bucket)


def follows_samples(
    compaction: Compaction,
    f: Callable,
    z: PyTree,
    args: tuple,
    batch: int,
    sizes: tuple[int, ...],
) -> PyTree:
    """For every leaf of `args`, whether it is gathered along with the samples.

    Args:
        compaction: the settings.
        f: raises when its output does not have the shapes of its first argument.
        z: state at full batch.
        args: f's further arguments.
        batch: full batch size.
        sizes: of the buckets, the full one first.

    Returns:
        Pytree of bool with the structure of `args`.

    Raises:
        ValueError: `arg_axes` does not fit `args`, f does not run on a bucket, or (inferring) a
            leaf can be read both ways.
    """
    bucket = sizes[-1]
    if compaction.arg_axes is not None:
        flags = _explicit(compaction.arg_axes, args, batch)
        if len(sizes) > 1:
            _run_on_bucket(f, z, args, flags, bucket)
        return flags

    leaves, tree = jax.tree.flatten_with_path(args)
    flags = [jnp.ndim(leaf) > 0 and leaf.shape[0] == batch for _, leaf in leaves]
    if len(sizes) == 1:
        return jax.tree.unflatten(tree, flags)
    _run_on_bucket(f, z, args, jax.tree.unflatten(tree, flags), bucket)
    for i, (path, leaf) in enumerate(leaves):
        if flags[i]:
            shared = jax.tree.unflatten(tree, [*flags[:i], False, *flags[i + 1 :]])
            if _runs_on_bucket(f, z, args, shared, bucket):
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
        fits = axis is None or (axis == 0 and jnp.ndim(leaf) > 0 and leaf.shape[0] == batch)
        if not fits:
            raise ValueError(
                f"Compaction(arg_axes=...): expected None, or 0 for an argument with leading axis "
                f"{batch}; got {axis!r} for args{jax.tree_util.keystr(path)} of shape "
                f"{jnp.shape(leaf)}."
            )
        flags.append(axis == 0)
    return jax.tree.unflatten(jax.tree.structure(args), flags)


def take_bucket(tree: PyTree, flags: PyTree, bucket: int) -> PyTree:
    """The first `bucket` lanes of the leaves that follow their samples.

    Args:
        tree: pytree of arrays.
        flags: tree prefix of bool.
        bucket: size.
    """
    flags = jax.tree.broadcast(flags, tree)
    return jax.tree.map(lambda x, flag: x[:bucket] if flag else x, tree, flags)


def _evaluate_on_bucket(f: Callable, z: PyTree, args: tuple, flags: PyTree, bucket: int) -> None:
    small, rest = take_bucket((z, args), (True, flags), bucket)
    jax.eval_shape(f, small, *rest)


def _runs_on_bucket(f: Callable, z: PyTree, args: tuple, flags: PyTree, bucket: int) -> bool:
    try:
        _evaluate_on_bucket(f, z, args, flags, bucket)
    except Exception:  # whatever f raises when shapes do not fit
        return False
    return True


def _run_on_bucket(f: Callable, z: PyTree, args: tuple, flags: PyTree, bucket: int) -> None:
    try:
        _evaluate_on_bucket(f, z, args, flags, bucket)
    except Exception as error:
        raise ValueError(
            f"compact: f failed on a bucket of {bucket} samples. What f needs of each sample must "
            "come in through *args, not through its closure, with the samples on axis 0; name the "
            "arguments that do with compact=Compaction(arg_axes=(...)), 0 or None for each. "
            f"f said: {error}"
        ) from error


# Primitives that make something of nothing but a shape: in a bucket, something else.
_RANDOM = {"random_bits", "random_split", "rng_bit_generator", "rng_uniform"}


def check_sources(full: jex.ClosedJaxpr, bucket: jex.ClosedJaxpr) -> None:
    """Checks that f draws and counts nothing over the samples, which a bucket would change.

    Args:
        full: f traced at full batch.
        bucket: f traced on a smaller bucket.

    Raises:
        ValueError: a dropout mask of the batch's shape, say, or `jnp.arange(batch)`, is made in f.
    """
    source = _batch_sized_source(full.jaxpr, bucket.jaxpr)
    if source is not None:
        raise ValueError(
            f"compact: f makes {source} of the batch's size from its shape; in a smaller bucket it "
            "would be another for the same samples. Make it outside of f and pass it through "
            "*args, with the samples on axis 0 (for dropout: the mask, or one key a sample)."
        )


def _batch_sized_source(full: Any, bucket: Any) -> str | None:
    for a, b in zip(full.constvars, bucket.constvars, strict=False):
        if a.aval.shape != b.aval.shape:
            return "a constant"
    for a, b in zip(full.eqns, bucket.eqns, strict=False):
        name, x, y = a.primitive.name, a.params, b.params
        # Of random numbers this is the shape drawn for every key: one key a sample is fine.
        if name in _RANDOM and x["shape"] != y["shape"]:
            return "random numbers"
        if name == "iota" and x["shape"][x["dimension"]] != y["shape"][y["dimension"]]:
            return "a range"
        for inner in zip(_inner(a), _inner(b), strict=False):
            if (found := _batch_sized_source(*inner)) is not None:
                return found
    return None


def _inner(eqn: Any) -> list[Any]:
    """The jaxprs in an equation's parameters: of jit, scan, cond, custom_jvp, ..."""
    values = jax.tree.leaves(
        list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
    )
    jaxprs = [getattr(v, "jaxpr", v) for v in values]
    return [v for v in jaxprs if hasattr(v, "eqns")]
