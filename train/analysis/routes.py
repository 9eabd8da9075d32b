"""The outcome of every route for every sample, and what other routers would make of these routes.

A route is the set of layers whose solves are in effect at the end. With one round it is no layer or
one layer. With several rounds a sample can iterate more layers. One sweep for each route gives all
outcomes. From these follows exactly, at any cost, what routing at random, an oracle, confidence
(`confidence`) or the agent's choices shuffled across samples would reach.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

from dynalay_jax.adaptive import routers
from train.evaluate import Report, Reports


class Outcomes(NamedTuple):
    """Outcomes of the R routes on the test split, arrays [n, R].

    Attributes:
        routes: layers of each route, indices from 0. The first is the straight pass; those of one
            action 1 … L follow.
        correct: bool.
        cost: float64, in multiples of the straight pass, beyond it.
        confidence: largest class probability.
    """

    routes: list[tuple[int, ...]]
    correct: np.ndarray
    cost: np.ndarray
    confidence: np.ndarray

    def taken(self, report: Report) -> np.ndarray:
        """The route of each sample, as its place in `routes`, int [n]."""
        standing = report.each["standing"]
        masks = [np.isin(np.arange(standing.shape[1]), route) for route in self.routes]
        return np.argmax((standing[:, None] == masks).all(-1), axis=1)


def outcomes(report: Reports, rounds: int) -> Outcomes:
    """The outcomes of every route of this number of rounds."""
    layers = count_layers(report)
    sizes = range(min(rounds, layers) + 1)
    chosen = [some for size in sizes for some in itertools.combinations(range(layers), size)]
    each = [report("test", routers.constant_name(some, layers)).each for some in chosen]
    # An action may iterate the layers above as well.
    routes = [tuple(np.flatnonzero(one["standing"][0]).tolist()) for one in each]
    stacked = (np.stack([one[key] for one in each], axis=1) for key in Outcomes._fields[1:])
    return Outcomes(routes, *stacked)


def count_layers(report: Reports) -> int:
    """Number of layers of the model."""
    return len(report("test", "none").actions) - 1


def compare(every: Outcomes, own: Report, all_layers: Report, agent: bool) -> dict[str, Any]:
    """Routers that know less than the run's own router, and routers that know more, at its cost.

    Args:
        every: outcomes of the routes.
        own, all_layers: reports on the test split.
        agent: whether the run's router is an agent.

    Returns:
        `random_accuracy`, `random_cost`: as of `random`. With an agent also
        - `routes`: share of the samples on each route;
        - `shuffled_accuracy`, `shuffled_cost`: expected, with the agent's choices shuffled across
          samples (the cost includes the agent's own);
        - `oracle_accuracy`, `surest_accuracy`: as of `oracle` and `surest`;
        - `gap_closed`: the agent's share of the way from random routing to the oracle.
    """
    budget = own.mean_cost
    at_random = random(every, all_layers, budget)
    found = {"random_accuracy": at_random["accuracy"], "random_cost": at_random["mean_cost"]}
    if not agent:
        return found
    taken = every.taken(own)
    shares = np.bincount(taken, minlength=len(every.routes)) / len(taken)
    own_cost = np.mean(own.each["cost"] - every.cost[np.arange(len(taken)), taken])
    best = oracle(every, budget)["accuracy"]
    gap = best - at_random["accuracy"]
    return found | {
        "routes": shares.tolist(),
        "shuffled_accuracy": float(shares @ every.correct.mean(0)),
        "shuffled_cost": float(shares @ every.cost.mean(0) + own_cost),
        "oracle_accuracy": best,
        "surest_accuracy": surest(every, budget),
        "gap_closed": (own.accuracy - at_random["accuracy"]) / gap if gap > 0 else None,
    }


def random(every: Outcomes, all_layers: Report, budget: float) -> dict[str, float]:
    """The point of routing at random, in expectation, at a mean cost.

    Up to the mean cost of an action each sample takes a random action or none. Beyond that cost
    each sample takes a random action or iterates all layers.
    """
    one = slice(1, 1 + all_layers.each["standing"].shape[1])
    costs = np.array([0.0, every.cost[:, one].mean(), all_layers.mean_cost])
    right = [every.correct[:, 0].mean(), every.correct[:, one].mean(), all_layers.accuracy]
    return point(budget, costs, np.array(right))


def point(budget: float, costs: np.ndarray, accuracies: np.ndarray) -> dict[str, float]:
    """`mean_cost` and `accuracy` of mixing the two nearest of some points at random."""
    accuracy = float(np.interp(budget, costs, accuracies))
    return {"mean_cost": float(min(budget, costs[-1])), "accuracy": accuracy}


def oracle(every: Outcomes, budget: float) -> dict[str, float]:
    """The point of the highest accuracy that choosing a route for each sample can have.

    The oracle knows the labels. It takes the cheapest correct route of each sample, and the
    cheapest samples first, until the budget, a mean cost, is spent. Every correct sample counts
    the same, so no choice is better.
    """
    cheapest = np.sort(np.min(np.where(every.correct, every.cost, np.inf), axis=1))
    mean_cost = np.cumsum(cheapest[np.isfinite(cheapest)]) / len(cheapest)
    # Sums of costs in another order may differ in their last bits.
    count = int(np.searchsorted(mean_cost, budget * (1 + 1e-12), side="right"))
    spent = float(mean_cost[count - 1]) if count else 0.0
    return {"mean_cost": spent, "accuracy": count / len(cheapest)}


def oracle_curve(every: Outcomes, points: int = 11) -> list[dict[str, float]]:
    """Points of the oracle from the straight pass to its most expensive."""
    most = oracle(every, np.inf)["mean_cost"]
    return [oracle(every, budget) for budget in np.linspace(0, most, points).tolist()]


def surest(every: Outcomes, budget: float) -> float:
    """Accuracy if each sample takes the route whose answer is the most confident.

    This is the route with the greatest confidence − μ·cost, μ ≥ 0 as small as the budget, a mean
    cost, allows. Between two values of μ the choice is mixed. A router that could predict
    confidences would reach this accuracy. A router that knows when an answer changes, or that knows
    the sample better than the model does, could do better.
    """
    correct, cost, confidence = every.correct, every.cost, every.confidence

    def at(mu: float) -> tuple[float, float]:
        chosen = np.arange(len(cost)), np.argmax(confidence - mu * cost, axis=1)
        return float(cost[chosen].mean()), float(correct[chosen].mean())

    if at(0.0)[0] <= budget:
        return at(0.0)[1]
    # At the upper end every sample takes its cheapest route.
    steps = np.diff(np.sort(cost, axis=1), axis=1)
    low, high = 0.0, 1.0 / steps[steps > 0].min(initial=1.0) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle)[0] <= budget else (middle, high)
    costs, accuracies = zip(at(high), at(low), strict=True)
    return float(np.interp(budget, costs, accuracies))
