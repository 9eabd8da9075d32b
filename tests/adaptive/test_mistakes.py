"""Mistakes in calls of the model are answered in one line, before anything is computed."""

import functools

import jax
import jax.numpy as jnp
import pytest

import dynalay_jax
from dynalay_jax import adaptive
from dynalay_jax.adaptive import DynaLay, Objective, routers

pytestmark = pytest.mark.usefixtures("flax_promotion")

NAN = float("nan")
SHAPE = (4, 4, 3)
KEY = jax.random.key(0)
X = jnp.ones((4, *SHAPE))
FIELDS = dict(classes=5, widths=(8, 8), strides=(1, 2), cell="plain")
MODEL = DynaLay(**FIELDS)
COSTS = adaptive.Costs(1.0, (1.0, 1.0), (1.0, 1.0), 1.0, 1.0)
LABELS = jnp.zeros(4, jnp.int32)
MASK, STEPS = jnp.ones((1, 4, 2), bool), jnp.ones((1, 4, 2), jnp.int32)


def answer(call, *args, **options):
    """What is said instead of tracing a call."""
    with pytest.raises((TypeError, ValueError)) as caught:
        jax.eval_shape(lambda: call(*args, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def params(model=MODEL):
    return adaptive.init(model, KEY, SHAPE)


def apply(**changes):
    given = {"x": X, "router": routers.Constant(), "price": 0.1, "key": KEY} | changes
    model = given.pop("model", MODEL)
    found = given.pop("params", params)()
    return model.apply(found, *given.values())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": 0}, "classes: expected a whole number, 1 or more, got 0."),
        ({"rounds": 1.5}, "rounds: expected a whole number, 1 or more, got 1.5."),
        ({"rounds": 0}, "got 0."),
        ({"max_steps": 0}, "max_steps: expected a whole number, 1 or more, got 0."),
        ({"agent_hidden": -4}, "agent_hidden: expected a whole number, 1 or more, got -4."),
        ({"stem": -1}, "stem: expected a whole number, 0 or more, got -1."),
        ({"vocabulary": 9}, "stem: expected 1 or more, the width of the embedding, got 0."),
        ({"compact": True}, "compact: expected a whole number, 0 or more, got True."),
        ({"norm": "no"}, "norm: expected True or False, got 'no'."),
        ({"cell": "cascde"}, "got 'cascde'. Did you mean 'cascade'?"),
        ({"cell": None}, "cell: expected one of concave, "),
        ({"dtype": "int8"}, "dtype: expected a floating-point dtype, as jnp.float32, got 'int8'."),
        ({"widths": 8}, "widths: expected a tuple of whole numbers, got 8. For a single number, "),
        ({"widths": ()}, "widths: expected a tuple of whole numbers, got ()."),
        ({"widths": (8, 0)}, "widths: expected a whole number, 1 or more, got 0."),
        ({"strides": (1,)}, "strides: expected one for each of the 2 widths, got 1."),
        ({"strides": (1, 1.5)}, "strides: expected a whole number, 1 or more, got 1.5."),
        ({"windows": (3,)}, "windows: expected one for each of the 2 widths, got 1."),
        ({"cell": "concave", "own": 2.0}, "own: expected a number from 0 to 1, got 2.0."),
    ],
)
def test_fields(fields, message):
    assert message in answer(lambda: params(DynaLay(**(FIELDS | fields))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x": X[0]},
            f"x: expected shape [B, height, width, channels], got {SHAPE}. Pass x[None] for a "
            "single sample.",
        ),
        ({"x": X.reshape(4, -1)}, "x: expected shape [B, height, width, channels], got (4, 48)."),
        ({"x": None}, "x: expected an array [B, height, width, channels], got NoneType."),
        ({"x": X.astype(complex)}, "x: expected real numbers, got complex64."),
        ({"x": X[..., :1]}, "params: expected those of init(model, key, (4, 4, 1)) for this model"),
        ({"params": lambda: params()["params"]}, 'Tried to access "kernel" from collection'),
        (
            {"params": lambda: params(MODEL.clone(widths=(8, 4)))},
            "params: expected those of init(model, key, (4, 4, 3)) for this model and x, got",
        ),
        ({"price": None}, "price: expected a number above 0, got None."),
        ({"price": 0.0}, "price: expected a number above 0, got 0.0."),
        ({"price": -1}, "got -1."),
        ({"price": jnp.array([0.1, NAN, 0.1, 0.1])}, "price: expected a number above 0, got nan."),
        ({"price": jnp.ones(3)}, "price: expected a scalar or one value for each sample, shape (4"),
        ({"key": None}, "key: expected a key, as jax.random.key(0), got None."),
        ({"key": jax.random.split(KEY)}, "key: expected one key, got key<fry> (2,). Use jax.vmap"),
        ({"probe": dynalay_jax.backward_probe(4)}, "probe: expected None or probes(model, 4), got"),
        ({"probe": "x"}, "probe: expected None or probes(model, 4), got 'x'."),
        ({"router": "agent"}, "router: expected a router, as routers.Agent() or routers.Constant("),
        ({"router": routers.Agent}, "got Agent."),
        (
            {"router": lambda key, seen: LABELS},
            "the mask of router: expected bool (4, 2), got int32 (4",
        ),
        ({"router": lambda key, seen: None}, "the mask of router: expected bool (4, 2), got None."),
        (
            {"router": routers.Constant((5,))},
            "iterated: expected a tuple of layers from 0 to 1, as",
        ),
        ({"router": routers.Constant((-1,))}, "or None for all, got (-1,)."),
        ({"router": routers.Constant(1)}, "or None for all, got 1."),
        ({"router": routers.Constant((True, False))}, "or None for all, got (True, False)."),
        ({"router": routers.Random(3.0)}, "Random(rate=...): expected a number from 0 to 2, got 3"),
        ({"router": routers.Random(None)}, "got None."),
        ({"router": routers.Confidence(90)}, "Confidence(threshold=...): expected a number from 0"),
        (
            {"router": routers.Agent(2.0)},
            "epsilon: expected a number from 0 to 1, got 2.0.",
        ),
        ({"router": routers.Warmup(2.0, 0.0)}, "Warmup(straight=...): expected a number from 0 to"),
        ({"router": routers.Warmup(0.8, 0.8)}, "Warmup: straight + all_layers: expected a number"),
        (
            {"router": routers.Warmup(layers=9)},
            "Warmup(layers=...): expected 0 to 2 layers, got 9.",
        ),
        ({"router": routers.Mixture(2.0, routers.Agent(), routers.Agent())}, "Mixture(share=...)"),
        ({"router": routers.Mixture(0.5, "agent", routers.Agent())}, "expected a router, as"),
        (
            {"router": routers.Switch(7, (routers.Agent(), routers.Constant()))},
            "Switch(index=...): expected the number of one of 2 choices, got 7.",
        ),
        ({"router": routers.Switch(0, ())}, "of one of 0 choices, got 0."),
        ({"router": routers.Switch(0.5, (routers.Agent(),))}, "of one of 1 choices, got 0.5."),
    ],
)
def test_inputs(changes, message):
    assert message in answer(apply, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": jnp.zeros(4)}, "labels: expected integer numbers, got float32."),
        ({"labels": jnp.zeros((4, 5), int)}, "labels: expected shape [B], got (4, 5)."),
        ({"labels": LABELS[:3]}, "labels: expected one for each of 4 samples, got 3."),
        ({"labels": jnp.full(4, 9)}, "labels: expected classes from 0 to 4, got 9."),
        ({"x": X[0]}, "Pass x[None] for a single sample."),
        ({"price": None}, "price: expected a number above 0, got None."),
        ({"params": None}, "params: expected those of init, got NoneType."),
        ({"costs": None}, "costs: expected costs(model, input_shape), got None."),
        ({"costs": COSTS._replace(step=(1.0,))}, "expected those of a model of 2 layers, got 1."),
    ],
)
@pytest.mark.parametrize("loss", ["main", "agent"])
def test_losses(loss, changes, message):
    given = {"x": X, "labels": LABELS, "price": 0.1, "key": KEY, "costs": COSTS} | changes
    if loss == "main":
        call = functools.partial(adaptive.main_loss, router=routers.Agent())
    else:
        call = functools.partial(adaptive.agent_loss, settings=Objective())
    assert message in answer(lambda: call(MODEL, **({"params": params()} | given)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {}}, "settings: expected an Objective, got {}."),
        ({"epsilon": 2.0}, "epsilon: expected a number from 0 to 1, got 2.0."),
        ({"floor": 0.9}, "floor: expected a number from 0 to below 1/3, got 0.9."),
        ({"entropy": "x"}, "entropy: expected a number, 0 or more, got 'x'."),
        ({"key": 3}, "key: expected a key, as jax.random.key(0), got 3."),
    ],
)
def test_options_of_the_agents_loss(options, message):
    given = {"settings": Objective(), "costs": COSTS, "key": KEY} | options
    loss = lambda: adaptive.agent_loss(MODEL, params(), X, LABELS, 0.1, **given)
    assert message in answer(loss)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Objective(estimator="reinforc"), "got 'reinforc'. Did you mean 'reinforce'?"),
        (lambda: Objective(alpha="1"), "alpha: expected a number, 0 or more, got '1'."),
        (lambda: Objective(gamma=-1.0), "gamma: expected a number, 0 or more, got -1.0."),
        (lambda: Objective(fraction=2.0), "fraction: expected a number from 0 to 1, got 2.0."),
        (lambda: Objective(temperature=0.0), "temperature: expected a number above 0, got 0.0."),
        (lambda: routers.by_name(0.5, 0), "layers: expected a whole number, 1 or more, got 0."),
        (lambda: adaptive.AgentNet(1), "actions: expected a whole number, 2 or more, got 1."),
        (lambda: adaptive.AgentNet(3).init(KEY, X), "phi: expected Phi(activations, metrics), got"),
        (lambda: adaptive.init(KEY, MODEL, SHAPE), "model: expected a DynaLay, got key<fry> ()."),
        (lambda: adaptive.init(MODEL, 0, SHAPE), "key: expected a key, as jax.random.key(0), got"),
        (lambda: adaptive.init(MODEL, KEY, X[0]), "input_shape: expected a tuple of whole numbers"),
        (lambda: adaptive.costs(MODEL, X.shape), "input_shape: expected (height, width, channels)"),
        (lambda: adaptive.costs("m", SHAPE), "model: expected a DynaLay, got 'm'."),
        (lambda: adaptive.probes(None, 4), "model: expected a DynaLay, got None."),
        (lambda: adaptive.call(DynaLay, {}, "begin", X), "model: expected a DynaLay, got DynaLay."),
        (
            lambda: MODEL.apply(params(), adaptive.State((), (), X, X, X), LABELS, method="sweep"),
            "iterate: expected bool (4, 2), got int32 (4,).",
        ),
        (
            lambda: adaptive.init(
                MODEL.clone(vocabulary=9, stem=4, windows=(1, 1)), KEY, (1, 7, 3)
            ),
            "x: expected tokens [B, height, width, 1], got shape (1, 1, 7, 3).",
        ),
        (lambda: adaptive.budget(None, 5), "costs: expected costs(model, input_shape), got None."),
        (
            lambda: adaptive.probes(MODEL, "4"),
            "batch: expected a whole number, 0 or more, got '4'.",
        ),
        (lambda: adaptive.budget(COSTS, -1), "max_steps: expected a whole number, 0 or more, got"),
        (
            lambda: adaptive.spent(COSTS, STEPS, MASK),
            "iterate, steps: expected bool and int32 of one shape [rounds, B, L], got int32 (1, 4",
        ),
        (
            lambda: adaptive.spent(COSTS, MASK[..., :1], STEPS[..., :1]),
            "a model of 1 layers, got 2",
        ),
    ],
)
def test_other_calls(call, message):
    assert message in answer(call)


def test_a_single_price_serves_a_batch():
    """In the losses as in a pass."""
    loss = lambda price: adaptive.main_loss(
        MODEL, params(), X, LABELS, routers.Agent(), price, KEY, COSTS
    )[0]
    agents = lambda price: adaptive.agent_loss(
        MODEL, params(), X, LABELS, price, KEY, Objective(), COSTS
    )[0]
    for value in (loss, agents):
        assert jax.eval_shape(lambda value=value: value(0.1)).shape == ()
