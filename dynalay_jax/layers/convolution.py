"""Convolutions with fast gradients on CPU, also inside loops and branches.

    (z ∗ K)[i, j] = Σ_{a,b} z[i + a, j + b] K[a, b]

Values and gradients are those of `lax.conv_general_dilated`, up to rounding. Only the layouts and
chunks differ, for which XLA's CPU backend has fast code.
"""

from collections.abc import Callable, Sequence
import functools
import itertools
import math
import operator
from typing import Any

import jax
import jax.numpy as jnp

# Chunks in the gradient of a kernel: this number of samples, and at least this number of pixels.
# XLA's CPU backend copies the windows of the whole batch to memory. For 128 samples of 16×16 this
# takes up to twice the time of chunks of 16, which fit the processor's cache; for 128 samples of
# 4×4 it takes half the time of chunks (jaxlib 0.10.2).
_CHUNK, _CHUNK_PIXELS = 16, 2048


def convolve(z: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """z [B, H, W, C] ∗ kernel [h, w, C / groups, C'], stride 1, zero padding to the same size.

    Args:
        z, kernel: as above; the kernel is converted to z's dtype.
        groups: 1, with reverse-mode derivatives only (no `jax.jvp`), or C = C' for a depthwise
            convolution.
    """
    kernel = kernel.astype(z.dtype)
    return _convolve(z, kernel) if groups == 1 else _depthwise(z, kernel)


def fast_convolution(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **rest: Any
) -> jax.Array:
    """`lax.conv_general_dilated`, computed as `convolve` or one matrix product where possible.

    For `nn.Conv(conv_general_dilated=…)` without dilation and groups. If the windows tile the
    image, it is a matrix product: XLA's CPU backend takes twice as long for the gradients of such
    a convolution (jaxlib 0.10.2). Without a set precision, there are no forward-mode derivatives.

    Args:
        x: [B, H, W, C].
        kernel: [h, w, C, C'].
        strides, padding, rest: as `nn.Conv` passes them.
    """
    (batch, *image, channels), (*window, _, features) = x.shape, kernel.shape
    if padding == "SAME" and [*strides] == window and not any(map(operator.mod, image, window)):
        (rows, columns), (h, w) = map(operator.floordiv, image, window), window
        patches = x.reshape(batch, rows, h, columns, w, channels).swapaxes(2, 3)
        # With two dimensions the forward pass on CPU is a third faster than with more.
        flat = patches.reshape(-1, h * w * channels)
        product = jnp.dot(flat, kernel.reshape(-1, features), precision=rest["precision"])
        return product.reshape(batch, rows, columns, features)
    if padding == "SAME" and rest["precision"] is None:
        return _strided(x, kernel, tuple(strides)) if max(strides) > 1 else convolve(x, kernel)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **rest)


