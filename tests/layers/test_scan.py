"""The scan cell: its recurrence, that it is solved exactly, and that it can turn signs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import fixed_point
from dynalay_jax.layers.registry import CELLS

pytestmark = pytest.mark.usefixtures("flax_promotion")

FEATURES, LENGTH = 8, 6


@functools.cache
def built():
    """Cell, parameters, and 3 samples of 2 rows."""
    cell = CELLS["scan"](features=FEATURES)
    below = jax.random.normal(jax.random.key(0), (3, 2, LENGTH, 2))
    return cell, cell.init(jax.random.key(1), below), below


def recurrence(w, u):
    """The fixed point, one position after the other."""
    half = FEATURES // 2
    offset, read = u["offset"][..., :half], u["offset"][..., half:]
    memory = [offset[:, :, 0]]
    for t in range(1, LENGTH):
        memory.append(u["transition"][:, :, t] * memory[-1] + offset[:, :, t])
    s = jnp.stack(memory, axis=2)
    return jnp.concatenate([s, jnp.maximum(s @ w[0, 0] + read, 0)], axis=-1)


def evaluate(cell, z, w, u, times):
    return jax.jit(lambda z: functools.reduce(lambda z, _: cell.step(z, w, u), range(times), z))(z)


def test_any_start_reaches_the_recurrence_exactly():
    cell, params, below = built()
    w, u = cell.apply(params, below)
    expected = recurrence(w, u)
    straight = cell.straight(w, u)
    far = 100 * jax.random.normal(jax.random.key(2), straight.shape)
    for start, enough in ((straight, LENGTH), (far, LENGTH + 1)):
        reached = evaluate(cell, start, w, u, enough)
        np.testing.assert_allclose(reached, expected, rtol=1e-5, atol=1e-5)
        assert jnp.array_equal(evaluate(cell, reached, w, u, 1), reached)
        assert not jnp.array_equal(evaluate(cell, start, w, u, enough - 1), reached)
    solution = fixed_point(cell.step, straight, w, u, tol=0.0, max_steps=LENGTH + 1)
    assert solution.stats.steps.tolist() == [LENGTH + 1] * 3
    assert bool((solution.stats.status == 0).all()) and not solution.stats.residual.any()


def test_implicit_gradient_is_that_of_the_recurrence():
    cell, params, below = built()

    def loss(solve, params, below):
        return jnp.sum(jnp.sin(solve(*cell.apply(params, below))))

    def solved(w, u):
        start = cell.straight(w, u)
        return fixed_point(cell.step, start, w, u, tol=1e-7, max_steps=LENGTH + 2).value

    implicit, expected = (
        jax.jit(jax.grad(functools.partial(loss, solve), argnums=(0, 1)))(params, below)
        for solve in (solved, recurrence)
    )
    for ours, theirs in zip(jax.tree.leaves(implicit), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_contracts_where_later_positions_and_the_read_out_weigh_less():
    cell, params, below = built()
    w, u = cell.apply(params, below)
    factor, half = 0.5, FEATURES // 2
    weights = factor ** np.arange(LENGTH)[:, None] * np.ones(FEATURES)
    weights[:, half:] *= factor / np.abs(w[0, 0]).sum(0).max()
    norm = lambda z: float(jnp.abs(z * weights).max())
    a, b = 100 * jax.random.normal(jax.random.key(3), (2, *u["offset"].shape))
    step = jax.jit(cell.step)
    assert 0 < norm(step(a, w, u) - step(b, w, u)) <= factor * norm(a - b) * (1 + 1e-5)


def test_nothing_is_read_from_later_positions_or_other_rows():
    """Only the injection's window looks ahead; here it is one position wide, without a norm."""
    _, _, below = built()
    cell = CELLS["scan"](features=FEATURES, window=1, norm=False)
    params = cell.init(jax.random.key(1), below)

    def solve(below):
        w, u = cell.apply(params, below)
        return evaluate(cell, cell.straight(w, u), w, u, LENGTH)

    changed = jnp.any(solve(below) != solve(below.at[0, 1, 2].add(1.0)), axis=-1)
    expected = np.zeros((3, 2, LENGTH), bool)
    expected[0, 1, 2:] = True
    np.testing.assert_array_equal(changed, expected)


def test_transitions_of_minus_one_give_parity():
    """By hand: a one turns the memory, all else keeps it, and nothing is added on the way."""
    cell = CELLS["scan"](features=2, norm=False)
    ones = jax.random.bernoulli(jax.random.key(5), 0.5, (16, 1, 40, 1)).astype(jnp.float32)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), ones))
    own = params["params"]
    own["first"] = jnp.ones((1,))
    own["transition"] = {"kernel": jnp.full((1, 1, 1, 1), -40.0), "bias": jnp.full((1,), 20.0)}
    w, u = cell.apply({"params": own}, ones)
    solution = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-5, max_steps=41)
    parity = 1 - 2 * (np.asarray(ones).sum((1, 2, 3)) % 2)
    np.testing.assert_allclose(solution.value[:, 0, -1, 0], parity, atol=1e-5)


def test_memory_and_read_out_are_equally_wide():
    with pytest.raises(ValueError, match="even numbers for scan cells, got 7"):
        CELLS["scan"](features=7).init(jax.random.key(0), jnp.zeros((1, 1, 4, 2)))
