"""Confidence routing against enumeration, and chosen without the test split."""

import itertools

import numpy as np
import pytest
import sample_outcomes as outcomes

from train.analysis import confidence
from train.evaluate import Report

# The least sure first: the dear route is right for all of these, the cheap one for the next.
DEAR = np.array([1, 1, 0, 0, 1, 1, 1, 1], bool)
CHEAP = np.array([0, 0, 1, 1, 1, 1, 1, 1], bool)
NONE = np.array([0, 0, 0, 0, 0, 1, 1, 1], bool)
COST = {"none": 0.0, "all": 10.0, "constant_1": 1.0}


def report(split, router):
    right = {"none": NONE, "all": DEAR, "constant_1": CHEAP}[router]
    order = np.random.default_rng(0).permutation(8) if split == "test" else np.arange(8)
    each = {"correct": right, "cost": np.full(8, COST[router])}
    each |= {"straight_confidence": np.arange(8) / 8, "iterated": np.zeros((8, 1), bool)}
    return Report({key: value[order] for key, value in each.items()}, 1.0)


def test_one_threshold_is_for_the_least_sure():
    at = lambda budget, route: confidence.one_threshold(outcomes.report, budget, route)
    accuracy = lambda *setting: at(*setting)["accuracy"]
    assert accuracy(0.0, "all") == pytest.approx(2 / 6)
    # Sample 1, which costs 7, becomes right; then sample 2, which costs 8.
    assert accuracy(7 / 6, "all") == pytest.approx(3 / 6)
    assert accuracy(11 / 6, "all") == pytest.approx(3.5 / 6)
    # By layer 1 alone sample 1 costs 4, and sample 2, which costs 2, stays wrong.
    assert accuracy(1.0, "constant_1") == pytest.approx(3 / 6)


def test_no_two_thresholds_do_better():
    sums = confidence.sums(report, "validation")
    for share, budget in itertools.product((0.0, 0.25, 0.5), (1.0, 2.875, 3.0, 6.0)):
        found = confidence.two_thresholds(sums, budget, "all", "constant_1", share)
        expected = []
        for first, end in itertools.combinations_with_replacement(range(9), 2):
            spent = (10 * first + end - first) / 8
            right = DEAR[:first].sum() + CHEAP[first:end].sum() + NONE[end:].sum()
            if first == round(8 * share) and spent <= budget + 1e-9:
                expected.append((spent, right / 8))
        if expected:
            assert found["cost"] <= budget and found["accuracy"] >= max(expected)[1] - 1e-9


def test_the_dear_route_is_for_the_least_sure_and_the_cheap_one_for_the_next():
    found = confidence.best_two_thresholds(report, 23 / 8, 23 / 8)
    assert found["routes"] == ["all", "constant_1"]
    # Two at 10 each and three at 1 make everything right.
    assert (found["cost"], found["accuracy"]) == (pytest.approx(23 / 8), 1.0)
    assert found["shares"] == [2 / 8, 3 / 8]


def test_what_the_budget_does_not_allow_is_not_spent():
    sums = confidence.sums(report, "test")
    at = lambda *what: tuple(confidence.two_thresholds(sums, *what).values())
    assert at(0.0, "all", "constant_1", 0.5) == (0.0, 3 / 8, [0.0, 0.0])
    # One of the two samples of the share takes the first route. Nothing is left for the second.
    assert at(10 / 8, "all", "constant_1", 0.25) == (10 / 8, 4 / 8, [1 / 8, 0.0])
    # More than all samples cost.
    assert at(99.0, "constant_1", "constant_1", 0.0) == (1.0, 6 / 8, [0.0, 1.0])
    # One route twice is one threshold.
    for share in (0.0, 0.3, 1.0):
        cost, accuracy, shares = at(0.5, "constant_1", "constant_1", share)
        assert (cost, accuracy, sum(shares)) == (0.5, 5 / 8, 4 / 8)


def test_routes_are_chosen_on_validation_data():
    """On the test split the dear route is right for nobody."""

    def misleading(split, router):
        each = dict(report(split, router).each)
        if (split, router) == ("test", "all"):
            each["correct"] = np.zeros(8, bool)
        return Report(each, 1.0)

    found = confidence.best_two_thresholds(misleading, 23 / 8, 23 / 8)
    assert found["routes"] == ["all", "constant_1"] and found["accuracy"] == 6 / 8


