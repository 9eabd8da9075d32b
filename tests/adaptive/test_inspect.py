"""A model from outside: costs by hand, shapes, certificates, and the report of backward solves."""

import jax
import jax.numpy as jnp
import pytest

import dynalay_jax
from dynalay_jax.adaptive.inspect import certificate, costs, init, probes, shapes
from dynalay_jax.adaptive.model import DynaLay

pytestmark = pytest.mark.usefixtures("flax_promotion")

SHAPE = (8, 8, 3)
MODEL = DynaLay(classes=5, widths=(8, 8, 16), strides=(1, 2, 1))


@pytest.mark.parametrize("residuals", [False, True])
def test_costs_are_counted_from_shapes(residuals):
    counted = costs(MODEL.clone(residual_features=residuals), SHAPE)
    # Injection: a 3×3 and, for the gate, a convolution of the stride's size.
    assert counted.inject[0] == 64 * (9 + 1) * 3 * 8
    assert counted.inject[1] == 16 * (9 + 4) * 8 * 8
    assert counted.step == (64 * 9 * 64, 16 * 9 * 64, 16 * 9 * 256)
    assert counted.head == 2 * 16 * 5
    net = counted.agent - (sum(counted.step) + sum(counted.inject)) * residuals
    assert 0 < net < 60_000


def test_shared_weights_cost_a_sample_nothing():
    counted = costs(MODEL.clone(cell="orthogonal"), SHAPE)
    assert counted.inject[0] == 64 * 9 * 3 * 8
    assert counted.step[0] == 64 * (9 * 8 + 64)


def test_shapes_are_those_of_init():
    params = init(MODEL, jax.random.key(2), SHAPE)
    same = lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype)
    assert jax.tree.all(jax.tree.map(same, shapes(MODEL, SHAPE), params))


@pytest.mark.parametrize(("cell", "factor"), [("bounded", 0.99), ("concave", None)])
def test_certificate_is_the_factor_of_each_cell(cell, factor):
    model = MODEL.clone(cell=cell, widths=(8, 8), strides=(1, 2))
    found = certificate(model, init(model, jax.random.key(2), SHAPE), jnp.ones((1, *SHAPE)))
    assert found == [None if factor is None else pytest.approx(factor, abs=1e-3)] * 2


def test_probes_are_for_backward_solves():
    assert probes(MODEL.clone(rounds=2), 6).steps.shape == (2, 3, 6)
    assert probes(MODEL.clone(adjoint=dynalay_jax.Unrolled()), 6) is None
