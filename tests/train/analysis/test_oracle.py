"""The oracle and the surest routes, against enumeration and numbers known beforehand."""

import itertools

import numpy as np
import pytest
from sample_outcomes import CORRECT, COST

from train.analysis import oracle


def test_no_choice_of_routes_beats_the_oracle():
    budgets = np.arange(0, 13) / 6
    best = np.zeros(len(budgets))
    for actions in itertools.product(range(3), repeat=6):
        taken = np.arange(6), list(actions)
        within = COST[taken].mean() <= budgets + 1e-9
        best = np.maximum(best, within * CORRECT[taken].mean())
    points = oracle.points(CORRECT, COST, budgets)
    assert [point["accuracy"] for point in points] == pytest.approx(best)
    assert all(p["mean_cost"] <= b + 1e-9 for p, b in zip(points, budgets, strict=True))


def test_the_surest_route_is_taken_as_far_as_the_budget_goes():
    confidence = np.array([[0.5, 0.9, 0.8], [0.6, 0.7, 0.95], [0.9, 0.8, 0.7]])
    correct = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)
    cost = np.array([[0, 1, 3], [0, 1, 3], [0, 1, 3]], float)
    at = lambda budget: oracle.surest(confidence, correct, cost, budget)
    # The first sample gains 0.4 for 1, the second 0.35 for 3; the third loses by any.
    assert [at(b) for b in (0.0, 1 / 6, 1 / 3, 5 / 6, 4 / 3, 9.0)] == pytest.approx(
        [1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0, 1.0]
    ), "mixed where the budget is between two choices"


def test_samples_that_are_alike_share_what_the_budget_leaves():
    confidence, correct = np.full((1000, 2), [0.5, 0.9]), np.full((1000, 2), [False, True])
    cost = np.full((1000, 2), [0.0, 1.0])
    assert oracle.surest(confidence, correct, cost, 0.75) == pytest.approx(0.75)


def test_the_oracle_knows_more_than_calibrated_confidences():
    """Two routes, each right with its confidence, independently."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 0.8, (20_000, 2))
    correct = rng.uniform(size=confidence.shape) < confidence
    cost = np.broadcast_to([0.0, 1.0], confidence.shape)
    found = [oracle.surest(confidence, correct, cost, budget) for budget in (0.2, 1.0)]
    assert found[1] == pytest.approx(confidence.max(1).mean(), abs=0.01)
    # A fifth of the samples, those that gain most: 0.4 · (1 − √(2 · 0.2)) and more.
    gains = np.sort(confidence[:, 1] - confidence[:, 0])[-4_000:].sum() / 20_000
    assert found[0] == pytest.approx(0.6 + gains, abs=0.01)
    assert oracle.points(correct, cost, [1.0])[0]["accuracy"] > found[1] + 0.15
