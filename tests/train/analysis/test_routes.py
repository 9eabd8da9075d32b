"""Outcomes are those of each route; routers that know less and more than the agent use them."""

import itertools

import numpy as np
import pytest
from sample_outcomes import CHOSEN, CORRECT, COST, report, twice

from train.analysis import routes
from train.analysis.routes import Outcomes

ONE, TWO = routes.outcomes(report, 1), routes.outcomes(twice, 2)


def test_outcomes_are_those_of_each_route():
    assert (ONE.correct == CORRECT).all() and (ONE.cost == COST).all()
    assert (ONE.taken(report("test")) == CHOSEN).all()


def test_with_two_rounds_both_layers_are_a_route_too():
    assert (TWO.correct == np.column_stack([CORRECT, CORRECT.any(1)])).all()
    assert (TWO.cost == np.column_stack([COST, COST.sum(1)])).all()
    assert TWO.taken(twice("test")).tolist() == [3, 1, 2, 0, 1, 3]


@pytest.mark.parametrize("every", [ONE, TWO], ids=["one round", "two"])
def test_random_routing_mixes_no_layer_one_and_all(every):
    budgets = [0.0, 43 / 24, 43 / 12, 43 / 6, 99.0]
    points = [routes.random(every, report("test", "all"), budget) for budget in budgets]
    single = CORRECT[:, 1:].mean()
    accuracies = [2 / 6, (2 / 6 + single) / 2, single, 5 / 6, 5 / 6]
    # The single layers cost 43 in all, 3.58 on average; all layers twice that.
    assert [point["accuracy"] for point in points] == pytest.approx(accuracies)
    costs = [0.0, 43 / 24, 43 / 12, 43 / 6, 43 / 6]
    assert [point["mean_cost"] for point in points] == pytest.approx(costs)


def test_the_agent_beside_routers_that_know_less_and_more():
    found = routes.compare(ONE, report("test"), report("test", "all"), agent=True)
    # Right: samples 0, 1 and 2 of 6, at a cost of 4 + 6 + 3 in all.
    assert found["shuffled_accuracy"] == pytest.approx(0.5 * 2 / 6 + 3 / 6 * 2 / 6 + 2 / 6 / 6)
    assert found["shuffled_cost"] == pytest.approx((14 / 6) * 2 / 6 + (29 / 6) / 6)
    assert found["oracle_accuracy"] == 5 / 6
    assert found["surest_accuracy"] == CORRECT[:, 0].mean(), "every route is as sure here"
    random = found["random_accuracy"]
    assert found["gap_closed"] == pytest.approx((0.5 - random) / (5 / 6 - random))


def test_the_agent_of_two_rounds():
    found = routes.compare(TWO, twice("test"), twice("test", "all"), agent=True)
    shares = np.array([1, 2, 1, 2]) / 6
    assert found["routes"] == shares.tolist()
    assert found["shuffled_accuracy"] == pytest.approx(shares @ TWO.correct.mean(0))
    assert found["shuffled_cost"] == pytest.approx(shares @ TWO.cost.mean(0) + 5 / 6)


def test_no_choice_of_routes_beats_the_oracle():
    budgets = np.arange(0, 13) / 6
    best = np.zeros(len(budgets))
    for actions in itertools.product(range(3), repeat=6):
        taken = np.arange(6), list(actions)
        within = COST[taken].mean() <= budgets + 1e-9
        best = np.maximum(best, within * CORRECT[taken].mean())
    points = [routes.oracle(ONE, budget) for budget in budgets]
    assert [point["accuracy"] for point in points] == pytest.approx(best)
    assert all(p["mean_cost"] <= b + 1e-9 for p, b in zip(points, budgets, strict=True))


def test_the_oracle_s_curve_goes_to_all_that_can_be_had():
    """Sample 3 is right only if both layers are iterated."""
    ends = routes.oracle_curve(ONE, points=7)[:: 7 - 1]
    assert [point["accuracy"] for point in ends] == pytest.approx([2 / 6, 5 / 6])
    assert ends[1]["mean_cost"] == pytest.approx((3 + 6 + 1) / 6)
    correct = TWO.correct | (np.arange(6)[:, None] == 3) & (np.arange(4) == 3)
    assert routes.oracle_curve(TWO._replace(correct=correct))[-1]["accuracy"] == 1.0


def made(correct, cost, confidence):
    return Outcomes([], np.array(correct, bool), np.array(cost, float), np.array(confidence))


def test_the_surest_route_is_taken_as_far_as_the_budget_goes():
    confidence = [[0.5, 0.9, 0.8], [0.6, 0.7, 0.95], [0.9, 0.8, 0.7]]
    every = made([[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 1, 3]] * 3, confidence)
    # The first sample gains 0.4 for 1, the second 0.35 for 3; the third loses by any.
    assert [routes.surest(every, b) for b in (0.0, 1 / 6, 1 / 3, 5 / 6, 4 / 3, 9.0)] == (
        pytest.approx([1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0, 1.0])
    ), "mixed where the budget is between two choices"


def test_samples_that_are_alike_share_what_the_budget_leaves():
    every = made([[False, True]] * 1000, [[0, 1]] * 1000, [[0.5, 0.9]] * 1000)
    assert routes.surest(every, 0.75) == pytest.approx(0.75)


def test_the_oracle_knows_more_than_calibrated_confidences():
    """Two routes, each right with its confidence, independently."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 0.8, (20_000, 2))
    correct = rng.uniform(size=confidence.shape) < confidence
    every = made(correct, np.broadcast_to([0.0, 1.0], confidence.shape), confidence)
    found = [routes.surest(every, budget) for budget in (0.2, 1.0)]
    assert found[1] == pytest.approx(confidence.max(1).mean(), abs=0.01)
    # A fifth of the samples, those that gain most: 0.4 · (1 − √(2 · 0.2)) and more.
    gains = np.sort(confidence[:, 1] - confidence[:, 0])[-4_000:].sum() / 20_000
    assert found[0] == pytest.approx(0.6 + gains, abs=0.01)
    assert routes.oracle(every, 1.0)["accuracy"] > found[1] + 0.15
