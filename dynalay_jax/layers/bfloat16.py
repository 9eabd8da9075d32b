"""Convolutions of float32 arrays with bfloat16 factors, fast on CPUs with matrix units (AMX).

    z ∗ K = windows(z) · K,    windows(z) [B · H · W, h · w · C],    K [h · w · C, C']

Only the products round. Activations stay in float32, because XLA's CPU backend is slow for
elementwise operations and reductions in bfloat16 (jaxlib 0.10.2). With 32 channels or fewer, the
copies of windows still take longer than the products.
"""

from collections.abc import Callable, Sequence
import math
import os
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.layers.convolution import convolution
from dynalay_jax.solve.per_sample import vary_like

# Channels are padded to a multiple of this, a vector of 512 bits: windows of 24 channels take 2.5
# times as long as those of 32.
_LANES = 32
# Pixels whose windows are in memory at a time: few enough for the caches of all cores, and enough
# for the cores to share. On one core, windows of the whole batch take 1.5 times (256 channels) to
# 2.5 times (32 channels) as long.
_PIXELS = 2048 * (os.cpu_count() or 1)


@jax.custom_vjp
def convolve_bfloat16(z: jax.Array, kernel: jax.Array) -> jax.Array:
    """z [B, H, W, C] ∗ kernel [h, w, C, C'], factors rounded to bfloat16, sums in float32.

    Stride 1, zero padding to the same size, reverse-mode derivatives only. The gradients are
    products of the same kind. Rounding changes value and gradients by about 0.3 %.

    Args:
        z, kernel: as above, float32.
    """
    return _forward(z, kernel)[0]


