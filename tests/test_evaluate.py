"""The comparison at the end of a run, from reports made up so that the right numbers are known."""

import numpy as np
import pytest

from train import evaluate
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
        # Samples in an order that has nothing to do with what is hard.
        order = np.random.default_rng(0).permutation(COUNT)
        rate = float(setting)
        mask[order[: round(min(rate, 1.0) * COUNT)], 1] = True
        mask[order[: round(max(rate - 1, 0.0) * COUNT)], 0] = True
    elif name == "confidence":
        mask[each(mask, HARD)["straight_confidence"] < float(setting)] = True
    return Report(each(mask, mask[:, 1] | ~HARD, agent=name == "agent"), 0.5)


def test_summary_compares_at_the_agents_cost():
    summary = evaluate.summary(report, None)
    assert summary["straight_accuracy"] == 0.75
    assert summary["test_accuracy"] == summary["all_layers_accuracy"] == 1.0
    assert summary["mean_cost"] == pytest.approx(0.25 * 6 + 0.1)
    assert summary["all_layers_cost"] == 12
    assert summary["random_cost"] == pytest.approx(summary["mean_cost"], abs=0.05)
    assert summary["confidence_cost"] == pytest.approx(summary["mean_cost"], abs=0.1)
    assert summary["straight_accuracy"] < summary["random_accuracy"] < 0.9
    assert summary["steps_when_straight_wrong"] == 3.0
    assert summary["steps_when_straight_right"] == 0.0
    assert summary["actions"] == [0.75, 0.0, 0.25]
    assert summary["median_residual"] == 1e-3 and summary["converged"] == 1.0


def test_summary_correlates_steps_with_difficulty_where_it_is_known():
    difficulty = np.where(HARD, 9, np.where(np.arange(COUNT) % 4 == 1, -1, 2))
    summary = evaluate.summary(report, difficulty)
    assert summary["difficulty_spearman"] == pytest.approx(1.0)
    assert summary["difficulty_spearman_all_layers"] is None  # always the same number of steps


def test_matched_settings():
    assert evaluate.random_at(report, LAYERS, 9.0) == "random:1.5"
    threshold = float(evaluate.confidence_at(report, 12 * 0.1).partition(":")[2])
    unsure = report("test", "all").each["straight_confidence"] < threshold
    assert unsure.sum() == pytest.approx(0.1 * COUNT, abs=1) and unsure[HARD].sum() == unsure.sum()
    assert evaluate.confidence_at(report, 100.0).startswith("confidence:")


def test_curve_has_every_router():
    curve = evaluate.curve(report, (0.1, 1.0))
    assert [point["mean_cost"] for point in curve["agent"]] == pytest.approx([1.6, 0.1])
    assert list(curve["routers"]) == ["none", "layer 1", "layer 2", "all layers", "random"]
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
