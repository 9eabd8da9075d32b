"""Convolutions whose gradients are fast on CPU: of batches, inside loops, and of patches."""

from collections.abc import Callable, Sequence
import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

# Samples at a time in the gradient of a kernel. XLA's CPU backend lays the windows of the whole
# batch out in memory: of 128 samples it is two to five times slower than of 16, which stay in the
# processor's cache (jaxlib 0.10.2).
_CHUNK = 16


def convolve(z: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """z [B, H, W, C] ∗ kernel [h, w, C / groups, C'], stride 1, zero padding to the same size.

    With one group it has reverse-mode derivatives only (and odd kernels): no `jax.jvp`.
    """
    kernel = kernel.astype(z.dtype)
    return _convolve(z, kernel) if groups == 1 else _convolution(z, kernel, "SAME", groups)


def fast_convolution(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **rest: Any
) -> jax.Array:
    """`lax.conv_general_dilated`, as `convolve` or one matrix product where it can be.

    For `nn.Conv(conv_general_dilated=…)` without dilation and groups. Where the windows tile the
    image it is a product: XLA's CPU backend takes twice as long for the gradients of such a
    convolution (jaxlib 0.10.2).

    Args:
        x: [B, H, W, C].
        kernel: [h, w, C, C'].
        strides, padding, rest: as `nn.Conv` passes them.
    """
    (batch, *image, channels), (*window, _, features) = x.shape, kernel.shape
    if padding == "SAME" and [*strides] == window and not any(map(operator.mod, image, window)):
        (rows, columns), (h, w) = map(operator.floordiv, image, window), window
        patches = x.reshape(batch, rows, h, columns, w, channels).swapaxes(2, 3)
        # Of two dimensions: XLA's CPU backend is a third faster forward than with more.
        flat = patches.reshape(-1, h * w * channels)
        product = jnp.dot(flat, kernel.reshape(-1, features), precision=rest["precision"])
        return product.reshape(batch, rows, columns, features)
    odd = all(size % 2 for size in window)
    if padding == "SAME" and odd and max(strides) == 1 and rest["precision"] is None:
        return convolve(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **rest)


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
    whole = functools.partial(_kernel_cotangent, kernel.shape[:2])
    if len(z) <= _CHUNK:
        return dz, whole(z, v)
    in_chunks = functools.partial(_sum_over_chunks, whole)
    return dz, jax.lax.platform_dependent(z, v, cpu=in_chunks, default=whole)


def _kernel_cotangent(window: tuple[int, int], z: jax.Array, v: jax.Array) -> jax.Array:
    half = [(size // 2, size // 2) for size in window]
    d_kernel = _convolution(z.transpose(3, 1, 2, 0), v.transpose(1, 2, 0, 3), half)
    return d_kernel.transpose(1, 2, 0, 3)


def _sum_over_chunks(function: Callable, *batches: jax.Array) -> jax.Array:
    """Σ function(chunk) over chunks of the batches; the last one is filled up with zeros."""

    def chunks(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, -len(x) % _CHUNK), *[(0, 0)] * (x.ndim - 1)))
        return x.reshape(-1, _CHUNK, *x.shape[1:])

    return jax.lax.map(lambda each: function(*each), tuple(map(chunks, batches))).sum(0)


_convolve.defvjp(_convolve_forward, _convolve_backward)
