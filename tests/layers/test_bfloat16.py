"""Convolutions with bfloat16 factors: values and gradients are those in float32, up to rounding."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.layers import bfloat16
from dynalay_jax.layers.bfloat16 import convolve_bfloat16
from dynalay_jax.layers.convolution import convolve


@pytest.mark.parametrize(
    ("size", "channels", "features"),
    [
        ((3, 3), 4, 7),
        ((3, 3), 3, 40),
        ((3, 3), 33, 16),
        ((1, 1), 5, 5),
        ((5, 3), 4, 9),
        ((2, 4), 8, 3),
    ],
)
def test_value_and_gradients(size, channels, features):
    z_key, kernel_key, v_key = jax.random.split(jax.random.key(0), 3)
    z = jax.random.normal(z_key, (6, 7, 5, channels))
    kernel = jax.random.normal(kernel_key, (*size, channels, features))
    v = jax.random.normal(v_key, (6, 7, 5, features))

    def value_and_pulled(f):
        value, pull = jax.vjp(f, z, kernel)
        return value, *pull(v)

    run = jax.jit(value_and_pulled, static_argnums=0)
    for ours, exact in zip(run(convolve_bfloat16), run(convolve), strict=True):
        assert ours.dtype == jnp.float32 and ours.shape == exact.shape
        error = float(jnp.abs(ours - exact).max() / jnp.abs(exact).max())
        assert 0 < error < 0.01


def test_factors_that_are_exact_in_bfloat16_give_exact_results():
    z = jax.random.randint(jax.random.key(0), (2, 6, 6, 4), -8, 8).astype(jnp.float32)
    kernel = jax.random.randint(jax.random.key(1), (3, 3, 4, 4), -8, 8).astype(jnp.float32)
    slope = lambda f: jax.grad(lambda z, kernel: jnp.sum(f(z, kernel) * z), 1)
    ours, exact = convolve_bfloat16, convolve
    for f, g in ((ours, exact), (slope(ours), slope(exact))):
        assert jnp.array_equal(jax.jit(f)(z, kernel), jax.jit(g)(z, kernel))


@pytest.mark.parametrize("pixels", [1, 80, 10**9])
@pytest.mark.parametrize(("channels", "features"), [(4, 5), (3, 32)])
def test_chunks_of_the_batch_add_up(monkeypatch, pixels, channels, features):
    monkeypatch.setattr(bfloat16, "_PIXELS", pixels)
    z = jax.random.randint(jax.random.key(0), (7, 6, 5, channels), -8, 8).astype(jnp.float32)
    kernel = jax.random.randint(jax.random.key(1), (3, 3, channels, features), -8, 8)
    v = jax.random.randint(jax.random.key(2), (7, 6, 5, features), -8, 8).astype(jnp.float32)
    pulled = lambda f: lambda z, kernel, v: (f(z, kernel), *jax.vjp(f, z, kernel)[1](v))
    ours, exact = (
        jax.jit(pulled(f))(z, kernel.astype(jnp.float32), v) for f in (convolve_bfloat16, convolve)
    )
    for a, b in zip(ours, exact, strict=True):
        assert jnp.array_equal(a, b)


@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf, jnp.nan])
def test_values_that_are_not_finite_stay_where_they_are(bad):
    z = jnp.ones((2, 5, 5, 1)).at[0, 0, 0, 0].set(bad)
    out = jax.jit(convolve_bfloat16)(z, jnp.ones((3, 3, 1, 1)))
    assert int((~jnp.isfinite(out)).sum()) == 4


def test_inside_loops_and_branches_and_for_no_samples():
    z, kernel = jnp.ones((0, 5, 5, 2)), jnp.ones((3, 3, 2, 2))
    assert jax.jit(convolve_bfloat16)(z, kernel).shape == z.shape
    z = jax.random.normal(jax.random.key(0), (3, 5, 5, 2))
    once = jax.jit(convolve_bfloat16)
    twice = jax.jit(lambda z: jax.lax.fori_loop(0, 2, lambda _, z: convolve_bfloat16(z, kernel), z))
    assert jnp.array_equal(twice(z), once(once(z, kernel), kernel))
    chosen = jax.jit(
        lambda z: jax.lax.cond(z[0, 0, 0, 0] < 9, convolve_bfloat16, convolve, z, kernel)
    )
    assert jnp.array_equal(chosen(z), once(z, kernel))
