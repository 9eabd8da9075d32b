"""Confidence routing with two thresholds: the least sure take one route, the next another.

Where routes differ in cost as well as in what they are good at, one threshold is a weak peer: the
dear route is for few. Both routes, and how the samples that act are divided among them, are chosen
on validation data; as in `hindsight`, everything follows from the outcomes of every route.
"""

from collections.abc import Sequence
import itertools
from typing import Any, NamedTuple

import numpy as np

from train.evaluate import Reports

# Tried for the share of all samples that takes the first route.
_SHARES = np.linspace(0, 1, 101)


class Table(NamedTuple):
    """Sums over the least sure 0, 1, … n samples, by route.

    Attributes:
        right: of correctness, int [n + 1].
        spent: of cost, float [n + 1].
    """

    right: dict[str, np.ndarray]
    spent: dict[str, np.ndarray]


def table(report: Reports, split: str, routes: Sequence[str]) -> Table:
    """The sums for "none" and these routes on a split."""
    each = {route: report(split, route).each for route in ("none", *routes)}
    order = np.argsort(each["none"]["straight_confidence"], kind="stable")
    sums = lambda key: {
        route: np.concatenate([[0], np.cumsum(outcome[key][order])])
        for route, outcome in each.items()
    }
    return Table(sums("correct"), sums("cost"))


class Point(NamedTuple):
    """Mean cost and accuracy, and the shares of the samples that take either route."""

    mean_cost: float
    accuracy: float
    shares: tuple[float, float]


def point(sums: Table, budget: float, first: str, second: str, share: float) -> Point:
    """What two thresholds have at a budget.

    Args:
        sums: of the split.
        budget: mean cost, as much as is spent if the routes cost as much at all.
        first: route of the least sure `share` of the samples, or of as many as the budget allows.
        second: route of the next, as many as what is left of the budget allows.
        share: in [0, 1].
    """
    straight, count = sums.right["none"], len(sums.right["none"]) - 1
    right, spent = ({n: part[n] for n in (first, second)} for part in sums)
    most = int(np.searchsorted(spent[first], budget * count, side="right")) - 1
    begin = min(round(share * count), most)
    costs = spent[first][begin] + spent[second][begin:] - spent[second][begin]
    gains = right[second][begin:] - straight[begin:]
    total = straight[-1] + right[first][begin] - right[second][begin] + gains
    paid = min(budget * count, costs[-1])
    accuracy = float(np.interp(paid, costs, total) / count)
    taken = begin / count, float(np.interp(paid, costs, np.arange(len(costs))) / count)
    return Point(float(paid / count), accuracy, taken)


def best(report: Reports, routes: Sequence[str], before: float, budget: float) -> dict[str, Any]:
    """The two routes and the share that are the most accurate on validation data.

    Args:
        report: of the final parameters.
        routes: to choose two from, or one twice.
        before: mean cost on the validation split, at which they are chosen.
        budget: mean cost on the test split.

    Returns:
        `routes`, and on the test split `mean_cost`, `accuracy` and `shares` of either route.
    """
    held_out, test = (table(report, split, routes) for split in ("validation", "test"))
    settings = itertools.product(routes, routes, _SHARES)
    chosen = max(settings, key=lambda setting: point(held_out, before, *setting).accuracy)
    return {"routes": list(chosen[:2]), **point(test, budget, *chosen)._asdict()}
