"""Baselines: every one can be trained, on the one route that it is about."""

import json

import jax
import numpy as np
import pytest

from configs import (
    _sizing,
    _variants,
    cifar10,
    cifar10_small,
    cifar100,
    connectivity,
    digits,
    mazes,
)
from train import loop
from train.errors import UserError
from train.main import label, load
from train.run import Run

pytestmark = [
    pytest.mark.usefixtures("flax_promotion"),
    # Of ml_collections, which loads the configs.
    pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning"),
]
NAMES = [*(f"model_{n}" for n in range(4)), *_variants.MATCHED, *_variants.WITHOUT_AGENT]


@pytest.mark.parametrize("config", [cifar100, mazes])
def test_configs_made_from_others_have_baselines_too(config):
    assert config.get_config().router == "agent"
    assert config.get_config("model_1").router == "first_1"
    assert config.get_config("model_1").data == config.get_config().data


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_is_a_model_without_agent(name):
    run = Run.prepare(digits.get_config(name), None)
    (phase,) = run.task.phases
    assert phase.trains == ("main",)
    assert phase.steps == 210 * (1097 // 64)


def counted(name):
    """Parameters of the main model and MACs of the straight pass, as the harness counts them."""
    run = Run.prepare(digits.get_config(name), None)
    main = run.template().params["main"]
    return sum(leaf.size for leaf in jax.tree.leaves(main)), run.task.costs.straight


def test_the_plain_cnn_is_the_straight_pass_without_kernels():
    parameters, straight = counted("")
    plain, same = counted("model_0")
    assert same == straight
    # Three kernels of 32 channels in 4 groups: 8, 16 and 24 to 8.
    assert parameters - plain == 3 * 9 * (8 + 16 + 24) * 8


@pytest.mark.parametrize("way", ["wide", "deep", "residual"])
def test_matched_baselines_have_what_they_say(way):
    parameters, straight = counted("")
    assert counted(f"{way}_parameters")[0] == pytest.approx(parameters, rel=0.05)
    assert counted(f"{way}_2.5x")[1] == pytest.approx(2.5 * straight, rel=0.05)


def test_residual_nets_are_normalised_whatever_the_config_is():
    model = mazes.get_config("residual_parameters").model
    assert (model.cell, model.norm) == ("residual", True) and len(model.widths) > 2


def test_gates_belong_to_the_plain_cnn_of_concave_cells():
    assert connectivity.get_config("model_0").model.cell == "gated"
    assert connectivity.get_config("model_1").model.cell == "concave"


def test_nothing_spreads_in_static_nets_so_their_offsets_and_gates_are_as_usual():
    model = mazes.get_config("model_1").model
    assert model.offset < 1 and model.hard_gates
    for name in ("model_0", "deep_2.5x", "wide_parameters", "residual_2.5x"):
        model = mazes.get_config(name).model
        assert model.offset == 1 and not model.hard_gates, name


def test_resnet20_is_the_known_one():
    """0.27 M parameters and 40.6 M multiply-accumulates."""
    config = cifar10.get_config("resnet20")
    assert _sizing.macs(config) == pytest.approx(40.6e6, rel=0.01)
    assert _sizing.parameters(config) == pytest.approx(0.27e6, rel=0.02)
    assert (config.router, config.model.norm) == ("none", True)


@pytest.mark.parametrize("name", _variants.WITH_AGENT)
def test_every_variant_has_an_agent_and_changes_one_thing(name):
    own, config = digits.get_config(), digits.get_config(name)
    run = Run.prepare(config, None)
    assert config.router == "agent" and "agent" in run.task.phases[-1].trains
    assert sum(config.train.epochs.values()) == sum(own.train.epochs.values())
    if name == "no_warmup":
        assert [phase.name for phase in run.task.phases] == ["joint"]
        config.train.epochs = own.train.epochs
    elif name == "loose":
        assert run.task.model.tol == pytest.approx(1e-2)
        config.model.tol = own.model.tol
    else:
        assert run.task.model.cell == name.removeprefix("cell_")
        config.model.update(cell=own.model.cell)
        if name == "cell_free":
            assert config.model.solver == "anderson"
            config.model.solver = own.model.solver
    assert config.to_dict() == own.to_dict()


def test_labels_are_split_where_the_baseline_begins():
    for name in ("digits", "cifar10_small"):
        assert _variants.split(name) == (name, "")
        for variant in (*NAMES, *_variants.WITH_AGENT):
            assert _variants.split(f"{name}_{variant}") == (name, variant)


def test_a_deq_has_the_resolution_of_the_middle_layer():
    model = cifar10_small.get_config("deq_anderson").model
    assert (model.widths, model.strides, model.windows) == ((128,), (4,), (4,))


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


def test_names_follow_the_colon():
    assert label("configs/digits.py") == "digits"
    assert label("configs/digits.py:model_1") == "digits_model_1"
    assert load("configs/digits.py:model_1").router == "first_1"
    assert label("configs/digits.py:wide_2.5x") == "digits_wide_2.5x"
    assert load("digits:wide_2.5x").model.cell == "plain"
    for name in ("model_4", "wide", "deep_x"):
        with pytest.raises(UserError, match=rf"^--config: no variant '{name}'"):
            load(f"configs/digits.py:{name}")


def test_a_router_that_does_not_exist_is_refused_before_training():
    config = digits.get_config()
    config.router = "agents"
    with pytest.raises(UserError, match=r"config\.router"):
        Run.prepare(config, None)
