"""Two thresholds against enumeration, and chosen without a look at the test split."""

import itertools

import numpy as np
import pytest

from train.analysis import confidence
from train.evaluate import Report

# The least sure first: the dear route is right for all of these, the cheap one for the next.
DEAR = np.array([1, 1, 0, 0, 1, 1, 1, 1], bool)
CHEAP = np.array([0, 0, 1, 1, 1, 1, 1, 1], bool)
NONE = np.array([0, 0, 0, 0, 0, 1, 1, 1], bool)
COSTS = {"none": 0.0, "all": 10.0, "constant_1": 1.0}


def report(split, router):
    right = {"none": NONE, "all": DEAR, "constant_1": CHEAP}[router]
    order = np.random.default_rng(0).permutation(8) if split == "test" else np.arange(8)
    each = {"correct": right, "cost": np.full(8, COSTS[router])}
    each["straight_confidence"] = np.arange(8) / 8
    return Report({key: value[order] for key, value in each.items()}, 1.0)


def test_no_two_thresholds_do_better():
    sums = confidence.table(report, "validation", ["all", "constant_1"])
    for share, budget in itertools.product((0.0, 0.25, 0.5), (1.0, 2.875, 3.0, 6.0)):
        cost, accuracy, _ = confidence.point(sums, budget, "all", "constant_1", share)
        expected = []
        for first, end in itertools.combinations_with_replacement(range(9), 2):
            spent = (10 * first + end - first) / 8
            right = DEAR[:first].sum() + CHEAP[first:end].sum() + NONE[end:].sum()
            if first == round(8 * share) and spent <= budget + 1e-9:
                expected.append((spent, right / 8))
        if expected:
            assert cost <= budget and accuracy >= max(expected)[1] - 1e-9


def test_the_dear_route_is_for_the_least_sure_and_the_cheap_one_for_the_next():
    found = confidence.best(report, ["all", "constant_1"], 23 / 8, 23 / 8)
    assert found["routes"] == ["all", "constant_1"]
    # Two at 10 each and three at 1 make everything right.
    assert (found["mean_cost"], found["accuracy"]) == (pytest.approx(23 / 8), 1.0)
    assert found["shares"] == (2 / 8, 3 / 8)


def test_what_the_budget_does_not_allow_is_not_spent():
    sums = confidence.table(report, "test", ["all", "constant_1"])
    assert confidence.point(sums, 0.0, "all", "constant_1", 0.5) == (0.0, 3 / 8, (0.0, 0.0))
    # One of the two that the share would send; nothing is left for the cheap route.
    assert confidence.point(sums, 10 / 8, "all", "constant_1", 0.25) == (
        10 / 8,
        4 / 8,
        (1 / 8, 0.0),
    )
    # Dearer than everything costs.
    assert confidence.point(sums, 99.0, "constant_1", "constant_1", 0.0) == (1.0, 6 / 8, (0.0, 1.0))


def test_one_route_twice_is_one_threshold():
    sums = confidence.table(report, "test", ["all", "constant_1"])
    for share in (0.0, 0.3, 1.0):
        cost, accuracy, shares = confidence.point(sums, 0.5, "constant_1", "constant_1", share)
        assert (cost, accuracy, sum(shares)) == (0.5, 5 / 8, 4 / 8)


def test_routes_are_chosen_on_validation_data():
    """On the test split the dear route is right for nobody."""

    def misleading(split, router):
        each = dict(report(split, router).each)
        if (split, router) == ("test", "all"):
            each["correct"] = np.zeros(8, bool)
        return Report(each, 1.0)

    found = confidence.best(misleading, ["all", "constant_1"], 23 / 8, 23 / 8)
    assert found["routes"] == ["all", "constant_1"] and found["accuracy"] == 6 / 8


def test_they_are_chosen_at_the_validation_cost():
    """With nothing to spend, all settings are alike there, and the first is taken."""
    found = confidence.best(report, ["constant_1", "all"], 0.0, 23 / 8)
    assert found["routes"] == ["constant_1", "constant_1"]
