"""Variants: every one can be trained, on the one route that it names, or with an agent."""

import json

import jax
import numpy as np
import pytest

from configs import _sizing, _variants, cifar10, cifar10_small, connectivity, digits, mazes
from train import loop
from train.config import check
from train.main import label, load
from train.run import Run

pytestmark = pytest.mark.usefixtures("flax_promotion")
WITHOUT_AGENT = [*(f"model_{n}" for n in range(4)), *_variants.MATCHED, *_variants.WITHOUT_AGENT]


@pytest.mark.parametrize("name", WITHOUT_AGENT)
def test_without_an_agent_all_epochs_go_to_the_main_model_on_one_route(name):
    config = digits.get_config(name)
    check(config)
    assert dict(config.train.epochs) == {"main": 210.0, "agent": 0.0, "joint": 0.0}
    assert config.router in ("none", "all", "first_1", "first_2")
    assert (config.train.straight, config.train.everything) == (
        (1, 0) if config.router == "none" else (0, 1)
    )
    assert _sizing.macs(config) > 0, "the model is built"


@pytest.mark.parametrize("name", _variants.WITH_AGENT)
def test_with_an_agent_one_thing_changes(name):
    own, config = digits.get_config(), digits.get_config(name)
    check(config)
    assert sum(config.train.epochs.values()) == sum(own.train.epochs.values())
    if name == "no_warmup":
        assert config.train.epochs.main == config.train.epochs.agent == 0
        config.train.epochs = own.train.epochs
    elif name == "loose":
        assert config.model.tol == pytest.approx(1e-2)
        config.model.tol = own.model.tol
    else:
        assert config.model.cell == name.removeprefix("cell_")
        config.model.update(cell=own.model.cell)
        if name == "cell_free":
            assert config.model.solver == "anderson"
            config.model.solver = own.model.solver
    assert config.to_dict() == own.to_dict()


@pytest.mark.parametrize("name", ["residual_parameters", "unrolled", "deq_broyden", "cell_free"])
def test_other_cells_strides_and_solvers_make_runs(name):
    run = Run.prepare(digits.get_config(name), None)
    assert ("agent" in run.task.phases[-1].trains) == (name == "cell_free")


@pytest.mark.parametrize("name", ["", "model_0"])
def test_sizes_are_those_of_the_run(name):
    config = digits.get_config(name)
    run = Run.prepare(config, None)
    leaves = jax.tree.leaves(run.template().params["main"])
    assert sum(leaf.size for leaf in leaves) == _sizing.parameters(config)
    assert run.task.costs.straight == _sizing.macs(config)


def test_the_plain_cnn_is_the_straight_pass_without_kernels():
    full, plain = digits.get_config(), digits.get_config("model_0")
    assert _sizing.macs(plain) == _sizing.macs(full)
    # Three kernels of 32 channels in 4 groups: 8, 16 and 24 to 8.
    kernels = 3 * 9 * (8 + 16 + 24) * 8
    assert _sizing.parameters(full) - _sizing.parameters(plain) == kernels


def test_gates_belong_to_the_plain_cnn_of_concave_cells():
    assert connectivity.get_config("model_0").model.cell == "gated"
    assert connectivity.get_config("model_1").model.cell == "concave"


def test_nothing_spreads_in_static_nets_so_their_offsets_and_gates_are_as_usual():
    model = mazes.get_config("model_1").model
    assert model.offset < 1 and model.hard_gates
    for name in ("model_0", "wide_parameters", "residual_2.5x"):
        model = mazes.get_config(name).model
        assert model.offset == 1 and not model.hard_gates, name
    assert (model.cell, model.norm) == ("residual", True) and len(model.widths) > 2


def test_resnet20_is_the_known_one():
    """0.27 M parameters and 40.6 M multiply-accumulates."""
    config = cifar10.get_config("resnet20")
    assert _sizing.macs(config) == pytest.approx(40.6e6, rel=0.01)
    assert _sizing.parameters(config) == pytest.approx(0.27e6, rel=0.02)


def test_a_deq_has_the_resolution_of_the_middle_layer():
    model = cifar10_small.get_config("deq_anderson").model
    assert (model.widths, model.strides, model.windows) == ((128,), (4,), (4,))


def test_names_follow_the_colon_and_are_found_in_labels():
    assert label("configs/digits.py") == "digits"
    assert label("configs/digits.py:wide_2.5x") == "digits_wide_2.5x"
    assert load("configs/digits.py:model_1").router == "first_1"
    assert load("digits:wide_2.5x").model.cell == "plain"
    for name in ("digits", "cifar10_small"):
        assert _variants.split(name) == (name, "")
        for variant in (*WITHOUT_AGENT, *_variants.WITH_AGENT):
            assert _variants.split(f"{name}_{variant}") == (name, variant)


def test_every_variant_has_a_meaning():
    described = _variants.described(digits.get_config())
    assert set(described) == {*WITHOUT_AGENT, *_variants.WITH_AGENT}
    assert all(meaning.endswith(".") for meaning in described.values())


@pytest.mark.slow
def test_summary_is_about_the_route_that_was_trained(tmp_path):
    config = digits.get_config("model_1")
    config.model.update(cell="dense", widths=(8, 8), strides=(1, 1), windows=(), compact=0)
    config.train.update(batch_size=128, steps_per_call=2)
    config.train.epochs.main = 1.0
    summary = loop.train_and_evaluate(config, tmp_path)
    assert summary["router"] == "first_1"
    assert summary["actions"] == [0.0, 1.0, 0.0]
    assert "oracle_accuracy" not in summary
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert curve["agent"] == []
    layer = curve["routers"]["layer 1"]
    assert summary["test_accuracy"] == layer["accuracy"]
    assert summary["mean_cost"] == layer["mean_cost"]
    leaves = jax.tree.leaves(Run.prepare(config, None).initial().params["main"])
    assert summary["parameters"] == sum(np.size(leaf) for leaf in leaves)
    assert summary["mean_macs"] > 0


@pytest.mark.parametrize("name", ["", "model_0", "model_3", "all_1.5x"])
def test_the_variants_of_a_config_with_stages_are_the_networks_that_they_say(name):
    config = cifar10.get_config(name)
    weights = {"": (0.3, 0.4), "model_0": (1, 0)}.get(name, (0, 1))
    assert (config.train.straight, config.train.everything) == weights
    assert config.router == {"": "agent", "model_0": "none"}.get(name, "all")
    if name == "all_1.5x":
        straight = _sizing.macs(cifar10.get_config())
        assert _sizing.all_macs(config) == pytest.approx(1.5 * straight, rel=0.05)
