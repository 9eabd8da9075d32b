"""Confidence routing: the least sure samples of the straight pass take another route.

The simplest peers of an agent, at its cost and with the same weights:
- one threshold: samples below it take one route;
- two thresholds: samples below the lower one take the first route, the next samples the second. If
  routes differ in cost, one threshold is a weak peer: the expensive route is for few samples.
- two rounds, a peer of agents with several rounds: the least sure samples iterate one layer. Those
  that are still unsure iterate another. A layer above the first adds to it. A layer below the first
  replaces it, since the first layer's result depended on its old input.

The budget sets the thresholds. The validation split chooses the routes and the shares. Everything
follows from the outcomes of every route.
"""

from collections.abc import Sequence
import itertools
from typing import Any, NamedTuple

import numpy as np

from dynalay_jax.adaptive import routers
from train.analysis.routes import count_layers, interpolated
from train.evaluate import Reports

# Tried for the share of all samples that take the first route.
_SHARES = np.linspace(0, 1, 101)


def single_routes(report: Reports) -> list[str]:
    """The routes of one threshold: all layers, or one of them."""
    return ["all", *(f"constant_{layer + 1}" for layer in range(count_layers(report)))]


def one_threshold(
    report: Reports, budgets: Sequence[float], route: str, split: str = "test"
) -> list[dict]:
    """Points as of `routes.random`: the least sure samples take a route.

    Args:
        report: of the parameters.
        budgets: mean costs. As many samples take the route as the budget allows.
        route: of `single_routes`.
        split: of the data.
    """
    straight, routed = report(split, "none").each, report(split, route).each
    order = np.argsort(straight["straight_confidence"], kind="stable")
    gains = routed["correct"][order].astype(int) - straight["correct"][order]
    right = np.sum(straight["correct"]) + np.cumsum([0, *gains])
    spent = np.cumsum([0.0, *routed["cost"][order]])
    return interpolated(budgets, spent / len(order), right / len(order))


def best_route(report: Reports, budget: float) -> str:
    """The route of one threshold that is the most accurate at a cost, on validation data."""
    at = lambda route: one_threshold(report, [budget], route, "validation")[0]["accuracy"]
    return max(single_routes(report), key=at)


# By route, numbers of correct samples and costs: sums over the least sure 0, 1, … n samples.
Sums = dict[str, tuple[np.ndarray, np.ndarray]]


def sums(report: Reports, split: str, routes: Sequence[str]) -> Sums:
    """The sums for "none" and these routes on a split, arrays [n + 1]."""
    order = np.argsort(report(split, "none").each["straight_confidence"], kind="stable")
    of = lambda route, key: np.cumsum([0, *report(split, route).each[key][order]])
    return {route: (of(route, "correct"), of(route, "cost")) for route in ("none", *routes)}


def two_thresholds(
    table: Sums, budget: float, first: str, second: str, share: float
) -> dict[str, Any]:
    """Two thresholds at a budget.

    Args:
        table: of the split.
        budget: mean cost. It is spent, unless the routes cost less for all samples.
        first: route of the least sure `share` of the samples, as far as the budget allows.
        second: route of the next samples, until the budget is spent.
        share: in [0, 1].

    Returns:
        `cost`, mean, `accuracy`, and `shares` of the samples on either route.
    """
    straight = table["none"][0]
    (right, spent), (then_right, then_spent) = table[first], table[second]
    count = len(straight) - 1
    most = int(np.searchsorted(spent, budget * count, side="right")) - 1
    begin = min(round(share * count), most)
    costs = spent[begin] + then_spent[begin:] - then_spent[begin]
    gains = then_right[begin:] - straight[begin:]
    total = straight[-1] + right[begin] - then_right[begin] + gains
    paid = min(budget * count, costs[-1])
    return {
        "cost": float(paid / count),
        "accuracy": float(np.interp(paid, costs, total) / count),
        "shares": [begin / count, float(np.interp(paid, costs, np.arange(len(costs))) / count)],
    }


