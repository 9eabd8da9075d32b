"""What holds for every cell: straight output, stride, gradients, dtypes; and injecting again."""

import functools

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.layers.base import reinject
from dynalay_jax.layers.concave import ConcaveConv
from dynalay_jax.layers.registry import CELLS, STATIC
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if not cell.exact])
def test_straight_output_is_the_step_from_zero_and_stride_divides_the_resolution(name):
    cell, _, _, (w, u) = problems.built_cell(name, **({} if name == "dense" else {"stride": 2}))
    straight = jax.jit(cell.straight)(w, u)
    step = jax.jit(cell.step)(jnp.zeros_like(straight), w, u)
    assert straight.shape == ((4, 16) if name == "dense" else (4, 3, 3, 16))
    assert jnp.allclose(step, straight, atol=1e-6)
    assert float(jnp.abs(straight).max()) > 0


@pytest.mark.parametrize("name", CELLS | STATIC)
def test_gradients_reach_every_parameter(name):
    cell, params, below, _ = problems.built_cell(name)

    def loss(params):
        w, u = cell.apply(params, below)
        solution = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-5, max_steps=300)
        return jnp.sum(jnp.sin(solution.value))

    gradients = jax.jit(jax.grad(loss))(params)["params"]
    for path, grad in jax.tree.leaves_with_path(gradients):
        assert bool(jnp.isfinite(grad).all()), path
        assert float(jnp.abs(grad).max()) > 0, path


@pytest.mark.parametrize("name", CELLS | STATIC)
def test_bfloat16_states_keep_float32_parameters(name):
    cell, _, below, _ = problems.built_cell(name)
    cell = cell.clone(dtype=jnp.bfloat16)
    params = jax.eval_shape(cell.init, jax.random.key(1), below)
    w, u = jax.eval_shape(cell.apply, params, below)
    straight = jax.eval_shape(cell.straight, w, u)
    assert jax.eval_shape(cell.step, straight, w, u).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("window", "sees"), [(1, 1), (3, 9)])
def test_window_is_how_far_the_straight_output_sees(window, sees):
    below = jnp.zeros((1, 7, 7, 3))
    cell = CELLS["cascade"](features=16, window=window, norm=False)
    params = jax.jit(cell.init)(jax.random.key(0), below)
    straight = jax.jit(lambda x: cell.straight(*cell.apply(params, x)))
    change = straight(below.at[0, 3, 3].set(1.0)) - straight(below)
    assert int(jnp.any(change != 0, axis=-1).sum()) == sees


BATCH = 12


@functools.cache
def reinjected():
    """Parameters, activations below, the injection before; compiled value and gradients.

    Of buckets of 12, 9, 6, 5 and 3 samples, and of a single bucket.
    """
    cell = ConcaveConv(features=8)
    below, before = jax.random.normal(jax.random.key(0), (2, BATCH, 4, 4, 3))
    params = jax.jit(cell.init)(jax.random.key(1), below)

    def loss(min_bucket, params, below, u, changed):
        again = cell.apply(params, below, changed, u, min_bucket, method=reinject)
        weights = [jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape) for leaf in again.values()]
        return sum(jnp.sum(a * b) for a, b in zip(weights, again.values(), strict=True)), again

    def differentiated(min_bucket):
        value = functools.partial(loss, min_bucket)
        return jax.jit(jax.value_and_grad(value, (0, 1, 2), has_aux=True))

    old, new = (jax.jit(cell.apply)(params, x)[1] for x in (before, below))
    return params, below, old, new, differentiated(3), differentiated(0)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 7, 9, 12])
def test_samples_that_changed_are_injected_again(count):
    """And no others, in every bucket; places in the bucket are not those in the batch."""
    params, below, old, new, in_buckets, plain = reinjected()
    changed = jnp.isin(jnp.arange(BATCH), jax.random.permutation(jax.random.key(2), BATCH)[:count])
    (_, again), gradients = in_buckets(params, below, old, changed)
    (_, expected), expected_gradients = plain(params, below, old, changed)
    for name, leaf in again.items():
        assert jnp.array_equal(leaf[~changed], old[name][~changed])
        assert jnp.allclose(leaf[changed], new[name][changed], atol=1e-5)
        assert not jnp.allclose(old[name], new[name], atol=0.1)
    close = lambda a, b: bool(jnp.allclose(a, b, atol=1e-4))
    assert jax.tree.all(jax.tree.map(close, (again, gradients), (expected, expected_gradients)))
