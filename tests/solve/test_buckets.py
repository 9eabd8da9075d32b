"""Buckets: their sizes, and that the right samples get new values and gradients."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax.solve.buckets import bucket_sizes, gather, update

BATCH = 12
X = jax.random.normal(jax.random.key(0), (BATCH, 3))
W = jax.random.normal(jax.random.key(1), (3, 3))
OLD = {"z": jax.random.normal(jax.random.key(2), (BATCH, 3))}
# Not at the front, so that places in the bucket are not those in the batch.
PLACES = jax.random.permutation(jax.random.key(3), BATCH)


def test_bucket_sizes():
    assert bucket_sizes(256, 16) == (256, 128, 64, 32, 16)
    assert bucket_sizes(37, 2) == (37, 19, 10, 5, 3, 2)
    assert bucket_sizes(10, 16) == (10,)
    assert bucket_sizes(3, 1) == (3, 2, 1)
    assert bucket_sizes(0, 1) == (0,)


def test_bucket_sizes_with_others_between():
    assert bucket_sizes(128, 16, between=True) == (128, 96, 64, 48, 32, 24, 16)
    assert bucket_sizes(10, 6, between=True) == (10, 8)
    assert bucket_sizes(0, 1, between=True) == (0,)


def compute(level, ids, operands, fixed):
    w, x = operands
    return {"z": jnp.sin(gather(x, ids) @ w)}


@pytest.mark.parametrize("count", range(BATCH + 1))
def test_values_and_gradients_are_those_of_a_select(count):
    run = jnp.isin(jnp.arange(BATCH), PLACES[:count])

    def loss(select, old, operands):
        new = select(old, operands)["z"]
        return jnp.sum(new * jnp.cos(jnp.arange(new.size)).reshape(new.shape)), new

    in_buckets = lambda old, x: update(compute, run, old, x, bucket_sizes(BATCH, 2, between=True))
    plain = lambda old, x: {"z": jnp.where(run[:, None], compute(0, None, x, ())["z"], old["z"])}
    of = lambda select: jax.grad(lambda *args: loss(select, *args), (0, 1), has_aux=True)
    got, expected = (jax.jit(of(select))(OLD, (W, X)) for select in (in_buckets, plain))
    close = lambda a, b: bool(jnp.allclose(a, b, atol=1e-5))
    assert jax.tree.all(jax.tree.map(close, got, expected))


def test_the_smallest_bucket_that_holds_the_samples_is_taken():
    """The level says in which bucket it was computed: the smallest that holds the samples."""
    sizes = bucket_sizes(BATCH, 2, between=True)
    level = lambda level, ids, x, fixed: jnp.full_like(gather(x, ids), float(level))
    for count in range(1, BATCH + 1):
        run = jnp.arange(BATCH) < count
        taken = update(level, run, jnp.full(BATCH, -1.0), jnp.zeros(BATCH), sizes)
        size = min(size for size in sizes if size >= count)
        assert taken[:count].tolist() == [sizes.index(size)] * count
        assert (taken[count:] == -1).all()


def test_nothing_is_computed_if_no_sample_runs():
    """The derivative of a square root at 0 is infinite: 0 · inf would be NaN."""
    root = lambda level, ids, x, fixed: jnp.sqrt(gather(x, ids))
    none, zeros = jnp.zeros(BATCH, bool), jnp.zeros(BATCH)
    loss = lambda x: jnp.sum(update(root, none, jnp.ones(BATCH), x, bucket_sizes(BATCH, 2)))
    assert jax.jit(jax.grad(loss))(zeros).tolist() == zeros.tolist()
