"""The convolution's gradients, written out by hand, are JAX's own."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.convolution import convolve


@pytest.mark.parametrize("size", [(3, 3), (1, 1), (5, 3)])
def test_value_and_gradients(size):
    z_key, kernel_key, v_key = jax.random.split(jax.random.key(0), 3)
    z = jax.random.normal(z_key, (3, 6, 5, 4))
    kernel = jax.random.normal(kernel_key, (*size, 4, 7))
    v = jax.random.normal(v_key, (3, 6, 5, 7))
    plain = lambda z, kernel: jax.lax.conv_general_dilated(
        z, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    value, pull = jax.vjp(convolve, z, kernel)
    expected, expected_pull = jax.vjp(plain, z, kernel)
    assert jnp.allclose(value, expected, atol=1e-5)
    for ours, theirs in zip(pull(v), expected_pull(v), strict=True):
        assert jnp.allclose(ours, theirs, atol=1e-4)


def test_depthwise_keeps_channels_apart():
    z = jnp.zeros((1, 5, 5, 4)).at[..., 2].set(1.0)
    out = convolve(z, jnp.ones((3, 3, 1, 4)), groups=4)
    assert out.shape == z.shape and float(out[0, 2, 2, 2]) == 9
    assert not out.at[..., 2].set(0.0).any()
