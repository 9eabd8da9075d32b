"""The comparison at the end of a run, from reports made up so that the right numbers are known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from train.analysis import summary
from train.data.types import Split
from train.evaluate import Report

COUNT, LAYERS = 200, 2
HARD = np.arange(COUNT) % 4 == 0


def each(iterated, correct, steps_a_layer=3, agent=False):
    """Arrays of `step.evaluation_step` for a router with this mask [n, L]."""
    steps = steps_a_layer * iterated.sum(-1)
    worked = iterated.any(-1)
    return {
        "correct": correct,
        "predicted": np.zeros(COUNT, np.int32),
        "loss": np.full(COUNT, 0.5),
        "steps": steps,
        "residual": np.where(worked, 1e-3, np.nan),
        "converged": np.ones(COUNT, bool),
        "confidence": np.full(COUNT, 0.9),
        "straight_confidence": np.where(HARD, 0.6, 0.9) + np.arange(COUNT) * 1e-4,
        "iterated": iterated,
        "standing": iterated,
        "cost": steps * 2.0 + 0.1 * agent,
    }


def report(split, router="agent", price=None):
    """Hard samples need layer 2; the agent knows them, and spends less where the price is high."""
    del split
    name, _, setting = router.partition(":")
    mask = np.zeros((COUNT, LAYERS), bool)
    if name == "all":
        mask[:] = True
    elif name == "agent":
        mask[HARD, 1] = price is None or price < 1
    elif name.startswith("constant"):
        mask[:, int(name[-1]) - 1] = True
    elif name == "random":
        mask[: round(min(float(setting), 1.0) * COUNT), 1] = True
    return Report(each(mask, mask[:, 1] | ~HARD, agent=name == "agent"), 0.5)


def test_summary_compares_at_the_agents_cost():
    found, records = summary.analyse(report, run())
    assert found["straight_accuracy"] == 0.75
    assert found["test_accuracy"] == found["all_layers_accuracy"] == 1.0
    assert found["mean_cost"] == pytest.approx(0.25 * 6 + 0.1)
    assert found["all_layers_cost"] == 12
    assert found["layer_accuracies"] == [0.75, 1.0]
    assert found["first_accuracies"] == [], "one of two layers is layer 1, two are all"
    # One of the two layers at random is right for 7 of 8, at a cost of 6.
    assert found["random_cost"] == found["confidence_cost"] == found["mean_cost"]
    assert found["random_accuracy"] == pytest.approx(0.75 + 0.125 * 1.6 / 6)
    # The hard samples are the least sure, and layer 2 alone does for them.
    assert found["confidence_route"] == "constant_2"
    assert found["confidence_accuracy"] == pytest.approx(1.0)
    assert found["steps_when_straight_wrong"] == 3.0
    assert found["steps_when_straight_right"] == 0.0
    assert found["actions"] == [0.75, 0.0, 0.25]
    assert found["median_residual"] == 1e-3 and found["converged"] == 1.0
    assert (found["rescued"], found["overthought"], len(found["ece"])) == (0.25, 0.0, 3)
    assert list(records["curve"]["routers"]) == [
        "none", "layer 1", "layer 2", "all layers", "random", "confidence", "oracle",
        "shuffled", "two thresholds",
    ]  # fmt: skip


def test_summary_correlates_steps_with_difficulty_where_it_is_known():
    difficulty = np.where(HARD, 9, np.where(np.arange(COUNT) % 4 == 1, -1, 2))
    found = summary.summarise(report, difficulty)
    assert found["difficulty_spearman"] == pytest.approx(1.0)


def test_the_curve_is_over_prices_and_rates():
    curve = summary.curve(report, (0.1, 1.0))
    assert [point["mean_cost"] for point in curve["agent"]] == pytest.approx([1.6, 0.1])
    assert [point["actions"] for point in curve["agent"]] == [[0.75, 0, 0.25], [1, 0, 0]]
    assert curve["routers"]["layer 1"]["accuracy"] == 0.75
    assert [point["rate"] for point in curve["routers"]["random"]] == [0, 0.5, 1, 1.5, 2]


def run(router="agent", difficulty=None, vocabulary=0):
    model = SimpleNamespace(tol=1e-3)
    config = SimpleNamespace(router=router, price=0.1, prices=(0.1,), model=model)
    split = Split(np.zeros((COUNT, 2, 2, 3), np.uint8), np.zeros(COUNT, np.int32), difficulty)
    data = SimpleNamespace(
        test=split, vocabulary=vocabulary, classes=("only",), difficulty="length"
    )
    return SimpleNamespace(
        config=config, dataset=data, task=SimpleNamespace(model=SimpleNamespace(rounds=1))
    )


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"curve", "residuals", "gallery"}),
        ({"difficulty": np.where(HARD, 9, 2)}, {"curve", "residuals", "gallery", "difficulty"}),
        ({"vocabulary": 9}, {"curve", "residuals"}),
        ({"router": "all"}, {"curve"}),
    ],
)
def test_a_run_ends_with_a_summary_and_records(changes, names):
    found, records = summary.analyse(report, run(**changes))
    assert records.keys() == names and json.dumps([found, records])
    agent = changes.get("router") != "all"
    assert ("gap_closed" in found) == ("shuffled" in records["curve"]["routers"]) == agent
    if agent:
        point = records["curve"]["routers"]["two thresholds"]
        assert point == {
            "mean_cost": found["two_thresholds_cost"],
            "accuracy": found["two_thresholds_accuracy"],
        }
