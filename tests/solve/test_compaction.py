"""Compaction: the same results from ever smaller buckets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import (
    Anderson,
    Broyden,
    Compaction,
    Picard,
    Status,
    backward_probe,
    fixed_point,
)


def f(z, w, x, gain):
    return jnp.tanh(gain[:, None] * (z @ w) + x)


def data(batch, n=16):
    rng = np.random.default_rng(0)
    w = jnp.asarray(np.linalg.qr(rng.normal(size=(n, n)))[0])
    gain = jnp.asarray(rng.permutation(1 - np.geomspace(0.03, 0.9, batch)))
    x = jnp.asarray(0.1 * rng.normal(size=(batch, n)))
    return w, x, gain


def run(compact, solver, batch, **options):
    w, x, gain = data(batch)

    def loss(w, x, gain):
        sol = fixed_point(
            f,
            jnp.zeros_like(x),
            w,
            x,
            gain,
            solver=solver,
            compact=compact,
            tol=1e-11,
            **options,
        )
        return jnp.sum(jnp.sin(sol.value)), sol

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(w, x, gain)


@pytest.mark.parametrize("solver", [Picard(), Picard(0.8), Anderson(), Broyden()], ids=repr)
@pytest.mark.parametrize("batch", [21])
def test_compaction_changes_nothing(x64, solver, batch):
    """Values and gradients up to rounding, steps and status exactly; odd bucket sizes too."""
    options = {
        "mask": jnp.arange(batch) % 5 > 0,
        "max_steps": jnp.full(batch, 2000).at[jnp.asarray([3, 8])].set(4),
    }
    (_, plain), plain_grads = run(False, solver, batch, **options)
    compact = Compaction(min_bucket=2, arg_axes=(None, 0, 0))
    (_, small), small_grads = run(compact, solver, batch, **options)
    np.testing.assert_allclose(small.value, plain.value, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(small.stats.steps, plain.stats.steps)
    steps = np.asarray(plain.stats.steps)
    assert steps.max() > 1.5 * np.median(steps[steps > 0]), "no spread, no test"
    np.testing.assert_array_equal(small.stats.status, plain.stats.status)
    for a, b in zip(small_grads, plain_grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_compaction_saves_evaluations():
    """Counted by a callback: lane evaluations fall towards the sum of the steps."""
    batch, lanes = 64, []

    def counted(z, gain):
        jax.debug.callback(lambda z: lanes.append(z.shape[0]), z)
        return gain * z + 1

    gain = jnp.full(batch, 0.1).at[5].set(0.99)
    solve = lambda compact: fixed_point(
        counted, jnp.zeros(batch), gain, max_steps=2000, compact=compact
    )
    plain = jax.jit(lambda: solve(False))()
    jax.effects_barrier()
    masked = sum(lanes)
    lanes.clear()
    jax.jit(lambda: solve(Compaction(min_bucket=1)))()
    jax.effects_barrier()
    needed = int(jnp.sum(plain.stats.steps))
    assert masked == batch * int(plain.stats.steps.max())
    assert needed <= sum(lanes) < 1.2 * needed


def test_compaction_saves_backward_evaluations():
    """A custom_vjp inside f sees the cotangents: their batches shrink as the forward ones do."""
    lanes = []

    @jax.custom_vjp
    def times(gain, z):
        return gain * z

    def pull(saved, w):
        jax.debug.callback(lambda w: lanes.append(w.shape[0]), w)
        return saved[1] * w, saved[0] * w

    times.defvjp(lambda gain, z: (gain * z, (gain, z)), pull)
    gain = jnp.full(64, 0.1).at[5].set(0.97)

    def grad(compact):
        lanes.clear()
        loss = lambda b, probe: jnp.sum(
            fixed_point(
                lambda z, gain, b: times(gain, z) + b,
                jnp.zeros(64),
                gain,
                b,
                max_steps=2000,
                compact=compact,
                probe=probe,
            ).value
        )
        result = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.ones(64), backward_probe(64))
        jax.effects_barrier()
        return *result, sum(lanes)

    db, backward, masked = grad(False)
    db_small, backward_small, compacted = grad(Compaction(min_bucket=1))
    np.testing.assert_allclose(db_small, db, rtol=1e-5)
    np.testing.assert_array_equal(backward_small.steps, backward.steps)
    assert int(backward.steps.max()) > 100
    assert compacted < 0.1 * masked


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (lambda z, x, key: 0.5 * z + x + jax.random.normal(key, z.shape), "random numbers"),
        (lambda z, x, key: 0.5 * z + x * jax.random.bernoulli(key, 0.5, x.shape), "random numbers"),
        (lambda z, x, key: 0.5 * z + x * jnp.arange(1.0, 1.0 + len(z))[:, None], "a range"),
        (lambda z, x, key: 0.5 * z + x * np.arange(1.0, 1.0 + len(z))[:, None], "a constant"),
    ],
)
def test_what_f_makes_of_the_batch_size_is_refused(f, what):
    """In a bucket, the same samples would get another dropout mask, without any sign of it."""
    args = jnp.ones((32, 2)), jax.random.key(0)
    with jax.numpy_dtype_promotion("standard"):
        fixed_point(f, jnp.zeros((32, 2)), *args)
        with pytest.raises(ValueError, match=f"compact: f makes {what} of the batch's size"):
            fixed_point(f, jnp.zeros((32, 2)), *args, compact=True)


def test_what_f_makes_of_other_sizes_is_not():
    """Keys of the samples, sorts, ranges and draws over the features, indexing by row."""

    def f(z, keys, x, key):
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (32,)))(keys)
        rank = jnp.argsort(x, axis=1)
        shared = jax.random.normal(key, (32,)) + jnp.arange(32.0)
        picked = jnp.take_along_axis(x, rank, axis=1)
        return jnp.where(keep, 0.5 * z + picked, 0.0) + 0.01 * shared[None]

    x = jnp.sin(jnp.arange(32.0 * 64)).reshape(64, 32)
    args = jax.random.split(jax.random.key(0), 64), x, jax.random.key(1)
    plain = fixed_point(f, jnp.zeros((64, 32)), *args)
    small = fixed_point(f, jnp.zeros((64, 32)), *args, compact=True)
    np.testing.assert_allclose(small.value, plain.value, rtol=1e-5)


def test_mask_alone_starts_in_a_small_bucket():
    """With few samples switched on, f is never evaluated on the full batch."""
    lanes = []

    def counted(z, b):
        jax.debug.callback(lambda z: lanes.append(z.shape[0]), z)
        return 0.5 * z + b

    mask = jnp.arange(64) < 3
    sol = fixed_point(
        counted, jnp.zeros(64), jnp.ones(64), mask=mask, compact=Compaction(min_bucket=4)
    )
    jax.effects_barrier()
    assert set(lanes) == {4}
    np.testing.assert_allclose(sol.value, jnp.where(mask, 2.0, 0.0), rtol=1e-4)


def test_f_is_not_evaluated_if_no_sample_is_iterated():
    """Nor are its gradients; the report of the backward solve is that without buckets."""
    lanes = []

    def counted(z, b, w):
        jax.debug.callback(lambda z: lanes.append(z.shape[0]), z)
        return w * z + b

    def grad(compact):
        def loss(z0, b, w, probe):
            options = dict(mask=jnp.zeros(8, bool), compact=compact, probe=probe)
            return jnp.sum(fixed_point(counted, z0, b, w, **options).value ** 2)

        args = jnp.arange(8.0), jnp.ones(8), jnp.float32(0.5), backward_probe(8)
        lanes.clear()
        result = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(*args)
        jax.effects_barrier()
        return result

    small = grad(Compaction(min_bucket=2, arg_axes=(0, None)))
    assert not lanes
    z0, b, w, backward = small
    np.testing.assert_array_equal(z0, 2 * jnp.arange(8.0))
    assert not b.any() and not w and (backward.status == Status.SKIPPED).all()
    jax.tree.map(np.testing.assert_array_equal, small, grad(False))


def test_inference_tells_samples_from_weights():
    """A weight with as many rows as there are samples is found out by its use."""
    n = 32
    w = 0.5 * jnp.eye(n)
    x = jnp.linspace(0.0, 1.0, n * n).reshape(n, n)
    f = lambda z, w, x: jnp.tanh(z @ w + x)
    z0 = jnp.zeros((n, n))
    wanted = fixed_point(f, z0, w, x).value
    inferred = fixed_point(f, z0, w, x, compact=True)
    np.testing.assert_allclose(inferred.value, wanted, rtol=1e-4)
    explicit = fixed_point(f, z0, w, x, compact=Compaction(arg_axes=(None, 0)))
    np.testing.assert_array_equal(explicit.value, inferred.value)
    nested = fixed_point(
        lambda z, p: f(z, p["w"], p["x"]),
        z0,
        {"w": w, "x": x},
        compact=Compaction(arg_axes=({"w": None, "x": 0},)),
    )
    np.testing.assert_array_equal(nested.value, inferred.value)


def test_ambiguous_argument_is_an_error_not_a_guess():
    """A table of 32 rows looked up by 32 samples: both readings run, one is wrong."""
    ids = jnp.arange(32)[::-1]
    f = lambda z, ids, table: 0.5 * z + jnp.take(table, ids, axis=0)
    with pytest.raises(ValueError, match=r"cannot tell whether args\[1\], with a leading axis"):
        fixed_point(f, jnp.zeros(32), ids, jnp.arange(32.0), compact=True)
    sol = fixed_point(
        f, jnp.zeros(32), ids, jnp.arange(32.0), compact=Compaction(arg_axes=(0, None))
    )
    np.testing.assert_allclose(sol.value, 2 * ids, rtol=1e-4)


def test_weights_that_fit_each_other_are_not_misread_together():
    """Two weights contracted over an axis as long as the batch: slicing both would run, too."""
    f = lambda z, u, v: 0.5 * jnp.tanh(z @ (u.T @ v)) + 1
    u, v = jnp.ones((32, 8)) / 32, jnp.ones((32, 8))
    with pytest.raises(ValueError, match=r"cannot tell whether args\[0\] and args\[1\]"):
        fixed_point(f, jnp.zeros((32, 8)), u, v, compact=True)


def test_too_many_arrays_to_tell_apart():
    with pytest.raises(ValueError, match=r"at most 4 arrays .*args\[0\]\[4\].*arg_axes"):
        fixed_point(lambda z, p: z, jnp.zeros((32, 8)), [jnp.ones(32)] * 5, compact=True)


def test_per_sample_closure_is_refused_with_the_cure():
    u = jnp.ones((32, 2))
    with pytest.raises(ValueError, match=r"come in through \*args"):
        fixed_point(lambda z: 0.5 * z + u, jnp.zeros((32, 2)), compact=True)
