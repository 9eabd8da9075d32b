"""Checks of `fixed_point`'s arguments at trace time.

Each message names the argument, what was expected, what it got, and the cure.
"""

from collections.abc import Callable
import difflib
import functools
import inspect
import numbers
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from dynalay_jax.solve.solution import BackwardStats

PyTree = Any


def function(f: Any, z: PyTree, args: tuple) -> None:
    """Raises TypeError unless f is a function that can be called as f(z, *args)."""
    if not callable(f) or isinstance(f, type):
        got = f"the class {f.__name__}" if isinstance(f, type) else type(f).__name__
        raise TypeError(f"f: expected a function f(z, *args), got {got}.")
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # a built-in function may have none
        return
    try:
        signature.bind(z, *args)
    except TypeError as error:
        name = getattr(f, "__name__", type(f).__name__)
        raise TypeError(
            f"f: expected a function of {1 + len(args)} arguments, the state and those after it, "
            f"got {name}({', '.join(signature.parameters)}): {error}. Pass all that f takes, a "
            "tuple as one argument."
        ) from None


def state(z0: PyTree, batched: bool, name: str = "z0") -> PyTree:
    """z0 as strongly typed arrays; `name` is that of the argument, for messages.

    Raises:
        ValueError: z0 has no leaf, or (batched) its leaves do not share a leading axis.
        TypeError: a leaf is not a floating-point or complex array.
    """
    leaves = jax.tree.leaves_with_path(z0)
    if not leaves:
        raise ValueError(f"{name}: expected a pytree with at least one array, got {z0!r}.")
    for path, leaf in leaves:
        this = f"{name}{jax.tree_util.keystr(path)}"
        if not jex.valid_jaxtype(leaf):
            raise TypeError(
                f"{this}: expected an array, got {type(leaf).__name__}. The state comes after f, "
                "then f's further arguments."
            )
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"{this}: expected a floating-point array, got {jnp.result_type(leaf)}. Convert "
                "the array, or pass it through *args."
            )
        if batched and jnp.ndim(leaf) == 0:
            raise ValueError(
                f"{this}: expected the samples on axis 0, got a scalar. Pass batched=False for a "
                "single state."
            )
    if batched:
        sizes = {jax.tree_util.keystr(path): jnp.shape(leaf)[0] for path, leaf in leaves}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"{name}: expected the same number of samples on axis 0 of every leaf, got "
                f"{sizes}. Pass batched=False if the leaves make up a single state."
            )
    strong = lambda x: jax.lax.convert_element_type(x, jnp.result_type(x))
    return jax.tree.map(strong, z0)


def arguments(args: tuple) -> None:
    """Raises TypeError if a leaf of `args` is no array or number."""
    for path, leaf in jax.tree.leaves_with_path(args):
        if not jex.valid_jaxtype(leaf):
            raise TypeError(
                f"args{jax.tree_util.keystr(path)}: expected an array or a number, got "
                f"{type(leaf).__name__}. Let f close over anything that is not data."
            )


def instance(name: str, value: Any, kind: type, known: tuple[str, ...]) -> None:
    """Raises TypeError unless `value` is an instance of `kind`; `known` lists examples."""
    if not isinstance(value, kind):
        wish = getattr(value, "__name__", value)
        wish = wish if isinstance(wish, str) else ""
        close = difflib.get_close_matches(wish.lower(), [k.lower() for k in known], 1, 0.3)
        cure = next((k for k in known if k.lower() in close), known[0])
        raise TypeError(
            f"{name}: expected one of {', '.join(known)}, got {value!r}. "
            f"Did you mean {name}={cure}?"
        )


def flag(name: str, value: Any) -> None:
    """Raises TypeError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}.")


def key(name: str, value: Any) -> None:
    """Raises TypeError unless `value` is one PRNG key."""
    typed = jex.valid_jaxtype(value) and jnp.issubdtype(jnp.result_type(value), jax.dtypes.prng_key)
    raw = getattr(value, "dtype", None) == jnp.uint32 and jnp.ndim(value) == 1
    if not (raw or (typed and jnp.ndim(value) == 0)):
        got = f"keys of shape {jnp.shape(value)}" if typed else repr(value)
        raise TypeError(f"{name}: expected one PRNG key, as jax.random.key(0), got {got}.")


def fraction(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` is a number in (0, 1]."""
    _setting(name, value, numbers.Real, lambda x: 0 < x <= 1, "a number in (0, 1]")


