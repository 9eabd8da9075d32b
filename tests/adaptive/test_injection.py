"""Injected again are those samples that changed, and nobody else, whatever the bucket."""

import functools

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.adaptive.model import injected_again
from dynalay_jax.layers.concave import ConcaveConv

pytestmark = pytest.mark.usefixtures("flax_promotion")

BATCH = 12
CELL = ConcaveConv(features=8)
BELOW, BEFORE = jax.random.normal(jax.random.key(0), (2, BATCH, 4, 4, 3))
PARAMS = CELL.init(jax.random.key(1), BELOW)
# Not at the front, so that places in the bucket are not those in the batch.
PLACES = jax.random.permutation(jax.random.key(2), BATCH)


@functools.cache
def differentiated(min_bucket):
    """Compiled value and gradients; the buckets are of 12, 9, 6, 5 and 3 samples, or one of 12."""

    def loss(params, below, u, changed):
        again = CELL.apply(params, below, changed, u, min_bucket, method=injected_again)
        weights = [jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape) for leaf in again.values()]
        return sum(jnp.sum(a * b) for a, b in zip(weights, again.values(), strict=True)), again

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 7, 9, 12])
def test_values_and_gradients(count):
    changed = jnp.isin(jnp.arange(BATCH), PLACES[:count])
    u = CELL.apply(PARAMS, BEFORE)[1]
    (_, again), gradients = differentiated(3)(PARAMS, BELOW, u, changed)
    (_, plain), expected = differentiated(0)(PARAMS, BELOW, u, changed)
    new = CELL.apply(PARAMS, BELOW)[1]
    for name, leaf in again.items():
        assert jnp.array_equal(leaf[~changed], u[name][~changed])
        assert jnp.allclose(leaf[changed], new[name][changed], atol=1e-5)
        assert not jnp.allclose(u[name], new[name], atol=0.1)
    close = lambda a, b: bool(jnp.allclose(a, b, atol=1e-4))
    assert jax.tree.all(jax.tree.map(close, (again, gradients), (plain, expected)))
