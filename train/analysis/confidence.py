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

import itertools
from typing import Any, NamedTuple

import numpy as np

from dynalay_jax.adaptive import routers
from train.analysis.routes import count_layers, point
from train.evaluate import Reports

# Tried for the share of all samples that take the first route.
_SHARES = np.linspace(0, 1, 101)


def compare(report: Reports, router: str, rounds: int) -> dict[str, Any]:
    """Confidence routing at the cost of a run's own router.

    Args:
        report: of the parameters.
        router: "agent", or the route that a run without an agent was trained on.
        rounds: of the model.

    Returns:
        `confidence_route`, as of `best_route`, `confidence_cost` and `confidence_accuracy`. Beside
        an agent also `two_thresholds_…` as of `best_two_thresholds` and, if the model has several
        rounds and layers, `two_rounds_…` as of `best_two_rounds`.
    """
    budgets = report("validation", router).mean_cost, report("test", router).mean_cost
    route = best_route(report, budgets[0])
    at = one_threshold(report, budgets[1], route)
    found = {
        "confidence_route": route,
        "confidence_cost": at["mean_cost"],
        "confidence_accuracy": at["accuracy"],
    }
    if router == "agent":
        peers = {"two_thresholds": best_two_thresholds(report, *budgets)}
        if rounds > 1 and count_layers(report) > 1:
            peers["two_rounds"] = best_two_rounds(report, *budgets)
        found |= {f"{name}_{key}": value for name, of in peers.items() for key, value in of.items()}
    return found


def curve(report: Reports, route: str, points: int = 11) -> list[dict[str, float]]:
    """Points of one threshold, from the straight pass to the route for every sample."""
    budgets = np.linspace(0, report("test", route).mean_cost, points).tolist()
    return [one_threshold(report, budget, route) for budget in budgets]


def single_routes(report: Reports) -> list[str]:
    """The routes of one threshold: all layers, or one of them."""
    return ["all", *(f"constant_{layer + 1}" for layer in range(count_layers(report)))]


def one_threshold(
    report: Reports, budget: float, route: str, split: str = "test"
) -> dict[str, float]:
    """The point at which the least sure samples take a route, as many as a mean cost allows."""
    straight, routed = report(split, "none").each, report(split, route).each
    order = np.argsort(straight["straight_confidence"], kind="stable")
    gains = routed["correct"][order].astype(int) - straight["correct"][order]
    right = np.sum(straight["correct"]) + np.cumsum([0, *gains])
    spent = np.cumsum([0.0, *routed["cost"][order]])
    return point(budget, spent / len(order), right / len(order))


def best_route(report: Reports, budget: float) -> str:
    """The route of one threshold that is the most accurate at a cost, on validation data."""
    at = lambda route: one_threshold(report, budget, route, "validation")["accuracy"]
    return max(single_routes(report), key=at)


# By route, numbers of correct samples and costs: sums over the least sure 0, 1, … n samples.
Sums = dict[str, tuple[np.ndarray, np.ndarray]]


def sums(report: Reports, split: str) -> Sums:
    """The sums for "none" and the single routes on a split, arrays [n + 1]."""
    order = np.argsort(report(split, "none").each["straight_confidence"], kind="stable")
    of = lambda route, key: np.cumsum([0, *report(split, route).each[key][order]])
    routes = ("none", *single_routes(report))
    return {route: (of(route, "correct"), of(route, "cost")) for route in routes}


def two_thresholds(
    table: Sums, budget: float, first: str, second: str, share: float
) -> dict[str, Any]:
    """`cost`, `accuracy`, and `shares` of the samples on either route.

    The least sure `share` of the samples takes the first route, as far as the budget, a mean cost,
    allows. The next samples take the second route until the budget is spent.
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


def best_two_thresholds(report: Reports, validation_budget: float, budget: float) -> dict[str, Any]:
    """The two routes, or one twice, and the share that are the most accurate on validation data.

    Returns:
        `routes`, and what `two_thresholds` returns on the test split, at a mean cost for each
        split.
    """
    held_out, test = (sums(report, split) for split in ("validation", "test"))
    at = lambda setting: two_thresholds(held_out, validation_budget, *setting)["accuracy"]
    routes = single_routes(report)
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
    """`cost` and `accuracy` of two rounds.

    The least sure `share` of the samples iterates the first layer, as far as the budget, a mean
    cost, allows. What is left of the budget is for the second layer.
    """
    count = len(seen.confidence[0])
    unsure = np.argsort(seen.confidence[0], kind="stable")[: round(share * count)]
    spent = np.cumsum(seen.cost[1][unsure])
    unsure = unsure[: np.searchsorted(spent, budget * count, side="right")]
    still = unsure[np.argsort(seen.confidence[1][unsure], kind="stable")]
    change = lambda values, new, old: np.asarray(values[new][still], float) - values[old][still]
    right = seen.correct[0].sum() + change(seen.correct, 1, 0).sum()
    costs = seen.cost[1][still].sum() + np.cumsum([0.0, *change(seen.cost, 2, 1)])
    rights = right + np.cumsum([0.0, *change(seen.correct, 2, 1)])
    paid = min(budget * count, costs[-1])
    accuracy = float(np.interp(paid, costs, rights) / count)
    return {"cost": float(paid / count), "accuracy": accuracy}


def best_two_rounds(report: Reports, validation_budget: float, budget: float) -> dict[str, Any]:
    """The two layers and the share that are the most accurate on validation data.

    Returns:
        `layers`, first and second, from 1, and what `two_rounds` returns on the test split.
    """
    pairs = list(itertools.permutations(range(count_layers(report)), 2))
    held_out = {pair: rounds(report, "validation", *pair) for pair in pairs}
    at = lambda setting: two_rounds(held_out[setting[0]], validation_budget, setting[1])["accuracy"]
    pair, share = max(itertools.product(pairs, _SHARES), key=at)
    found = two_rounds(rounds(report, "test", *pair), budget, share)
    return {"layers": [layer + 1 for layer in pair], **found}