def best_two_thresholds(
    report: Reports, routes: Sequence[str], validation_budget: float, budget: float
) -> dict[str, Any]:
    """The two routes and the share that are the most accurate on validation data.

    Args:
        report: of the parameters.
        routes: to choose two from, or one twice.
        validation_budget: mean cost on the validation split at which they are chosen.
        budget: mean cost on the test split.

    Returns:
        `routes`, and on the test split what `two_thresholds` returns.
    """
    held_out, test = (sums(report, split, routes) for split in ("validation", "test"))
    at = lambda setting: two_thresholds(held_out, validation_budget, *setting)["accuracy"]
    chosen = max(itertools.product(routes, routes, _SHARES), key=at)
    return {"routes": list(chosen[:2]), **two_thresholds(test, budget, *chosen)}


class Rounds(NamedTuple):
    """Outcomes of a split after no round, one and two rounds, arrays [n].

    Attributes:
        correct: bool, after each.
        cost: float, after each.
        confidence: before the first round and before the second.
    """

    correct: tuple[np.ndarray, np.ndarray, np.ndarray]
    cost: tuple[np.ndarray, np.ndarray, np.ndarray]
    confidence: tuple[np.ndarray, np.ndarray]


def rounds(report: Reports, split: str, first: int, second: int) -> Rounds:
    """Of iterating layer `first` and then layer `second`, indices from 0."""
    layers = count_layers(report)
    of = lambda *some: report(split, routers.constant_name(tuple(sorted(some)), layers)).each
    none, one = of(), of(first)
    both = of(first, second) if second > first else of(second)
    total = both["cost"] if second > first else one["cost"] + both["cost"]
    return Rounds(
        (none["correct"], one["correct"], both["correct"]),
        (none["cost"], one["cost"], total),
        (none["straight_confidence"], one["confidence"]),
    )


def two_rounds(seen: Rounds, budget: float, share: float) -> dict[str, float]:
    """Two rounds at a budget.

    Args:
        seen: outcomes.
        budget: mean cost. It is spent, unless both rounds cost less for all samples.
        share: of the samples that iterate the first layer, as far as the budget allows. The rest of
            the budget is for the second layer.

    Returns:
        `cost`, mean, and `accuracy`.
    """
    count = len(seen.confidence[0])
    unsure = np.argsort(seen.confidence[0], kind="stable")[: round(share * count)]
    spent = np.cumsum(seen.cost[1][unsure])
    unsure = unsure[: np.searchsorted(spent, budget * count, side="right")]
    still = unsure[np.argsort(seen.confidence[1][unsure], kind="stable")]
    change = lambda values, new, old, at: np.asarray(values[new][at], float) - values[old][at]
    right = seen.correct[0].sum() + change(seen.correct, 1, 0, still).sum()
    costs = seen.cost[1][still].sum() + np.cumsum([0.0, *change(seen.cost, 2, 1, still)])
    rights = right + np.cumsum([0.0, *change(seen.correct, 2, 1, still)])
    paid = min(budget * count, costs[-1])
    return {
        "cost": float(paid / count),
        "accuracy": float(np.interp(paid, costs, rights) / count),
    }


def best_two_rounds(report: Reports, validation_budget: float, budget: float) -> dict[str, Any]:
    """The two layers and the share that are the most accurate on validation data.

    Args:
        report: of the parameters of a model with two layers or more.
        validation_budget, budget: as of `best_two_thresholds`.

    Returns:
        `layers`, first and second, from 1, and on the test split what `two_rounds` returns.
    """
    pairs = list(itertools.permutations(range(count_layers(report)), 2))
    held_out = {pair: rounds(report, "validation", *pair) for pair in pairs}
    at = lambda setting: two_rounds(held_out[setting[0]], validation_budget, setting[1])["accuracy"]
    pair, share = max(itertools.product(pairs, _SHARES), key=at)
    found = two_rounds(rounds(report, "test", *pair), budget, share)
    return {"layers": [layer + 1 for layer in pair], **found}
