"""Convolutions whose gradients are fast on CPU: inside loops, and of patches."""

from collections.abc import Sequence
import operator
from typing import Any

import jax
import jax.numpy as jnp


def convolve(z: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """z [B, H, W, C] ∗ kernel [h, w, C / groups, C'], stride 1, zero padding to the same size.

    With one group it has reverse-mode derivatives only (and odd kernels): no `jax.jvp`.
    """
    kernel = kernel.astype(z.dtype)
    return _convolve(z, kernel) if groups == 1 else _convolution(z, kernel, "SAME", groups)


def tiled_convolution(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **rest: Any
) -> jax.Array:
    """`lax.conv_general_dilated`, by one matrix product where the windows tile the image.

    For `nn.Conv(conv_general_dilated=…)` without dilation and groups. XLA's CPU backend takes twice
    as long for the gradients of such a convolution (jaxlib 0.10.2).

    Args:
        x: [B, H, W, C].
        kernel: [h, w, C, C'].
        strides, padding, rest: as `nn.Conv` passes them.
    """
    (batch, *image, channels), (*window, _, features) = x.shape, kernel.shape
    if padding != "SAME" or [*strides] != window or any(map(operator.mod, image, window)):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **rest)
    (rows, columns), (h, w) = map(operator.floordiv, image, window), window
    patches = x.reshape(batch, rows, h, columns, w, channels).swapaxes(2, 3)
    # Of two dimensions: XLA's CPU backend is a third faster forward than with more.
    flat = patches.reshape(-1, h * w * channels)
    product = jnp.dot(flat, kernel.reshape(-1, features), precision=rest["precision"])
    return product.reshape(batch, rows, columns, features)


def _convolution(z: jax.Array, kernel: jax.Array, padding: Any, groups: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(
        z,
        kernel,
        window_strides=(1, 1),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


@jax.custom_vjp
def _convolve(z: jax.Array, kernel: jax.Array) -> jax.Array:
    """Its gradients are written out as convolutions in the same layouts.

    JAX's own transposes have other layouts, for which XLA's CPU backend has only naive code inside
    loops: the backward solve was 20 times slower (jaxlib 0.10.2).
    """
    return _convolution(z, kernel, "SAME")


def _convolve_forward(z: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return _convolve(z, kernel), (z, kernel)


def _convolve_backward(saved: tuple, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    z, kernel = saved
    dz = _convolution(v, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), "SAME")
    half = [(size // 2, size // 2) for size in kernel.shape[:2]]
    d_kernel = _convolution(z.transpose(3, 1, 2, 0), v.transpose(1, 2, 0, 3), half)
    return dz, d_kernel.transpose(1, 2, 0, 3)


_convolve.defvjp(_convolve_forward, _convolve_backward)
