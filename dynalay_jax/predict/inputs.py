"""What a model accepts as input; everything else is refused in one line.

Images are uint8 from 0 to 255, or floating-point numbers from 0 to 1. The dtype alone says which:
nothing is guessed from the values, and values outside of these ranges are errors.
"""

from typing import Any
import warnings

import jax.numpy as jnp
import numpy as np

from dynalay_jax.layers import validate

# The brightest value of images that are as good as black, of 1.
_DARK = 1 / 255
# What resizing and rounding may add to fractions.
_SLACK = 1e-2


def check_images(images: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The images [B, *shape] as uint8 or float32.

    Raises:
        TypeError, ValueError: they have another shape or dtype, or values out of range.
    """
    array = np.asarray(images)
    fractions = jnp.issubdtype(array.dtype, jnp.floating)
    if not fractions and array.dtype != np.uint8:
        raise TypeError(
            "images: expected uint8 from 0 to 255, or floating-point numbers from 0 to 1, got "
            f"{array.dtype}."
        )
    _check_shape("images", array, shape)
    if fractions:
        array = array.astype(np.float32)
        _check_finite(array)
    white = 1 if fractions else 255
    lowest, highest = float(array.min()) / white, float(array.max()) / white
    if lowest < -_SLACK or highest > 1 + _SLACK:
        normalised = "Pass images that are not normalised: the model does that."
        cure = normalised if lowest < -_SLACK else "Pass uint8, or divide by 255."
        raise ValueError(
            "images: expected floating-point numbers from 0 (black) to 1 (white), got "
            f"{lowest:.4g} to {highest:.4g}. {cure}"
        )
    if 0 < highest <= _DARK:
        warnings.warn(
            f"images: the brightest value is {highest:.2g} of 1, as good as black. uint8 counts "
            "from 0 to 255, floating-point numbers from 0 to 1.",
            stacklevel=4,
        )
    return array


def check_tokens(tokens: Any, shape: tuple[int, ...], vocabulary: int) -> np.ndarray:
    """Tokens [B, words] or [B, *shape] as int32 [B, *shape]. Raises as `check_images`."""
    array = np.asarray(tokens)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"tokens: expected whole numbers, got {array.dtype}.")
    if array.ndim == 2:
        array = array[:, None, :, None]
    _check_shape("tokens", array, shape)
    if array.min() < 0 or array.max() >= vocabulary:
        raise ValueError(
            f"tokens: expected 0 to {vocabulary - 1}, got {array.min()} to {array.max()}."
        )
    return array.astype(np.int32)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape[1:] == shape and len(array):
        return
    cure = ""
    if not array.size:
        cure = " There is nothing to predict."
    elif array.shape == shape:
        cure = f" Pass {name}[None] for a single one."
    elif (*array.shape[1:], 1) == shape:
        cure = f" Pass {name}[..., None]."
    elif array.ndim == len(shape) + 1 and (*array.shape[2:], array.shape[1]) == shape:
        cure = f" Channels come last: pass numpy.moveaxis({name}, 1, -1)."
    elif array.ndim == len(shape) + 1:
        cure = f" Bring them to that size and number of channels: the model takes no other {name}."
    expected = ", ".join(["B", *map(str, shape)])
    raise ValueError(f"{name}: expected shape [{expected}], got {array.shape}.{cure}")


def _check_finite(array: np.ndarray) -> None:
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"images: expected finite numbers, got nan or inf in image {np.argmin(finite)}."
        )


def check_price(price: Any) -> float:
    """The price as a number. Raises TypeError or ValueError unless it is one that configs take."""
    fits = lambda price: (price >= 1e-6) & (price <= 1e6)
    validate.number("price", price, "a number from 1e-06 to 1,000,000", fits)
    if np.ndim(price):
        raise ValueError(f"price: expected one for all samples, got {validate.shown(price)}.")
    return float(price)
