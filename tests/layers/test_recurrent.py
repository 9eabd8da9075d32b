"""The LSTM cell: straight it is Flax's LSTM, iterated one that reads itself, and always causal."""

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


@pytest.fixture(scope="module")
def built(flax_promotion):
    """Cell, and (w, u) of 3 samples of 2 rows."""
    cell = CELLS["lstm"](features=FEATURES, window=1, norm=False)
    below = jax.random.normal(jax.random.key(0), (3, 2, LENGTH, 4))
    return cell, *cell.apply(cell.init(jax.random.key(1), below), below)


def flax_lstm(w, x):
    parts = lambda name: jnp.split(w[name], 4, axis=-1)
    params = {f"i{gate}": {"kernel": k} for gate, k in zip("ifgo", parts("input"), strict=True)}
    for gate, kernel, bias in zip("ifgo", parts("recurrent"), parts("bias"), strict=True):
        params[f"h{gate}"] = {"kernel": kernel, "bias": bias}
    lstm = nn.RNN(nn.OptimizedLSTMCell(FEATURES))
    return lstm.apply({"params": {"cell": params}}, x)


def test_straight_it_is_an_lstm_along_the_width(built):
    cell, w, u = built
    np.testing.assert_allclose(cell.straight(w, u), flax_lstm(w, u), atol=1e-6)


def test_a_fixed_point_is_an_lstm_that_reads_its_own_output(built):
    cell, w, u = built
    z = fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-6, max_steps=100).value
    np.testing.assert_allclose(z, flax_lstm(w, u + z @ w["feedback"]), atol=1e-5)
    assert float(jnp.abs(z - cell.straight(w, u)).max()) > 0.05


def test_no_position_hears_a_later_one(built):
    cell, w, u = built
    solve = lambda u: fixed_point(cell.step, cell.straight(w, u), w, u, tol=1e-6, max_steps=100)
    moved = jnp.abs(solve(u.at[:, :, 3].add(1.0)).value - solve(u).value).max((0, 1, 3))
    assert float(moved[:3].max()) < 1e-5 and float(moved[3:].min()) > 1e-3


def test_feedback_never_expands():
    cell = CELLS["lstm"](features=FEATURES)
    below = jnp.zeros((1, 1, LENGTH, 4))
    params = cell.init(jax.random.key(1), below)["params"]
    extreme = {"v": 10 * jax.random.normal(jax.random.key(2), (FEATURES, FEATURES)), "k": 100.0}
    w, _ = cell.apply({"params": {**params, **extreme}}, below)
    assert 0.98 < float(jnp.linalg.norm(w["feedback"], 2)) < 1


def test_costs_are_those_of_its_matrix_products():
    model = DynaLay(2, (FEATURES,), (1,), (1,), "lstm", stem=3, vocabulary=5, norm=False)
    found = costs(model, (1, LENGTH, 1))
    # An embedding is looked up; injection, input and recurrent kernels; and the feedback.
    assert found.stem == 0
    assert found.inject == (LENGTH * FEATURES * (3 + 2 * 4 * FEATURES),)
    assert found.step == (LENGTH * FEATURES * 9 * FEATURES,)


def test_memory_is_kept_in_float32(built):
    cell, w, u = built
    half = cell.straight(w, u.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), cell.straight(w, u), atol=0.02)


def test_text_needs_the_width_of_its_embedding():
    with pytest.raises(ValueError, match=r"stem: expected 1 or more, the width of the embedding"):
        costs(DynaLay(2, (8,), (1,), (1,), "lstm", vocabulary=5), (1, LENGTH, 1))


def test_implicit_gradients_are_those_of_unrolling(built):
    cell, w, u = built

    def loss(w, u, **options):
        z = fixed_point(cell.step, cell.straight(w, u), w, u, tol=0.0, max_steps=40, **options)
        return jnp.sum(jnp.sin(z.value))

    implicit = jax.grad(loss, (0, 1))(w, u)
    unrolled = jax.grad(lambda w, u: loss(w, u, adjoint=Unrolled()), (0, 1))(w, u)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4)
    jax.tree.map(close, implicit, unrolled)
