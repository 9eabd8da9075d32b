"""Oracle, shuffled choices and calibration, against enumeration and numbers known beforehand."""

import itertools

import numpy as np
import pytest

from train.analysis import routes
from train.evaluate import Report

# Six samples, actions none, layer 1, layer 2.
CORRECT = np.array(
    [[1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]],
    bool,
)
COST = np.array([[0, 2, 5], [0, 4, 3], [0, 2, 6], [0, 2, 5], [0, 3, 5], [0, 1, 5]], float)
CHOSEN = np.array([0, 1, 2, 0, 1, 0])
CONFIDENCE = np.array([0.9, 0.4, 0.5, 0.95, 0.8, 0.6])


def report(split, router="agent"):
    assert split in ("test", "validation")
    if router == "all":
        correct, cost = CORRECT.any(1), COST.sum(1)
        iterated = np.ones((6, 2), bool)
    else:
        number = {"none": 0, "constant_1": 1, "constant_2": 2}
        actions = CHOSEN if router == "agent" else np.full(6, number[router])
        correct, cost = CORRECT[np.arange(6), actions], COST[np.arange(6), actions]
        iterated = np.eye(3, dtype=bool)[actions][:, 1:]
    each = {"correct": correct, "cost": cost, "iterated": iterated, "standing": iterated}
    return Report({**each, "confidence": CONFIDENCE, "straight_confidence": CONFIDENCE}, 1.0)


def test_outcomes_are_those_of_each_action():
    correct, cost = routes.outcomes(report, 1)
    assert (correct == CORRECT).all() and (cost == COST).all()


def test_no_choice_of_actions_beats_the_oracle():
    budgets = np.arange(0, 13) / 6
    best = np.zeros(len(budgets))
    for actions in itertools.product(range(3), repeat=6):
        taken = np.arange(6), list(actions)
        within = COST[taken].mean() <= budgets + 1e-9
        best = np.maximum(best, within * CORRECT[taken].mean())
    points = routes.oracle(CORRECT, COST, budgets)
    assert [point["accuracy"] for point in points] == pytest.approx(best)
    assert all(p["mean_cost"] <= b + 1e-9 for p, b in zip(points, budgets, strict=True))


def test_the_surest_route_is_taken_as_far_as_the_budget_goes():
    confidence = np.array([[0.5, 0.9, 0.8], [0.6, 0.7, 0.95], [0.9, 0.8, 0.7]])
    correct = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)
    cost = np.array([[0, 1, 3], [0, 1, 3], [0, 1, 3]], float)
    at = lambda budget: routes.surest(confidence, correct, cost, budget)
    # The first sample gains 0.4 for 1, the second 0.35 for 3; the third loses by any.
    assert [at(b) for b in (0.0, 1 / 6, 1 / 3, 5 / 6, 4 / 3, 9.0)] == pytest.approx(
        [1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0, 1.0]
    ), "mixed where the budget is between two choices"


def test_samples_that_are_alike_share_what_the_budget_leaves():
    confidence, correct = np.full((1000, 2), [0.5, 0.9]), np.full((1000, 2), [False, True])
    cost = np.full((1000, 2), [0.0, 1.0])
    assert routes.surest(confidence, correct, cost, 0.75) == pytest.approx(0.75)


