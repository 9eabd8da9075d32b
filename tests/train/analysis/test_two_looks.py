"""Two looks against enumeration, and what iterating one layer after another comes to."""

import itertools

import numpy as np
import pytest

from train.analysis import two_looks
from train.evaluate import Report

RNG = np.random.default_rng(0)
COUNT = 7
CORRECT = {name: RNG.random(COUNT) < 0.5 for name in ("none", "constant_1", "constant_2", "all")}
COST = {"none": 0.0, "constant_1": 4.0, "constant_2": 1.0, "all": 5.0}
CONFIDENCE = {name: RNG.permutation(COUNT) / COUNT for name in CORRECT}


def report(split, router):
    flip = split == "validation"
    each = {"correct": CORRECT[router] ^ flip, "cost": np.full(COUNT, COST[router])}
    sure = {"confidence": CONFIDENCE[router], "straight_confidence": CONFIDENCE["none"]}
    return Report({**each, **sure}, 1.0)


def test_a_layer_above_adds_to_the_first_and_one_below_replaces_it():
    up, down = (two_looks.looks(report, "test", *pair, layers=2) for pair in ((0, 1), (1, 0)))
    assert (up.correct[2] == CORRECT["all"]).all() and set(up.cost[2]) == {5.0}
    assert (down.correct[2] == CORRECT["constant_1"]).all() and set(down.cost[2]) == {5.0}
    assert (up.confidence[1] == CONFIDENCE["constant_1"]).all()
    assert (down.confidence[1] == CONFIDENCE["constant_2"]).all()


@pytest.mark.parametrize("pair", [(0, 1), (1, 0)])
def test_no_other_two_looks_do_better(pair):
    seen = two_looks.looks(report, "test", *pair, layers=2)
    for number in range(COUNT + 1):
        first = np.argsort(seen.confidence[0])[:number]
        again = first[np.argsort(seen.confidence[1][first])]
        for more in range(number + 1):
            taken = np.zeros(COUNT, int)
            taken[first], taken[again[:more]] = 1, 2
            pick = lambda values, taken=taken: np.mean(np.choose(taken, values))
            budget = pick(seen.cost)
            found = two_looks.point(seen, budget, number / COUNT)
            assert found == (pytest.approx(budget), pytest.approx(pick(seen.correct)))


def test_what_the_budget_does_not_allow_is_not_spent():
    seen = two_looks.looks(report, "test", 0, 1, layers=2)
    cost, accuracy = two_looks.point(seen, 4 / COUNT, 1.0)
    first = np.argmin(seen.confidence[0])
    right = CORRECT["none"].sum() + int(CORRECT["constant_1"][first]) - CORRECT["none"][first]
    assert (cost, accuracy) == (pytest.approx(4 / COUNT), pytest.approx(right / COUNT))


def test_layers_and_shares_are_chosen_on_validation_data():
    """What is right there is wrong on the test split, and the other way round."""
    budget = 2.0
    found = two_looks.best(report, 2, budget, budget)
    options = [
        (two_looks.point(two_looks.looks(report, "validation", *pair, 2), budget, share)[1], pair)
        for pair, share in itertools.product([(0, 1), (1, 0)], np.linspace(0, 1, 101))
    ]
    best = max(accuracy for accuracy, _ in options)
    pair = next(pair for accuracy, pair in options if accuracy == best)
    assert found["layers"] == [layer + 1 for layer in pair]
    assert found["mean_cost"] <= budget + 1e-9
