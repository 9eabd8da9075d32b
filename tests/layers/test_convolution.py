"""The convolution's gradients, written out by hand, are JAX's own."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.adaptive import macs
from dynalay_jax.layers.convolution import convolve, fast_convolution


# On CPU the kernel's gradient is summed over chunks, of 68 images as small as these.
@pytest.mark.parametrize(
    ("size", "batch"),
    [
        *[((3, 3), batch) for batch in (1, 68, 69, 150)],
        *[(size, 69) for size in ((1, 1), (5, 3), (2, 2), (4, 3))],
    ],
)
def test_value_and_gradients(size, batch):
    z_key, kernel_key, v_key = jax.random.split(jax.random.key(0), 3)
    z = jax.random.normal(z_key, (batch, 6, 5, 4))
    kernel = jax.random.normal(kernel_key, (*size, 4, 7))
    v = jax.random.normal(v_key, (batch, 6, 5, 7))
    plain = lambda z, kernel: jax.lax.conv_general_dilated(
        z, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

    def value_and_pulled(f):
        value, pull = jax.vjp(f, z, kernel)
        return value, *pull(v)

    got, expected = (jax.jit(value_and_pulled, static_argnums=0)(f) for f in (convolve, plain))
    for ours, theirs, atol in zip(got, expected, (1e-5, 1e-3, 1e-3), strict=True):
        assert jnp.allclose(ours, theirs, atol=atol)


def test_depthwise_keeps_channels_apart():
    z = jnp.zeros((1, 5, 5, 4)).at[..., 2].set(1.0)
    out = convolve(z, jnp.ones((3, 3, 1, 4)), groups=4)
    assert out.shape == z.shape and float(out[0, 2, 2, 2]) == 9
    assert not out.at[..., 2].set(0.0).any()


@pytest.mark.parametrize("size", [(3, 3), (2, 5)])
def test_depthwise_value_and_derivatives(size):
    z_key, kernel_key, v_key = jax.random.split(jax.random.key(0), 3)
    z = jax.random.normal(z_key, (3, 6, 5, 4))
    kernel = jax.random.normal(kernel_key, (*size, 1, 4))
    v = jax.random.normal(v_key, z.shape)
    ours = lambda z, kernel: convolve(z, kernel, groups=4)
    plain = lambda z, kernel: jax.lax.conv_general_dilated(
        z, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=4
    )
    pulled = lambda f: jax.vjp(f, z, kernel)[1](v)
    pushed = lambda f: jax.jvp(f, (z, kernel), (v, kernel))
    for derivative in (pulled, pushed):
        got, expected = (jax.jit(derivative, static_argnums=0)(f) for f in (ours, plain))
        for a, b in zip(got, expected, strict=True):
            assert jnp.allclose(a, b, atol=1e-4)
    assert macs.macs(ours, z, kernel) == z.size * kernel[..., 0, 0].size


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