def not_negative(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` is a number ≥ 0."""
    _setting(name, value, numbers.Real, lambda x: x >= 0, "a number >= 0")


def positive_integer(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` is an integer ≥ 1."""
    _setting(name, value, numbers.Integral, lambda x: x >= 1, "an integer >= 1")


def batch_size(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` is an integer ≥ 0."""
    expected = "a number of samples >= 0, or None for a solve with batched=False"
    _setting(name, value, numbers.Integral, lambda x: x >= 0, expected)


def _setting(name: str, value: Any, kind: type, good: Callable, expected: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name}: expected {expected}, known before tracing, got {value!r}.")
    if not good(value):
        raise ValueError(f"{name}: expected {expected}, got {value}.")


def concrete(value: Any) -> np.ndarray | None:
    """The value as a numpy array, or None if it is not known at trace time."""
    if isinstance(value, jax.core.Tracer) or not getattr(value, "is_fully_addressable", True):
        return None
    return np.asarray(value)


def dtype_kind(name: str, value: Any, kind: str) -> None:
    """Raises TypeError unless the dtype of `value` is of the kind "b", "i" or "f" (also "i")."""
    kinds = {"b": (jnp.bool_,), "i": (jnp.integer,), "f": (jnp.floating, jnp.integer)}
    got = jnp.result_type(value) if jex.valid_jaxtype(value) else type(value).__name__
    if not any(jex.valid_jaxtype(value) and jnp.issubdtype(got, k) for k in kinds[kind]):
        expected = {"b": "booleans", "i": "integers", "f": "real numbers"}[kind]
        raise TypeError(f"{name}: expected {expected}, got {got}.")


def per_sample(name: str, value: Any, shape: tuple, dtype: Any) -> jax.Array:
    """A scalar, or one value for each sample, as an array of shape `shape`.

    Args:
        name: of the argument, for messages.
        value: the argument.
        shape: (B,), or () for a single state.
        dtype: floating (also from integers), int32 or bool.

    Raises:
        TypeError: the value has another kind of dtype.
        ValueError: the value has another shape; or it is known at trace time and negative, NaN or
            too large.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = np.asarray(value)  # jax overflows on a large one, without the argument's name
    kind = np.dtype(dtype).kind
    dtype_kind(name, value, kind)
    if jnp.shape(value) not in ((), shape):
        allowed = "a scalar" + (f" or one value for each sample, shape {shape}" if shape else "")
        cure = "" if shape else " Pass batched=True if axis 0 of z0 holds samples."
        raise ValueError(f"{name}: expected {allowed}, got shape {jnp.shape(value)}.{cure}")
    seen = concrete(value)
    if kind != "b" and seen is not None:
        most = np.iinfo(dtype).max if kind == "i" else np.inf
        wrong = ~((seen >= 0) & (seen <= most))  # NaN too
        if np.any(wrong):
            raise ValueError(f"{name}: expected values from 0 to {most}, got {seen[wrong][0]}.")
        value = seen
    return jnp.broadcast_to(jnp.asarray(value).astype(dtype), shape)


def unsharded_samples(z0: PyTree) -> None:
    """Raises ValueError if the sample axis is sharded over an explicit mesh."""
    for path, leaf in jax.tree.leaves_with_path(z0):
        spec = jax.typeof(leaf).sharding.spec
        if len(spec) and spec[0] is not None:
            raise ValueError(
                f"compact: expected the sample axis on one device, got "
                f"z0{jax.tree_util.keystr(path)} sharded as {spec}. "
                "Solve inside jax.shard_map: each device then compacts its own samples."
            )


def probe(value: Any, shape: tuple) -> None:
    """Raises TypeError or ValueError unless `value` is None or a `backward_probe` for `shape`."""
    expected = f"backward_probe({shape[0] if shape else None})"
    if value is None:
        return
    if not isinstance(value, BackwardStats):
        raise TypeError(f"probe: expected None or {expected}, got {value!r}.")
    for leaf in value:
        if jnp.shape(leaf) != shape:
            raise ValueError(f"probe: expected {expected}, got one of shape {jnp.shape(leaf)}.")


def same_type(f: Callable) -> Callable:
    """f, with a check that it keeps the structure, shapes and dtypes of z.

    Raises:
        ValueError: the structure or a shape changed.
        TypeError: a dtype changed, or a leaf is no array.
    """

    @functools.wraps(f, updated=())  # JAX's errors name f and its line
    def checked(z: PyTree, *args: PyTree) -> PyTree:
        fz = f(z, *args)
        got: Any = jax.tree.structure(fz)
        expected: Any = jax.tree.structure(z)
        if got != expected:
            raise ValueError(
                f"f: expected it to keep the structure of z0, {expected}, got {got}. "
                "f(z, *args) must return the next z and nothing else."
            )
        for (path, a), b in zip(jax.tree.leaves_with_path(z), jax.tree.leaves(fz), strict=True):
            leaf = jax.tree_util.keystr(path)
            if not jex.valid_jaxtype(b):
                raise TypeError(f"f: expected it to return arrays, got {type(b).__name__}.")
            if jnp.shape(b) != a.shape:
                raise ValueError(
                    f"f: expected it to keep the shape of z0{leaf}, {a.shape}, got {jnp.shape(b)}. "
                    "Check for broadcasting in f."
                )
            if jnp.result_type(b) != a.dtype:
                raise TypeError(
                    f"f: expected it to keep the dtype of z0{leaf}, {a.dtype}, got "
                    f"{jnp.result_type(b)}. Cast z0 or f's result with .astype."
                )
        return fz

    return checked
