"""The convolution's derivatives, written out by hand, are JAX's own."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.adaptive import macs
from dynalay_jax.layers.convolution import convolve, fast_convolution


def plain(z, kernel, groups=1):
    return jax.lax.conv_general_dilated(
        z, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


# On CPU the kernel's gradient is summed over chunks, of 68 images as small as these.
@pytest.mark.parametrize(
    ("size", "batch", "groups"),
    [
        *[((3, 3), batch, 1) for batch in (1, 68, 69, 150)],
        *[(size, 69, 1) for size in ((1, 1), (5, 3), (2, 2), (4, 3))],
        *[(size, 3, 4) for size in ((3, 3), (2, 5))],
    ],
)
def test_value_and_derivatives(size, batch, groups):
    z_key, kernel_key, v_key = jax.random.split(jax.random.key(0), 3)
    z = jax.random.normal(z_key, (batch, 6, 5, 4))
    kernel = jax.random.normal(kernel_key, (*size, 4 // groups, 4))
    v = jax.random.normal(v_key, z.shape)

    def derivatives(f):
        f = functools.partial(f, groups=groups)
        value, pull = jax.vjp(f, z, kernel)
        if groups == 1:  # has no forward mode
            return value, *pull(v)
        return *jax.jvp(f, (z, kernel), (v, kernel)), *pull(v)

    got, expected = (jax.jit(derivatives, static_argnums=0)(f) for f in (convolve, plain))
    for ours, theirs in zip(got, expected, strict=True):
        assert jnp.allclose(ours, theirs, atol=1e-3)
    assert macs.macs(functools.partial(convolve, groups=groups), z, kernel) == (
        z.size * kernel[..., 0].size
    )


def test_depthwise_keeps_channels_apart():
    z = jnp.zeros((1, 5, 5, 4)).at[..., 2].set(1.0)
    out = convolve(z, jnp.ones((3, 3, 1, 4)), groups=4)
    assert out.shape == z.shape and float(out[0, 2, 2, 2]) == 9
    assert not out.at[..., 2].set(0.0).any()


@pytest.mark.parametrize(
    ("window", "stride", "products"),
    [
        ((2, 2), 2, 1),
        ((1, 1), 1, 1),
        ((3, 2), (3, 2), 1),
        ((3, 3), 1, 0),
        ((4, 4), 4, 0),
        ((2, 2), 1, 0),
        ((3, 3), 2, 0),
        ((3, 2), (2, 4), 0),
    ],
)
def test_as_flax_convolves_and_windows_that_tile_the_image_are_one_product(
    window, stride, products
):
    # 4 does not divide 6: zeros are padded, by the convolution.
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    plain = nn.Conv(5, window, strides=stride)
    fast = plain.clone(conv_general_dilated=fast_convolution)
    params = plain.init(jax.random.key(1), x)

    def value_and_pulled(apply):
        value, pull = jax.vjp(apply, params, x)
        return value, pull(value)

    compiled = jax.jit(value_and_pulled, static_argnums=0)
    got, expected = compiled(fast.apply), compiled(plain.apply)
    close = lambda a, b: jnp.allclose(a, b, atol=1e-4)
    assert jax.tree.all(jax.tree.map(close, got, expected))
    assert str(jax.make_jaxpr(fast.apply)(params, x)).count("dot_general") == products