def test_of_what_calibrated_confidences_leave_open_the_oracle_alone_knows_more():
    """Two routes, each right with its confidence, independently."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 0.8, (20_000, 2))
    correct = rng.uniform(size=confidence.shape) < confidence
    cost = np.broadcast_to([0.0, 1.0], confidence.shape)
    found = [routes.surest(confidence, correct, cost, budget) for budget in (0.2, 1.0)]
    assert found[1] == pytest.approx(confidence.max(1).mean(), abs=0.01)
    # A fifth of the samples, those that gain most: 0.4 · (1 − √(2 · 0.2)) and more.
    gains = np.sort(confidence[:, 1] - confidence[:, 0])[-4_000:].sum() / 20_000
    assert found[0] == pytest.approx(0.6 + gains, abs=0.01)
    assert routes.oracle(correct, cost, [1.0])[0]["accuracy"] > found[1] + 0.15


def test_the_agent_against_hindsight():
    found = routes.measure(report, random_accuracy=0.4, rounds=1)
    # Right: samples 0, 1 and 2 of 6, at a cost of 4 + 6 + 3 in all.
    assert found["shuffled_accuracy"] == pytest.approx(0.5 * 2 / 6 + 3 / 6 * 2 / 6 + 2 / 6 / 6)
    assert found["shuffled_cost"] == pytest.approx((14 / 6) * 2 / 6 + (29 / 6) / 6)
    assert found["oracle_accuracy"] == 5 / 6
    assert found["surest_accuracy"] == CORRECT[:, 0].mean(), "every route is as sure here"
    assert found["gap_closed"] == pytest.approx((0.5 - 0.4) / (5 / 6 - 0.4))
    assert found["rescued"] == pytest.approx(2 / 6)
    assert found["overthought"] == pytest.approx(1 / 6)
    # One right of three with confidences that lie in three bins; two; one.
    none = (abs(1 - 0.9) + 0.95 + 0.6) / 3
    assert found["ece"] == pytest.approx([none, (0.6 + 0.8) / 2, 0.5])


def test_samples_of_a_bin_are_compared_by_their_means():
    confidence, correct = np.array([0.61, 0.63, 1.0]), np.array([True, False, True])
    assert routes.calibration_error(confidence, correct) == pytest.approx(2 / 3 * 0.12)


def test_random_routing_mixes_no_layer_one_and_all():
    points = routes.random(report, [0.0, 43 / 24, 43 / 12, 43 / 6, 99.0])
    single = CORRECT[:, 1:].mean()
    accuracies = [2 / 6, (2 / 6 + single) / 2, single, 5 / 6, 5 / 6]
    # The single layers cost 43 in all, 3.58 on average; all layers twice that.
    assert [point["accuracy"] for point in points] == pytest.approx(accuracies)
    assert [point["mean_cost"] for point in points] == pytest.approx(
        [0.0, 43 / 24, 43 / 12, 43 / 6, 43 / 6]
    )


def test_confidence_iterates_the_least_sure_first():
    accuracy = lambda budget, route: routes.confidence(report, [budget], route)[0]["accuracy"]
    assert accuracy(0.0, "all") == pytest.approx(2 / 6)
    # Sample 1, which costs 7, becomes right; then sample 2, which costs 8.
    assert accuracy(7 / 6, "all") == pytest.approx(3 / 6)
    assert accuracy(11 / 6, "all") == pytest.approx(3.5 / 6)
    # By layer 1 alone sample 1 costs 4, and sample 2, which costs 2, stays wrong.
    assert accuracy(1.0, "constant_1") == pytest.approx(3 / 6)


def test_curves_go_from_the_straight_pass_to_all_that_can_be_had():
    curves = routes.curves(report, "all", 1, points=7)
    for points in curves.values():
        assert len(points) == 7
        assert [points[i]["accuracy"] for i in (0, -1)] == pytest.approx([2 / 6, 5 / 6])
    assert curves["oracle"][-1]["mean_cost"] == pytest.approx((3 + 6 + 1) / 6)
    assert curves["confidence"][-1]["mean_cost"] == pytest.approx(43 / 6)


def test_with_two_rounds_both_layers_are_a_route_too():
    """As above, but the agent iterates both layers of samples 0 and 5; of 4 layer 2, then 1."""

    def twice(split, router="agent"):
        found = report(split, router)
        if router != "agent":
            return found
        each = dict(found.each)
        both, every = np.isin(np.arange(6), (0, 5)), report(split, "all").each
        each["iterated"] = each["iterated"] | (both | (np.arange(6) == 4))[:, None]
        each["standing"] = each["standing"] | both[:, None]
        for key in ("correct", "cost"):
            each[key] = np.where(both, every[key], each[key])
        each["cost"][4] += 5  # of the solve that was lost
        return Report(each, 1.0)

    correct, cost = routes.outcomes(twice, rounds=2)
    assert (correct == np.column_stack([CORRECT, CORRECT.any(1)])).all()
    assert (cost == np.column_stack([COST, COST.sum(1)])).all()
    found = routes.measure(twice, random_accuracy=0.4, rounds=2)
    shares = np.array([1, 2, 1, 2]) / 6
    assert found["routes"] == shares.tolist()
    assert found["shuffled_accuracy"] == pytest.approx(shares @ correct.mean(0))
    assert found["shuffled_cost"] == pytest.approx(shares @ cost.mean(0) + 5 / 6)
    # The sum of both layers' costs is 7 for sample 0; no single layer is right for none here.
    assert found["oracle_accuracy"] == 5 / 6
    assert {"cascade_layers", "cascade_accuracy", "cascade_mean_cost"} <= set(found)


def test_the_oracle_has_the_routes_of_all_rounds():
    """Sample 3 is right after both layers alone."""

    def helped(split, router="agent"):
        found = report(split, router)
        if router == "all":
            found.each["correct"][3] = True
        return found

    accuracies = [routes.curves(helped, "all", n)["oracle"][-1]["accuracy"] for n in (1, 2)]
    assert accuracies == [pytest.approx(5 / 6), pytest.approx(1.0)]
