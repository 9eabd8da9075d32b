import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import CURVE, saved

from dynalay_jax import Predictor, Status
from dynalay_jax.adaptive import routers, spent
from dynalay_jax.layers.registry import CELLS, STATIC
from dynalay_jax.predict import routed

pytestmark = pytest.mark.usefixtures("flax_promotion")
IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 1), np.uint8)
PRICES = (0.01, 0.1, 1.0)


@pytest.fixture(scope="module")
def predictor():
    """Two rounds, and an agent that takes several routes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        model = saved(rounds=2)
        agent = model.variables["params"]["agent"]
        spread = lambda leaf: 3 * jnp.sign(leaf) * jnp.abs(leaf) ** 0.5
        model.variables["params"]["agent"] = jax.tree.map(spread, agent)
        return Predictor(model, batch_sizes=(2, 8))


def test_a_prediction_is_what_the_model_says(predictor):
    found = predictor.predict(IMAGES, price=0.3)
    model, variables = predictor.saved.model, predictor.saved.variables
    x = (IMAGES.astype(np.float32) / 255 - 0.5) / 0.25
    apply = lambda x, key: model.apply(variables, x, routers.Agent(), 0.3, key)
    logits, trace = jax.jit(apply)(x, jax.random.key(5))
    assert (found.labels == logits.argmax(-1)).all()
    assert (found.names == np.array(["ant", "bee", "cat"])[found.labels]).all()
    assert np.allclose(found.probabilities, jax.nn.softmax(logits), atol=1e-5)
    sweeps = trace.sweeps
    assert (found.steps == sweeps.steps.sum((0, 2))).all()
    assert (found.routes == routed.route_names(np.moveaxis(sweeps.iterate, 1, 0))).all()
    assert len(set(found.routes)) > 2
    straight = found.routes == "none"
    assert (np.isnan(found.residual) == straight).all()
    assert ((found.status == Status.SKIPPED) == straight).all()
    decisions = 1 + sweeps.iterate[0].any(-1)
    beyond = spent(predictor.costs, sweeps.iterate, sweeps.steps, decisions)
    assert np.allclose(found.macs, predictor.costs.straight + beyond)


def test_the_batch_changes_nothing_and_compiles_nothing(predictor):
    whole = predictor.predict(IMAGES)
    predictor.warm_up()
    compiled = predictor._forward._cache_size()
    for count in (1, 2, 4, 7, 13, 22):
        part = predictor.predict(IMAGES[:count], price=PRICES[count % 3])
        assert len(part) == count
        part = predictor.predict(IMAGES[:count] / 255)
        assert np.allclose(part.probabilities, whole.probabilities[:count], atol=1e-5)
        assert (part.routes == whole.routes[:count]).all()
    assert predictor._forward._cache_size() == compiled == 4


def test_samples_that_fill_a_batch_take_the_straight_pass(predictor):
    out = predictor._launch(IMAGES[:5], 0.001)
    assert out["iterated"][:5].any() and not out["iterated"][5:].any()


def test_a_stream_has_the_order_of_its_samples_whatever_their_dtype(predictor):
    whole = predictor.predict(IMAGES)
    mixed = [image / 255 if i % 5 == 0 else image for i, image in enumerate(IMAGES)]
    results = list(predictor.stream(iter(mixed)))
    assert [int(result.labels) for result in results] == whole.labels.tolist()
    assert np.allclose([result.macs for result in results], whole.macs)
    assert results[3].probabilities.shape == (3,)
    assert list(predictor.stream([])) == []
    wrong = [*IMAGES[:9] / 255, np.full((4, 4, 1), np.nan), IMAGES[0, 1:]]
    with pytest.raises(ValueError, match="sample 9 of the stream: images: expected finite"):
        list(predictor.stream(wrong))
    with pytest.raises(ValueError, match=r"sample 9 of the stream: .*got \(1, 3, 4, 1\)"):
        list(predictor.stream([*wrong[:9], wrong[10]]))


def test_a_stream_reads_no_more_than_two_batches_ahead(predictor):
    taken = []
    results = predictor.stream(taken.append(i) or image for i, image in enumerate(IMAGES))
    next(results)
    assert len(taken) == 17


def test_a_budget_takes_the_best_measured_price(predictor):
    by_budget = lambda macs: predictor.predict(IMAGES[:2], budget_macs=macs)
    assert by_budget(1e9).expected == CURVE[0] and by_budget(1e9).price == 0.1
    assert by_budget(1999).expected == CURVE[2], "of equal accuracy, the cheaper one"
    assert predictor.predict(IMAGES[:2], price=0.2).expected is None
    assert predictor.predict(IMAGES[:2]).expected == CURVE[0], "the model's own price"
    for arguments, said in (
        ({"budget_macs": 1000}, "budget_macs: expected 1200 or more, the mean of the cheapest"),
        ({"budget_macs": 2000, "price": 1.0}, "expected one of them, got both"),
        ({"price": [1.0, 2.0]}, "price: expected"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            predictor.predict(IMAGES, **arguments)


def test_a_model_without_an_agent_has_its_route():
    predictor = Predictor(saved(router="first_1"), batch_sizes=(4,))
    found = predictor.predict(IMAGES[:3])
    assert set(found.routes) == {"layer_1"} and found.price is None
    steps, costs = found.steps, predictor.costs
    beyond = steps * costs.step[0] + costs.inject[1] + costs.head
    assert np.allclose(found.macs, costs.straight + beyond)
    with pytest.raises(ValueError, match="no agent: its route is first_1"):
        predictor.predict(IMAGES, price=0.1)


def test_routes_have_names():
    masks = np.array(
        [[[0, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]]
        + [[[0, 1, 1], [0, 0, 0]]] * 2,
        bool,
    )
    expected = ["none", "layer_2, layer_1", "all", "layer_2+layer_3", "layer_2+layer_3"]
    assert routed.route_names(masks).tolist() == expected


ALONE = """
import sys
sys.modules |= dict.fromkeys(["dynalay_jax", "flax", "train"])
import jax, numpy as np
program = jax.export.deserialize(bytearray(open("program", "rb").read()))
out = program.call(np.load("images.npy"), np.float32(0.1))
np.savez("out.npz", **out)
"""


def test_an_exported_program_needs_jax_alone(predictor, tmp_path, environment):
    predictor.export(tmp_path / "program")
    np.save(tmp_path / "images.npy", IMAGES)
    subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, env=environment, check=True)
    with np.load(tmp_path / "out.npz") as arrays:
        out = dict(arrays)
    here = predictor.predict(IMAGES)
    assert (out["labels"] == here.labels).all() and (out["steps"] == here.steps).all()
    assert np.allclose(out["macs"], here.macs)
    assert (routed.route_names(out["iterated"]) == here.routes).all()


# Those that are left out differ from one that is there in what is of no matter here.
ALIKE = ("dense", "separable", "scan", "gated", "residual")
MODELS = {cell: {"cell": cell} for cell in (*CELLS, *STATIC) if cell not in ALIKE} | {
    "text": {"cell": "lstm", "vocabulary": 9, "stem": 4, "last": True, "shape": (1, 5, 1)},
    "rounded": {"cell": "stage", "factors": jnp.bfloat16, "whitening": 2},
    "bfloat16": {"cell": "concave", "dtype": jnp.bfloat16, "compact": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_can_be_exported(name, tmp_path):
    fields = {"shape": (4, 4, 3), "strides": (1, 2), "agent_hidden": 1, **MODELS[name]}
    Predictor(saved(zeros=True, **fields)).export(tmp_path / "program", platforms=("cpu",))
    program = jax.export.deserialize(bytearray((tmp_path / "program").read_bytes()))
    assert str(program.in_avals[0].shape[0]) == "B"


@pytest.mark.parametrize("name", ["text", "rounded"])
def test_tokens_and_stages_are_predicted(name):
    fields = {"shape": (4, 4, 3), **MODELS[name]}
    predictor = Predictor(saved(**fields), batch_sizes=(4,))
    samples = np.random.default_rng(0).integers(0, 9, (3, *predictor.input_shape), np.uint8)
    found = predictor.predict(samples * (1 if name == "text" else 28), price=1e-6)
    assert np.allclose(found.probabilities.sum(-1), 1, atol=1e-5)
    assert (found.macs >= predictor.costs.straight).all()