def test_they_are_chosen_at_the_validation_cost():
    """With nothing to spend, all settings are alike there, and the first is taken."""
    found = confidence.best_two_thresholds(report, 0.0, 23 / 8)
    assert found["routes"] == ["all", "all"]


# Two rounds: two layers, seven samples.
RNG = np.random.default_rng(0)
COUNT = 7
RIGHT = {name: RNG.random(COUNT) < 0.5 for name in ("none", "constant_1", "constant_2", "all")}
SPENT = {"none": 0.0, "constant_1": 4.0, "constant_2": 1.0, "all": 5.0}
CONFIDENCE = {name: RNG.permutation(COUNT) / COUNT for name in RIGHT}


def layered(split, router):
    """Outcomes of two layers; correctness on the test split is the opposite of validation."""
    flip = split == "validation"
    each = {"correct": RIGHT[router] ^ flip, "cost": np.full(COUNT, SPENT[router])}
    each["iterated"] = np.zeros((COUNT, 2), bool)
    sure = {"confidence": CONFIDENCE[router], "straight_confidence": CONFIDENCE["none"]}
    return Report({**each, **sure}, 1.0)


def test_a_layer_above_adds_to_the_first_and_one_below_replaces_it():
    up, down = (confidence.rounds(layered, "test", *pair) for pair in ((0, 1), (1, 0)))
    assert (up.correct[2] == RIGHT["all"]).all() and set(up.cost[2]) == {5.0}
    assert (down.correct[2] == RIGHT["constant_1"]).all() and set(down.cost[2]) == {5.0}
    assert (up.confidence[1] == CONFIDENCE["constant_1"]).all()
    assert (down.confidence[1] == CONFIDENCE["constant_2"]).all()


@pytest.mark.parametrize("pair", [(0, 1), (1, 0)])
def test_no_other_choice_of_samples_does_better(pair):
    seen = confidence.rounds(layered, "test", *pair)
    for number in range(COUNT + 1):
        first = np.argsort(seen.confidence[0])[:number]
        again = first[np.argsort(seen.confidence[1][first])]
        for more in range(number + 1):
            taken = np.zeros(COUNT, int)
            taken[first], taken[again[:more]] = 1, 2
            pick = lambda values, taken=taken: np.mean(np.choose(taken, values))
            budget = pick(seen.cost)
            found = confidence.two_rounds(seen, budget, number / COUNT)
            assert found == pytest.approx({"cost": budget, "accuracy": pick(seen.correct)})


def test_two_rounds_keep_to_the_budget():
    seen = confidence.rounds(layered, "test", 0, 1)
    found = confidence.two_rounds(seen, 4 / COUNT, 1.0)
    first = np.argmin(seen.confidence[0])
    right = RIGHT["none"].sum() + int(RIGHT["constant_1"][first]) - RIGHT["none"][first]
    assert found == pytest.approx({"cost": 4 / COUNT, "accuracy": right / COUNT})


def test_layers_and_shares_are_chosen_on_validation_data():
    """What is right there is wrong on the test split, and the other way round."""
    budget = 2.0
    found = confidence.best_two_rounds(layered, budget, budget)
    held_out = {pair: confidence.rounds(layered, "validation", *pair) for pair in [(0, 1), (1, 0)]}
    at = lambda pair, share: confidence.two_rounds(held_out[pair], budget, share)["accuracy"]
    best = {pair: max(at(pair, share) for share in np.linspace(0, 1, 101)) for pair in held_out}
    assert found["layers"] == [layer + 1 for layer in max(best, key=best.get)]
    assert found["cost"] <= budget + 1e-9


def test_they_stand_beside_a_router_at_its_cost():
    found = confidence.compare(outcomes.report, "agent", 1)
    assert found["confidence_cost"] == pytest.approx(13 / 6)
    assert {"two_thresholds_accuracy", "two_thresholds_cost", "two_thresholds_routes"} <= set(found)
    assert "two_rounds_cost" in confidence.compare(outcomes.twice, "agent", 2)
    assert len(confidence.compare(outcomes.report, "all", 1)) == 3, "no agent, no stronger peers"


def test_the_curve_goes_from_the_straight_pass_to_the_route_for_all():
    points = confidence.curve(outcomes.report, "all", points=7)
    assert len(points) == 7 and points[-1]["mean_cost"] == pytest.approx(43 / 6)
    assert [points[i]["accuracy"] for i in (0, -1)] == pytest.approx([2 / 6, 5 / 6])