def convolution(
    z: jax.Array,
    kernel: jax.Array,
    padding: Any,
    groups: int = 1,
    strides: tuple[int, ...] = (1, 1),
    out: Any = None,
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        z,
        kernel,
        window_strides=strides,
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        preferred_element_type=out,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _strided(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    """On CPU its gradients are those of a matrix product with all windows.

    XLA's own gradients take ten times as long in a branch or loop on CPU (jaxlib 0.10.2).
    """
    return convolution(x, kernel, "SAME", strides=strides)


def _strided_forward(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...]) -> tuple:
    return _strided(x, kernel, strides), (x, kernel)


def _strided_backward(strides: tuple[int, ...], saved: tuple, v: jax.Array) -> tuple:
    def pull(f: Callable) -> Callable:
        return lambda x, kernel, v: jax.vjp(f, x, kernel)[1](v)

    laid_out = functools.partial(_windows_product, strides=strides)
    default = functools.partial(convolution, padding="SAME", strides=strides)
    return jax.lax.platform_dependent(*saved, v, cpu=pull(laid_out), default=pull(default))


_strided.defvjp(_strided_forward, _strided_backward)


def _windows_product(x: jax.Array, kernel: jax.Array, strides: tuple[int, ...]) -> jax.Array:
    (*image, channels), (*window, _, features) = x.shape[1:], kernel.shape
    count = [-(-size // stride) for size, stride in zip(image, strides, strict=True)]
    padded = jax.lax.padtype_to_pads(image, window, strides, "SAME")
    x = jnp.pad(x, ((0, 0), *padded, (0, 0)))

    def cut(*start: int) -> jax.Array:
        """The pixel at `start` of all windows."""
        along = lambda i, n, stride: slice(i, i + (n - 1) * stride + 1, stride)
        return x[:, *map(along, start, count, strides)]

    pixels = [cut(*start) for start in itertools.product(*map(range, window))]
    windows = jnp.concatenate(pixels, axis=-1).reshape(-1, len(pixels) * channels)
    product = windows @ kernel.reshape(-1, features)
    return product.reshape(x.shape[0], *count, features)


@jax.custom_jvp
def _depthwise(z: jax.Array, kernel: jax.Array) -> jax.Array:
    """z ∗ kernel [h, w, 1, C], each channel separately.

    On CPU a sum of shifted images; XLA's own depthwise convolution takes 10 to 20 times as long
    (jaxlib 0.10.2). The tangents are two such products, so that JAX does not differentiate the
    choice of platform and store what the gradients of all platforms need.
    """
    return _depthwise_product(z, kernel)


_depthwise.defjvps(
    lambda tangent, out, z, kernel: _depthwise_product(tangent, kernel),
    lambda tangent, out, z, kernel: _depthwise_product(z, tangent),
)


def _depthwise_product(z: jax.Array, kernel: jax.Array) -> jax.Array:
    whole = functools.partial(convolution, padding="SAME", groups=z.shape[-1])
    return jax.lax.platform_dependent(z, kernel, cpu=_shifted, default=whole)


def _shifted(z: jax.Array, kernel: jax.Array) -> jax.Array:
    (rows, columns), (h, w) = z.shape[1:3], kernel.shape[:2]
    around = [((size - 1) // 2, size // 2) for size in (h, w)]
    padded = jnp.pad(z, ((0, 0), *around, (0, 0)))
    image = lambda i, j: padded[:, i : i + rows, j : j + columns]
    terms = [image(i, j) * kernel[i : i + 1, j : j + 1] for i in range(h) for j in range(w)]
    return functools.reduce(operator.add, terms)


@jax.custom_vjp
def _convolve(z: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution whose gradients are convolutions in the same layouts.

    JAX's own transposes have other layouts, for which XLA's CPU backend has only slow code inside
    loops: the backward solve took 20 times as long (jaxlib 0.10.2).
    """
    return convolution(z, kernel, "SAME")


def _convolve_forward(z: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return _convolve(z, kernel), (z, kernel)


def _convolve_backward(saved: tuple, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    z, kernel = saved
    (*image, _), window = z.shape[1:], kernel.shape[:2]
    padding = jax.lax.padtype_to_pads(image, window, (1, 1), "SAME")
    # With even kernels, the gradient pads the other side.
    swapped = [(after, before) for before, after in padding]
    dz = convolution(v, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), swapped)
    whole = functools.partial(_kernel_cotangent, padding)
    size = max(_CHUNK, _CHUNK_PIXELS // math.prod(z.shape[1:3]))
    if len(z) <= size:
        return dz, whole(z, v)
    in_chunks = functools.partial(_sum_over_chunks, whole, size)
    return dz, jax.lax.platform_dependent(z, v, cpu=in_chunks, default=whole)


def _kernel_cotangent(padding: Any, z: jax.Array, v: jax.Array) -> jax.Array:
    d_kernel = convolution(z.transpose(3, 1, 2, 0), v.transpose(1, 2, 0, 3), padding)
    return d_kernel.transpose(1, 2, 0, 3)


def _sum_over_chunks(function: Callable, size: int, *batches: jax.Array) -> jax.Array:
    """Σ function(chunk) over chunks of the batches; the last chunk is padded with zeros."""

    def chunks(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, -len(x) % size), *[(0, 0)] * (x.ndim - 1)))
        return x.reshape(-1, size, *x.shape[1:])

    return jax.lax.map(lambda each: function(*each), tuple(map(chunks, batches))).sum(0)


_convolve.defvjp(_convolve_forward, _convolve_backward)
