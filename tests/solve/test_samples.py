"""Samples that interact: found in the trace of f, or by running f with one sample changed."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import (
    Compaction,
    Implicit,
    ImplicitJVP,
    Unrolled,
    check_samples,
    fixed_point,
)

Z = jax.random.normal(jax.random.key(0), (6, 4, 3))
W = 0.1 * jnp.eye(3)
half = lambda z: 0.5 * z


def batch_statistics(z):
    return 0.5 * (z - jnp.mean(z, axis=0, keepdims=True))


SEEN = {
    "`reduce_sum` reduces over the sample axis, axis 0": batch_statistics,
    "`reduce_prod` reduces over": lambda z: 0.1 * z + 0.1 * jnp.prod(z, axis=0, keepdims=True),
    "`cumsum` accumulates over the sample axis": lambda z: 0.1 * jnp.cumsum(z, axis=0),
    "`sort` sorts": lambda z: half(jnp.sort(z, axis=0)),
    "`rev` reverses": lambda z: half(z[::-1]),
    "`concatenate` combines different samples": lambda z: half(jnp.roll(z, 1, axis=0)),
    "`sub` combines different samples": lambda z: 0.2 * jnp.pad(
        z[1:] - z[:-1], ((0, 1), (0, 0), (0, 0))
    ),
    "`dot_general` contracts": lambda z: jnp.einsum("btd,bc->ctd", z, 0.1 * jnp.ones((6, 6))),
    "repeats one sample for the others": lambda z: 0.1 * (z + z[:1]),
    "the result has the samples in another place": lambda z: half(
        jnp.pad(z, ((1, 0), (0, 0), (0, 0)))[:-1]
    ),
    "`reduce_window_max` reduces over windows": lambda z: 0.1 * jax.lax.reduce_window(
        z, -jnp.inf, jax.lax.max, (3, 1, 1), (1, 1, 1), "SAME"
    ),
    "`conv_general_dilated` contracts": lambda z: jnp.moveaxis(
        jax.lax.conv_general_dilated(
            jnp.moveaxis(z, 0, 2), jnp.ones((3, 6, 6)) / 99, (1,), "SAME",
            dimension_numbers=("NHC", "HIO", "NHC"),
        ), 2, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", SEEN, ids=lambda m: m.split("`")[1] if "`" in m else m[:10])
def test_an_operation_that_mixes_samples_is_an_error_at_trace_time(message):
    with pytest.raises(ValueError, match="f: expected sample i") as error:
        jax.eval_shape(lambda z: fixed_point(SEEN[message], z), Z)
    assert message in str(error.value) and "batched=False" in str(error.value)
    with pytest.raises(ValueError, match=r"sample . changed with sample"):
        check_samples(SEEN[message], Z)


def test_the_error_names_the_line_also_inside_of_loops_and_jitted_functions():
    def inside(z):
        body = lambda _, z: jnp.where(z > 0, batch_statistics(z), jax.jit(half)(z))
        return jax.lax.fori_loop(0, 2, body, z)

    for f in (batch_statistics, jax.jit(batch_statistics), inside):
        with pytest.raises(ValueError, match=r"test_samples\.py:\d+, in batch_statistics"):
            fixed_point(f, Z)


@pytest.mark.parametrize(
    "f",
    [
        lambda z: half(z[jnp.asarray([1, 0, 2, 3, 4, 5])]),
        lambda z: 0.1 * z + 0.01 * jnp.einsum("bc,ctd->btd", jnp.einsum("btd,ctd->bc", z, z), z),
        lambda z: 0.1 * jax.lax.scan(lambda c, x: (c + x, c + x), 0 * z[0], z)[1],
    ],
    ids=["gather", "all pairs", "scan over samples"],
)
def test_what_the_trace_does_not_show_is_found_by_running_f(f):
    jax.eval_shape(lambda z: fixed_point(f, z), Z)
    with pytest.raises(ValueError, match=r"sample . changed with sample"):
        check_samples(f, Z)


def attention(z):
    scores = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", z, z), axis=-1)
    return 0.1 * jnp.einsum("bqk,bkd->bqd", scores, z)


def nested(adjoint, compact=False):
    inner = lambda y, z: 0.5 * jnp.tanh(y) + z
    options = {"adjoint": adjoint, "compact": compact, "max_steps": 9}
    return lambda z: 0.1 * fixed_point(inner, 0 * z, z, **options).value


APART = {
    "vmap": lambda z: jax.vmap(lambda a: jnp.tanh(a @ W))(z),
    "samples and time as one axis": lambda z: (z.reshape(-1, 3) @ W).reshape(z.shape),
    "attention": attention,
    "statistics of a sample": lambda z: half(z - jnp.mean(z, axis=(1, 2), keepdims=True)),
    "halves": lambda z: jnp.concatenate([0.1 * z[:3], 0.2 * jnp.tanh(z[3:])]),
    "map over samples": lambda z: jax.lax.map(half, z),
    "scan over time": lambda z: (
        0.1
        * jnp.moveaxis(
            jax.lax.scan(lambda c, a: (0.5 * c + a, c), z[:, 0], jnp.moveaxis(z, 1, 0))[1], 0, 1
        )
    ),
    "rows by number": lambda z: 0.1 * z + 0.1 * jnp.expand_dims(z[jnp.arange(6), 0], 1),
    "take along axis": lambda z: (
        0.1 * z + 0.1 * jnp.take_along_axis(z, jnp.zeros((6, 4, 1), jnp.int32), axis=2)
    ),
    "cond": lambda z: jax.lax.cond(True, half, jnp.sin, z),
    "all finite": lambda z: jnp.where(jnp.all(jnp.isfinite(z)), half(z), 0),
    "gradient of an energy": lambda z: z - 0.3 * jax.grad(lambda z: jnp.sum(jnp.cosh(z)))(z),
    "gradient in a loop": lambda z: jax.lax.fori_loop(
        0, 2, lambda _, z: z - 0.3 * jax.jit(jax.grad(lambda z: jnp.mean(jnp.cosh(z))))(z), z
    ),
    "statistics that are not used": lambda z: (half(z), jnp.mean(z, axis=0))[0],
    "two batches in one": lambda z: half(jnp.split(jnp.tanh(jnp.concatenate([z, -z])), 2)[0]),
    "stacked beside an input": lambda z: (
        0.1 * (jnp.concatenate([z, Z])[:6] + jnp.concatenate([z, Z])[6:])
    ),
    "there and back": lambda z: jnp.roll(half(jnp.roll(z, 1, axis=0)), -1, axis=0),
    "softmax less the largest of all": lambda z: half(
        jnp.exp(z - jnp.max(z)) / jnp.sum(jnp.exp(z - jnp.max(z)), axis=2, keepdims=True)
    ),
    "a kernel for each sample": lambda z: jax.vmap(
        lambda z, k: 0.1 * jnp.convolve(z[:, 0], k, mode="same")[:, None] + 0.1 * z
    )(z, Z[:, 0]),
    "nested": nested(Implicit()),
    "nested, compact": nested(Implicit(), Compaction(2)),
    "nested, forward mode": nested(ImplicitJVP()),
    "nested, unrolled": nested(Unrolled()),
}


@pytest.mark.parametrize("name", APART)
def test_samples_that_stay_apart_are_let_through(name):
    jax.eval_shape(lambda z: fixed_point(APART[name], z), Z)
    check_samples(APART[name], Z)


def test_a_state_of_zeros_is_replaced_as_mixtures_may_vanish_there():
    with pytest.raises(ValueError, match=r"sample . changed with sample"):
        check_samples(lambda z: 0.2 * z * jnp.sum(z, axis=0, keepdims=True), jnp.zeros_like(Z))


def test_one_sample_or_one_state_may_do_anything():
    jax.eval_shape(lambda z: fixed_point(batch_statistics, z), Z[:1])
    jax.eval_shape(lambda z: fixed_point(batch_statistics, z, batched=False), Z)
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        check_samples(half, Z[:1])
    with pytest.raises(ValueError, match=r"where f\(z\) is finite"):
        check_samples(lambda z: z - jnp.nan * jnp.mean(z, axis=0, keepdims=True), Z)
