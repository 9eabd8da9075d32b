"""Outcomes are those of each route, and random routing mixes them."""

import numpy as np
import pytest
from sample_outcomes import CHOSEN, CORRECT, COST, report, twice

from train.analysis import routes


def test_outcomes_are_those_of_each_route():
    correct, cost, _ = routes.outcomes(report, 1)
    assert (correct == CORRECT).all() and (cost == COST).all()
    assert (routes.taken(report("test"), 1) == CHOSEN).all()


def test_with_two_rounds_both_layers_are_a_route_too():
    correct, cost, _ = routes.outcomes(twice, 2)
    assert (correct == np.column_stack([CORRECT, CORRECT.any(1)])).all()
    assert (cost == np.column_stack([COST, COST.sum(1)])).all()
    assert routes.taken(twice("test"), 2).tolist() == [3, 1, 2, 0, 1, 3]


def test_random_routing_mixes_no_layer_one_and_all():
    points = routes.random(report, [0.0, 43 / 24, 43 / 12, 43 / 6, 99.0])
    single = CORRECT[:, 1:].mean()
    accuracies = [2 / 6, (2 / 6 + single) / 2, single, 5 / 6, 5 / 6]
    # The single layers cost 43 in all, 3.58 on average; all layers twice that.
    assert [point["accuracy"] for point in points] == pytest.approx(accuracies)
    assert [point["mean_cost"] for point in points] == pytest.approx(
        [0.0, 43 / 24, 43 / 12, 43 / 6, 43 / 6]
    )
