"""Mistakes in calls of the layers are answered in one line, before anything is computed."""

import jax
import jax.numpy as jnp
import pytest

from dynalay_jax import layers
from dynalay_jax.layers.registry import CELLS, STATIC

pytestmark = pytest.mark.usefixtures("flax_promotion")

CELL = CELLS | STATIC | {"base": layers.Cell}
IMAGE = (2, 4, 4, 3)
EYE, INTEGERS, EMPTY = jnp.eye(3), jnp.eye(3, dtype=int), jnp.ones((0, 3))


def build(name, shape=IMAGE, **fields):
    """Traces a cell and a step."""
    cell = CELL[name](**{"features": 8, **fields})
    below = jax.ShapeDtypeStruct(shape, jnp.float32)

    def step(below):
        w, u = cell.init_with_output(jax.random.key(0), below)[0]
        return cell.step(cell.straight(w, u), w, u)

    jax.eval_shape(step, below)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("concave", {"features": 0}, "features: expected a whole number, 1 or more, got 0."),
        ("concave", {"features": -1}, "got -1."),
        ("concave", {"features": 1.5}, "got 1.5."),
        ("concave", {"features": "8"}, "got '8'."),
        ("concave", {"features": True}, "got True."),
        ("plain", {"stride": 0}, "stride: expected a whole number, 1 or more, got 0."),
        ("plain", {"stride": (2, 2)}, "got (2, 2)."),
        ("free", {"window": 0}, "window: expected a whole number, 1 or more, got 0."),
        ("free", {"dtype": jnp.int32}, "dtype: expected a floating-point dtype, as jnp.float32"),
        ("free", {"dtype": "flaot32"}, "got 'flaot32'."),
        ("free", {"dtype": None}, "got None."),
        ("cascade", {"groups": 0}, "groups: expected a whole number, 1 or more, got 0."),
        ("cascade", {"features": 18}, "widths: expected multiples of the cascade's 4 groups"),
        ("scan", {"features": 7}, "widths: expected even numbers for scan cells, got 7."),
        ("residual", {"features": 2}, "at least as wide as the 3 channels below them, got 2."),
        ("orthogonal", {"activation": "gelu"}, "expected one of abs, relu, tanh, groupsort, got"),
        ("orthogonal", {"activation": "Relu"}, "Did you mean 'relu'?"),
        (
            "bounded",
            {"activation": "groupsort", "features": 7},
            "widths: expected even numbers for groupsort, got 7.",
        ),
        ("bounded", {"max_factor": 2.0}, "max_factor: expected a number in (0, 1), got 2.0."),
        ("bounded", {"max_factor": -1.0}, "got -1.0."),
        ("lstm", {"max_factor": 1.0}, "got 1.0."),
        ("concave", {"own": 2.0}, "own: expected a number from 0 to 1, got 2.0."),
        ("concave", {"gain": 0.0}, "gain: expected a number above 0, got 0.0."),
        ("concave", {"gain": float("nan")}, "got nan."),
        ("concave", {"gain": "large"}, "got 'large'."),
        ("separable", {"offset": -1.0}, "offset: expected a number, 0 or more, got -1.0."),
        ("base", {}, "Cell: expected a __call__ of its own."),
    ],
)
def test_fields(name, fields, message):
    with pytest.raises((TypeError, ValueError, NotImplementedError)) as caught:
        build(name, **fields)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CELLS | STATIC)
def test_inputs_without_a_batch_axis(name):
    shape = (12,) if name == "dense" else IMAGE[1:]
    form = "[B, ...]" if name == "dense" else "[B, height, width, channels]"
    with pytest.raises(ValueError) as caught:
        build(name, shape)
    cure = "Pass below[None] for a single sample."
    assert str(caught.value) == f"below: expected shape {form}, got {shape}. {cure}"


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("orthogonal", [jnp.ones(2)], "v: expected shape [m, n], got (2,)."),
        ("orthogonal", [INTEGERS], "v: expected floating numbers, got int32."),
        ("orthogonal", [EYE.astype(complex)], "v: expected floating numbers, got complex64."),
        ("orthogonal", [[[1.0]]], "v: expected an array [m, n], got list."),
        ("orthogonal", [EMPTY], "v: expected at least one entry, got shape (0, 3)."),
        ("orthogonal", [EYE, "cayley"], "steps: expected a whole number, 1 or more, got 'cayley'"),
        ("orthogonal", [EYE, 0], "got 0."),
        ("contractive", [EYE, 0.0, 1.0], "max_factor: expected a number in (0, 1), got 1.0."),
        ("contractive", [EYE, jnp.ones(2)], "k: expected one real number, got"),
        ("contractive", [EYE, None], "k: expected one real number, got None."),
        ("dense_bound", [jnp.ones(2)], "w: expected shape [m, n], got (2,)."),
        ("dense_bound", [INTEGERS], "w: expected floating numbers, got int32."),
        ("dense_bound", [EYE, -1], "iterations: expected a whole number, 0 or more, got -1."),
        ("conv_bound", [EYE], "kernel: expected shape [h, w, in, out], got (3, 3)."),
        ("depthwise_bound", [jnp.ones((3, 3, 2, 4))], "kernel: expected shape [h, w, 1, channels]"),
    ],
)
def test_matrices(function, arguments, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        getattr(layers, function)(*arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_integer_gain_is_a_number():
    assert layers.contractive(EYE, 0)[0, 0] == pytest.approx(0.495)
