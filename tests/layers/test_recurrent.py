"""LSTM and scan cells: what each computes straight and iterated, exactly and causally."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax import Unrolled, fixed_point
from dynalay_jax.adaptive.inspect import costs
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.layers.registry import CELLS

pytestmark = pytest.mark.usefixtures("flax_promotion")

FEATURES, LENGTH = 8, 5
BELOW = jax.random.normal(jax.random.key(0), (3, 2, LENGTH, 4))
# With the width, nothing but the iteration looks at other positions.
CAUSAL = dict(window=1, norm=False)


@functools.cache
def built(name, **fields):
    """Cell, its parameters, and (w, u) of 3 samples of 2 rows."""
    cell = CELLS[name](features=FEATURES, **fields)
    params = jax.jit(cell.init)(jax.random.key(1), BELOW)
    return cell, params, *jax.jit(cell.apply)(params, BELOW)


@functools.cache
def solver(cell):
    """Compiled solve of (w, u), to rounding."""
    return jax.jit(
        lambda w, u: fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-6, max_steps=100)
    )


@pytest.mark.parametrize("name", ["lstm", "scan"])
def test_no_position_reads_a_later_one_or_another_row(name):
    cell, params, *_ = built(name, **CAUSAL)
    solve = lambda below: solver(cell)(*jax.jit(cell.apply)(params, below)).value
    moved = jnp.abs(solve(BELOW.at[0, 1, 2].add(1.0)) - solve(BELOW)).max(-1) > 1e-4
    expected = np.zeros((3, 2, LENGTH), bool)
    expected[0, 1, 2:] = True
    np.testing.assert_array_equal(moved, expected)


def flax_lstm(w, x):
    parts = lambda name: jnp.split(w[name], 4, axis=-1)
    params = {f"i{gate}": {"kernel": k} for gate, k in zip("ifgo", parts("input"), strict=True)}
    for gate, kernel, bias in zip("ifgo", parts("recurrent"), parts("bias"), strict=True):
        params[f"h{gate}"] = {"kernel": kernel, "bias": bias}
    lstm = nn.RNN(nn.OptimizedLSTMCell(FEATURES))
    return lstm.apply({"params": {"cell": params}}, x)


def test_lstm_is_flaxs_and_its_fixed_point_one_that_reads_its_own_output():
    cell, _, w, u = built("lstm", **CAUSAL)
    straight = cell.straight(w, u)
    np.testing.assert_allclose(straight, flax_lstm(w, u), atol=1e-6)
    z = solver(cell)(w, u).value
    np.testing.assert_allclose(z, flax_lstm(w, u + z @ w["feedback"]), atol=1e-5)
    assert float(jnp.abs(z - straight).max()) > 0.05
    half = cell.straight(w, u.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), straight, atol=0.02)
    assert cell.contraction_factor(w) is None


def test_lstm_feedback_never_expands():
    cell, params, *_ = built("lstm", **CAUSAL)
    extreme = {"v": 10 * jax.random.normal(jax.random.key(2), (FEATURES, FEATURES)), "k": 100.0}
    w, _ = jax.jit(cell.apply)({"params": {**params["params"], **extreme}}, BELOW)
    assert 0.98 < float(jnp.linalg.norm(w["feedback"], 2)) < 1


def test_lstm_costs_are_those_of_its_matrix_products():
    model = DynaLay(2, (FEATURES,), (1,), (1,), "lstm", stem=3, vocabulary=5, norm=False)
    found = costs(model, (1, LENGTH, 1))
    # An embedding is looked up; injection, input and recurrent kernels; and the feedback.
    assert found.stem == 0
    assert found.inject == (LENGTH * FEATURES * (3 + 2 * 4 * FEATURES),)
    assert found.step == (LENGTH * FEATURES * 9 * FEATURES,)
    with pytest.raises(ValueError, match=r"stem: expected 1 or more, the width of the embedding"):
        costs(model.clone(stem=0), (1, LENGTH, 1))


def recurrence(w, u):
    """The fixed point of a scan cell, one position after the other."""
    half = FEATURES // 2
    offset, read = u["offset"][..., :half], u["offset"][..., half:]
    memory = [offset[:, :, 0]]
    for t in range(1, LENGTH):
        memory.append(u["transition"][:, :, t] * memory[-1] + offset[:, :, t])
    s = jnp.stack(memory, axis=2)
    return jnp.concatenate([s, jnp.maximum(s @ w[0, 0] + read, 0)], axis=-1)


@pytest.mark.parametrize("name", ["lstm", "scan"])
def test_implicit_gradient_is_that_of_unrolling_or_the_recurrence(name):
    cell, _, w, u = built(name)

    def loss(value, w, u):
        return jnp.sum(jnp.sin(value(w, u)))

    def solved(w, u, **options):
        start = cell.straight(w, u)
        return fixed_point(cell.step, start, w, u, tol=1e-7, max_steps=40, **options).value

    known = recurrence if name == "scan" else functools.partial(solved, adjoint=Unrolled())
    implicit, expected = (
        jax.jit(jax.grad(functools.partial(loss, value), (0, 1)))(w, u) for value in (solved, known)
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, implicit, expected)


def test_scan_reaches_the_recurrence_exactly_from_any_start():
    cell, _, w, u = built("scan")
    step, expected, straight = jax.jit(cell.step), recurrence(w, u), cell.straight(w, u)
    far = 100 * jax.random.normal(jax.random.key(2), straight.shape)
    for start, enough in ((straight, LENGTH), (far, LENGTH + 1)):
        iterates = [start]
        for _ in range(enough + 1):
            iterates.append(step(iterates[-1], w, u))
        *_, short, reached, after = iterates
        np.testing.assert_allclose(reached, expected, rtol=1e-5, atol=1e-5)
        assert jnp.array_equal(after, reached) and not jnp.array_equal(short, reached)
    solution = fixed_point(cell.step, straight, w, u, tol=0.0, max_steps=LENGTH + 1)
    assert solution.stats.steps.tolist() == [LENGTH + 1] * 3
    assert bool((solution.stats.status == 0).all()) and not solution.stats.residual.any()


def test_scan_contracts_where_later_positions_and_the_read_out_weigh_less():
    cell, _, w, u = built("scan")
    factor, half = 0.5, FEATURES // 2
    weights = factor ** np.arange(LENGTH)[:, None] * np.ones(FEATURES)
    weights[:, half:] *= factor / np.abs(w[0, 0]).sum(0).max()
    norm = lambda z: float(jnp.abs(z * weights).max())
    a, b = 100 * jax.random.normal(jax.random.key(3), (2, *u["offset"].shape))
    step = jax.jit(cell.step)
    assert 0 < norm(step(a, w, u) - step(b, w, u)) <= factor * norm(a - b) * (1 + 1e-5)
    assert cell.contraction_factor(w) is None


def test_scan_transitions_of_minus_one_give_parity():
    """By hand: a one turns the memory, all else keeps it, and nothing is added on the way."""
    cell = CELLS["scan"](features=2, norm=False)
    ones = jax.random.bernoulli(jax.random.key(5), 0.5, (16, 1, 40, 1)).astype(jnp.float32)
    shapes = jax.eval_shape(cell.init, jax.random.key(0), ones)
    own = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)["params"]
    own["first"] = jnp.ones((1,))
    own["transition"] = {"kernel": jnp.full((1, 1, 1, 1), -40.0), "bias": jnp.full((1,), 20.0)}
    w, u = cell.apply({"params": own}, ones)
    solution = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-5, max_steps=41)
    parity = 1 - 2 * (np.asarray(ones).sum((1, 2, 3)) % 2)
    np.testing.assert_allclose(solution.value[:, 0, -1, 0], parity, atol=1e-5)
