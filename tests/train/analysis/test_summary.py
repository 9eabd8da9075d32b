"""The comparison at the end of a run, from reports made up so that the right numbers are known."""

import numpy as np
import pytest

from train import evaluate
from train.analysis import summary
from train.evaluate import Report

COUNT, LAYERS = 200, 2
HARD = np.arange(COUNT) % 4 == 0


def each(iterated, correct, steps_a_layer=3, agent=False):
    """Arrays of `step.evaluation_step` for a router with this mask [n, L]."""
    steps = steps_a_layer * iterated.sum(-1)
    worked = iterated.any(-1)
    return {
        "correct": correct,
        "loss": np.full(COUNT, 0.5),
        "steps": steps,
        "residual": np.where(worked, 1e-3, np.nan),
        "converged": np.ones(COUNT, bool),
        "straight_confidence": np.where(HARD, 0.6, 0.9) + np.arange(COUNT) * 1e-4,
        "iterated": iterated,
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
    found = summary.summarise(report, None)
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


def test_summary_correlates_steps_with_difficulty_where_it_is_known():
    difficulty = np.where(HARD, 9, np.where(np.arange(COUNT) % 4 == 1, -1, 2))
    found = summary.summarise(report, difficulty)
    assert found["difficulty_spearman"] == pytest.approx(1.0)
    assert found["difficulty_spearman_all_layers"] is None  # always the same number of steps


def test_curve_has_every_router():
    curve = summary.curve(report, (0.1, 1.0), "all", 1)
    assert [point["mean_cost"] for point in curve["agent"]] == pytest.approx([1.6, 0.1])
    assert [point["actions"] for point in curve["agent"]] == [[0.75, 0, 0.25], [1, 0, 0]]
    assert list(curve["routers"]) == [
        "none", "layer 1", "layer 2", "all layers", "random", "confidence", "oracle"
    ]  # fmt: skip
    assert "oracle" not in summary.curve(report, (), "all", 1)["routers"]
    assert curve["routers"]["layer 1"]["accuracy"] == 0.75
    assert [point["rate"] for point in curve["routers"]["random"]] == [0, 0.5, 1, 1.5, 2]


def test_reports_are_evaluated_once():
    asked = []
    remembered = evaluate.reports(lambda *what: asked.append(what), "params", 0.1)
    remembered("test")
    remembered("test", "agent")
    remembered("test", "agent", 0.1)
    remembered("test", "none")
    assert asked == [("params", "test", "agent", 0.1), ("params", "test", "none", 0.1)]
