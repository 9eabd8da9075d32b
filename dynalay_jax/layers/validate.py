"""Checks of settings and inputs at trace time, for layers and models.

Each message names the argument, what was expected, what it got, and the cure. The values of traced
arrays are not checked.
"""

from collections.abc import Callable, Iterable
import difflib
import numbers
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from dynalay_jax.solve.validate import concrete


def integer(name: str, value: Any, least: int) -> None:
    """Raises TypeError or ValueError unless `value` is a whole number ≥ `least`."""
    if isinstance(value, jax.core.Tracer):
        return
    expected = f"{name}: expected a whole number, {least} or more, got {shown(value)}."
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(expected)
    if value < least:
        raise ValueError(expected)


def integers(name: str, values: Any) -> None:
    """Raises TypeError or ValueError unless `values` is a tuple of whole numbers ≥ 1, not empty."""
    if not isinstance(values, tuple | list) or not values:
        cure = f" For a single number, pass ({values},)." if isinstance(values, int) else ""
        raise TypeError(f"{name}: expected a tuple of whole numbers, got {shown(values)}.{cure}")
    for value in values:
        integer(name, value, 1)


def number(name: str, value: Any, expected: str, fits: Callable[[Any], Any]) -> None:
    """Raises TypeError or ValueError unless `value` holds real numbers for which `fits` is true.

    Args:
        name: of the argument.
        value: a number or an array.
        expected: such numbers, in words.
        fits: elementwise condition.
    """
    kinds = (jnp.floating, jnp.integer)
    real = jex.valid_jaxtype(value) and any(
        jnp.issubdtype(jnp.result_type(value), kind) for kind in kinds
    )
    if not real:
        raise TypeError(f"{name}: expected {expected}, got {shown(value)}.")
    seen = concrete(value)
    if seen is not None and not np.all(good := fits(seen)):
        raise ValueError(f"{name}: expected {expected}, got {seen[~np.asarray(good)][0]}.")


def share(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` holds numbers from 0 to 1."""
    number(name, value, "a number from 0 to 1", lambda x: (x >= 0) & (x <= 1))


def not_negative(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` holds finite numbers ≥ 0."""
    number(name, value, "a number, 0 or more", lambda x: (x >= 0) & (x < np.inf))


def positive(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` holds finite numbers above 0."""
    number(name, value, "a number above 0", lambda x: (x > 0) & (x < np.inf))


def one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Raises ValueError, with the nearest name, unless `value` is one of the known names."""
    known = list(known)
    if value not in known:
        near = difflib.get_close_matches(str(value).lower(), known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {shown(value)}.{hint}")


def floating(name: str, dtype: Any) -> None:
    """Raises TypeError unless `dtype` is one of real floating-point numbers."""
    try:
        fine = dtype is not None and jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        fine = False
    if not fine:
        raise TypeError(
            f"{name}: expected a floating-point dtype, as jnp.float32, got {shown(dtype)}."
        )


def array(name: str, value: Any, form: str, dtype: Any = None) -> None:
    """Raises TypeError or ValueError unless `value` is a real array with the axes of `form`.

    Args:
        name: of the argument.
        value: the argument.
        form: its axes, as "[B, height, width, channels]" or, for two or more, "[B, ...]".
        dtype: a kind that the dtype has to be of, as jnp.floating; None takes any real one.
    """
    if not hasattr(value, "ndim") or not jex.valid_jaxtype(value):
        raise TypeError(f"{name}: expected an array {form}, got {type(value).__name__}.")
    if jnp.issubdtype(value.dtype, jnp.complexfloating) or (
        dtype and not jnp.issubdtype(value.dtype, dtype)
    ):
        kind = f"{dtype.__name__} numbers" if dtype else "real numbers"
        raise TypeError(f"{name}: expected {kind}, got {value.dtype}.")
    axes = form.count(",") + 1
    if value.ndim < axes or (value.ndim > axes and "..." not in form):
        single = form.startswith("[B,") and value.ndim == axes - 1
        cure = f" Pass {name}[None] for a single sample." if single else ""
        raise ValueError(f"{name}: expected shape {form}, got {value.shape}.{cure}")


def key(name: str, value: Any) -> None:
    """Raises TypeError or ValueError unless `value` is one PRNG key, typed or not."""
    is_key = lambda kind: jnp.issubdtype(getattr(value, "dtype", jnp.bool_), kind)
    typed = is_key(jax.dtypes.prng_key)
    if not typed and not is_key(jnp.uint32):
        raise TypeError(f"{name}: expected a key, as jax.random.key(0), got {shown(value)}.")
    if value.ndim != (0 if typed else 1):
        raise ValueError(f"{name}: expected one key, got {shown(value)}. Use jax.vmap for several.")


def shown(value: Any) -> str:
    """A value in a message: dtype and shape of an array, else what it is in one short line."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {value.shape}"
    text = getattr(value, "__name__", repr(value))
    return text if len(text) < 80 and "\n" not in text else type(value).__name__
