"""Do samples stay apart? Follows the sample axis of z through the operations of f.

The gradient of `fixed_point` solves one linear system for each sample. If f mixes samples, as batch
statistics do, that gradient is wrong, and no residual shows it. An operation that certainly mixes
samples is an error at trace time. What cannot be followed (a gather with computed indices, a
`custom_vjp`) is let through; `check_samples` finds it by running f.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from dynalay_jax.solve import validate
from dynalay_jax.solve.closure import inner_jaxprs
from dynalay_jax.solve.sample_axis import Axis, Mixing, follow, line

PyTree = Any
# fmt: off
_COMMUNICATION = {
    "all_gather", "all_gather_invariant", "all_gather_reduced", "all_to_all", "pmax", "pmin",
    "ppermute", "psum", "psum_invariant", "ragged_all_to_all", "reduce_scatter", "unreduced_psum",
}
# fmt: on


def check_trace(jaxpr: jex.Jaxpr, state: Sequence[Any]) -> None:
    """Raises ValueError if an operation of f certainly mixes samples.

    Args:
        jaxpr: the trace of f.
        state: those of its inputs that are leaves of z, with the samples on axis 0.
    """
    batch = state[0].aval.shape[0]
    if isinstance(batch, int) and batch < 2:
        return
    start = Axis(0, batch)
    for trace in follow(jaxpr, [start if var in state else None for var in jaxpr.invars]):
        if isinstance(trace, Mixing):
            raise _mixed(trace.what + trace.where)
        if isinstance(trace, Axis) and trace != start:
            raise _mixed("the result has the samples in another place than z")


def check_devices(jaxpr: jex.Jaxpr, state: Sequence[Any]) -> None:
    """Raises ValueError if f communicates between devices of a `shard_map` that hold other samples.

    They stop after different numbers of steps, so that one would wait for the others for ever.

    Args:
        jaxpr, state: as in `check_trace`.
    """
    axes = frozenset().union(*(var.aval.mat.varying for var in state))
    if axes and (eqn := _communication(jaxpr, axes)) is not None:
        raise ValueError(
            f"f: expected no communication over the mesh axes {sorted(axes)}, over which z varies, "
            f"got `{eqn.primitive.name}`{line(eqn)}. Devices stop after different numbers of "
            "steps, and one would wait for ever. Communicate outside of f and pass the result "
            "through *args, or use adjoint=Unrolled(), with which all make max_steps steps."
        )


def _communication(jaxpr: jex.Jaxpr, axes: frozenset) -> Any:
    """The first equation that communicates over one of the mesh axes."""
    for eqn in jaxpr.eqns:
        names = eqn.params.get("axes", eqn.params.get("axis_name", ()))
        over = axes.intersection(names if isinstance(names, tuple) else (names,))
        if eqn.primitive.name in _COMMUNICATION and over:
            return eqn
        for inner in inner_jaxprs(eqn):
            if (found := _communication(inner, axes)) is not None:
                return found
    return None


def check_samples(
    f: Callable[..., PyTree], z: PyTree, *args: PyTree, key: jax.Array | None = None
) -> None:
    """Runs f with one sample of z changed, and checks that the other samples do not notice.

    For tests: `fixed_point` needs an f whose sample i depends on sample i of z alone, and finds at
    trace time only what the trace shows.

    Args:
        f: `f(z, *args)`, as given to `fixed_point`.
        z: a state, leaves [B, ...] with B ≥ 2; typical values. Random ones replace it if it is all
            zeros, where some mixtures vanish.
        *args: f's further arguments.
        key: typed PRNG key of the change; None is `jax.random.key(0)`.

    Raises:
        ValueError: a sample changes with another one.
        TypeError, ValueError: z is no state of at least two samples, f does not keep its
            structure, shapes and dtypes, key is no PRNG key, or an argument is traced.
    """
    validate.function(f, z, args)
    z = validate.state(z, batched=True, name="z")
    validate.arguments(args)
    key = jax.random.key(0) if key is None else key
    validate.key("key", key)
    leaves, tree = jax.tree.flatten(z)
    batch = leaves[0].shape[0]
    if batch < 2:
        raise ValueError(f"z: expected at least 2 samples, got {batch}.")
    start, change = jax.random.split(key)
    if not any(np.any(leaf) for leaf in leaves if not isinstance(leaf, jax.core.Tracer)):
        leaves = _noise(start, leaves)
        z = jax.tree.unflatten(tree, leaves)
    run = jax.jit(validate.same_type(f))
    before = run(z, *args)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(before)):
        raise TypeError(
            "z: expected values, got traced ones. Call check_samples outside of jax.jit."
        )
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(before)):
        raise ValueError("z: expected a state where f(z) is finite, got one where it is not.")
    noise = _noise(change, leaves)
    for sample in sorted({0, batch // 2, batch - 1}):
        changed = [x.at[sample].add(n[sample]) for x, n in zip(leaves, noise, strict=True)]
        shaken = jax.tree.unflatten(tree, changed)
        for old, new in zip(*map(jax.tree.leaves, (before, run(shaken, *args))), strict=True):
            others = np.arange(batch) != sample
            close = np.isclose(
                np.asarray(new, np.complex128), np.asarray(old, np.complex128),
                rtol=float(jnp.finfo(old.dtype).eps) ** 0.5, equal_nan=True,
            )  # fmt: skip
            moved = others & ~close.reshape(batch, -1).all(axis=1)
            if moved.any():
                raise _mixed(f"sample {np.argmax(moved)} changed with sample {sample}")


def _noise(key: jax.Array, leaves: list[jax.Array]) -> list[jax.Array]:
    """Changes of the size of the state, as small ones may hide behind rounding."""
    return [
        (1 + jnp.max(jnp.abs(x))).astype(x.dtype) * jax.random.normal(k, x.shape, x.dtype)
        for x, k in zip(leaves, jax.random.split(key, len(leaves)), strict=True)
    ]


def _mixed(what: str) -> ValueError:
    return ValueError(
        f"f: expected sample i of f(z) to depend on sample i of z alone, but {what}. Gradients "
        "would be wrong. Compute statistics of the batch outside of f and pass them through *args, "
        "normalise within each sample, or solve all samples as one state with batched=False. If "
        "they do stay apart, write f for one sample and pass jax.vmap(f)."
    )