def _forward(z: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    # The rounded z, of half the size, is what the backward pass keeps.
    z = _materialised(z.astype(jnp.bfloat16))
    rounded, padding = kernel.astype(jnp.bfloat16), _padding(z, kernel)

    def in_windows(z: jax.Array, kernel: jax.Array) -> jax.Array:
        def chunk(z: jax.Array) -> tuple[jax.Array, tuple]:
            return _product(_windows(z, kernel.shape[:2], padding), kernel, z.shape), ()

        return _in_chunks(chunk, z)[0]

    def whole(z: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolution(z, kernel, padding, out=jnp.float32)

    return jax.lax.platform_dependent(z, rounded, cpu=in_windows, default=whole), (z, kernel)


def _backward(saved: tuple, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    z, kernel = saved
    v = _materialised(v.astype(jnp.bfloat16))
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3).astype(jnp.bfloat16)
    padding = _padding(z, kernel)
    # With even kernels, the gradient pads the other side.
    swapped = [(after, before) for before, after in padding]

    def in_windows(z: jax.Array, turned: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        height, width, features, channels = turned.shape
        # A first layer: nothing needs dz, and the images have the smaller windows.
        first = channels < _LANES <= features

        def chunk(z: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
            windows = _windows(v, (height, width), swapped)
            dz = _product(windows, turned, z.shape)
            if first:
                return dz, _matmul(_transposed(v), _windows(z, (height, width), padding))
            return dz, _matmul(_transposed(z), windows)

        dz, product = _in_chunks(chunk, z, v)
        product = product.reshape(len(product), height, width, -1)
        if first:
            return dz, product[..., :channels].transpose(1, 2, 3, 0)
        return dz, jnp.flip(product[..., :features].transpose(1, 2, 0, 3), (0, 1))

    def whole(z: jax.Array, turned: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        dz = convolution(v, turned, swapped, out=jnp.float32)
        images, cotangents = z.transpose(3, 1, 2, 0), v.transpose(1, 2, 0, 3)
        d_kernel = convolution(images, cotangents, padding, out=jnp.float32)
        return dz, d_kernel.transpose(1, 2, 0, 3)

    return jax.lax.platform_dependent(z, turned, v, cpu=in_windows, default=whole)


convolve_bfloat16.defvjp(_forward, _backward)


def _padding(z: jax.Array, kernel: jax.Array) -> list[tuple[int, int]]:
    return jax.lax.padtype_to_pads(z.shape[1:3], kernel.shape[:2], (1, 1), "SAME")


def _in_chunks(function: Callable, *batches: jax.Array) -> tuple[jax.Array, Any]:
    """The images of all chunks, and the sum of what else `function(*chunk)` returns.

    Chunks have about `_PIXELS` pixels. The last one is padded with samples of zeros.
    """
    batch, rows, columns = batches[0].shape[:3]
    if not isinstance(batch, int):  # a symbolic batch, of `jax.export`
        return function(*batches)
    count = min(-(-batch * rows * columns // _PIXELS), batch)
    size = -(-batch // max(count, 1)) or 1
    extra = -batch % size if batch else 1

    # As integers: XLA would convert all of the batch to float32 before it cuts it.
    def as_integers(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, extra), *[(0, 0)] * 3))
        return jax.lax.bitcast_convert_type(x, jnp.uint16)

    def cut(x: jax.Array, i: Any) -> jax.Array:
        chunk = jax.lax.dynamic_slice_in_dim(x, i * size, size)
        return jax.lax.bitcast_convert_type(chunk, jnp.bfloat16)

    def step(total: Any, i: jax.Array) -> tuple[Any, jax.Array]:
        images, more = function(*(cut(x, i) for x in whole))
        return jax.tree.map(jnp.add, total, more), images

    whole = tuple(map(as_integers, batches))
    shapes = [jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for x in batches]
    _, total = jax.eval_shape(function, *shapes)
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), total)
    steps = jnp.arange(len(whole[0]) // size)
    total, images = jax.lax.scan(step, vary_like(start, batches), steps)
    return images.reshape(-1, *images.shape[2:])[:batch], total


def _product(windows: jax.Array, kernel: jax.Array, shape: Sequence[int]) -> jax.Array:
    """windows · kernel [h, w, C, C'] as images [B, H, W, C'] with (B, H, W) of `shape`."""
    *window, channels, features = kernel.shape
    extra = windows.shape[1] // math.prod(window) - channels
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, extra), (0, 0)))
    return _matmul(windows, kernel.reshape(-1, features)).reshape(*shape[:3], features)


def _windows(x: jax.Array, window: Sequence[int], padding: Any) -> jax.Array:
    """All windows of x [B, H, W, C], [B · H · W, h · w · C], with padded channels.

    They are gathered pixel by pixel from padded images in memory, and reshaped only after they are
    in memory. XLA's CPU backend takes 6 times as long if it pads while it gathers, 7 times as long
    if it computes the reshaped array directly, and 15 times as long for a concatenation of slices
    (jaxlib 0.10.2).
    """
    batch, rows, columns, channels = x.shape
    x = _materialised(jnp.pad(x, ((0, 0), *padding, (0, -channels % _LANES))))
    height, width, channels = x.shape[1:]
    image = jnp.arange(batch)[:, None, None] * (height * width)
    corner = jnp.arange(rows)[:, None] * width + jnp.arange(columns)[None]
    tap = jnp.arange(window[0])[:, None] * width + jnp.arange(window[1])[None]
    pixels = image + corner.reshape(1, -1, 1) + tap.reshape(1, 1, -1)
    taken = jax.lax.gather(
        x.reshape(-1),
        pixels.reshape(-1, 1) * channels,
        jax.lax.GatherDimensionNumbers(
            offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,)
        ),
        slice_sizes=(channels,),
        mode="promise_in_bounds",
    )
    return _materialised(taken).reshape(-1, tap.size * channels)


def _transposed(x: jax.Array) -> jax.Array:
    """[B, H, W, C] → [C, B · H · W], as a product with the identity.

    XLA would fold a transposition into the next product, for which it has only slow code.
    """
    channels = x.shape[-1]
    identity = jnp.eye(channels, dtype=x.dtype)
    return _matmul(identity, x.reshape(-1, channels), transposed=True).astype(x.dtype)


def _matmul(a: jax.Array, b: jax.Array, transposed: bool = False) -> jax.Array:
    """a b or a bᵀ, float32.

    XLA's CPU backend computes other contractions of bfloat16 factors slowly or not at all. It makes
    such a contraction of (a b)ᵀ: callers transpose results with more than two axes only.
    """
    contract = ((1,), (int(transposed),))
    return jax.lax.dot_general(a, b, (contract, ((), ())), preferred_element_type=jnp.float32)


def _materialised(x: jax.Array) -> jax.Array:
    """x, which XLA computes into memory before anything reads it.

    On CPU by a loop that never runs, which XLA cannot know. `lax.optimization_barrier` is no help:
    XLA drops it before it fuses (jaxlib 0.10.2).
    """
    return jax.lax.platform_dependent(x, cpu=_through_loop, default=lambda x: x)


def _through_loop(x: jax.Array) -> jax.Array:
    count = jnp.any(x.reshape(-1)[:1] == jnp.inf).astype(jnp.int32)
    again = lambda carry: carry[1] < 0
    return jax.lax.while_loop(again, lambda carry: (-carry[0], carry[1] + 1), (x, count))[0]
