"""What each route would have done to each sample, and what could have been made of that.

From the outcomes of every route for every sample follow, without running anything again and at any
cost exactly, random and confidence routing; the agent's choices dealt to other samples (does it
matter who is iterated?); an oracle that knows the labels (what is there to gain?), and the surest
route of each sample (what of that do confidences tell?); and how much thinking helped and harmed.
With several rounds a route is the layers whose solves stand in the end. Iterated in one sweep, as
outcomes have them, they cost a little less than one after the other.
"""

from collections.abc import Sequence
import itertools
from typing import Any

import numpy as np

from dynalay_jax.adaptive import routers
from train.analysis import confidence as graded
from train.analysis import two_looks
from train.evaluate import Report, Reports

# Of the expected calibration error, as in Guo et al., On Calibration of Modern Neural Networks.
_BINS = 15


def outcomes(report: Reports, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Correct bool [n, R] and cost float64 [n, R] of every route of so many rounds, on test."""
    return _outcomes(report, rounds, "correct"), _outcomes(report, rounds, "cost")


def _outcomes(report: Reports, rounds: int, key: str) -> np.ndarray:
    """What every route of so many rounds comes to on test, [n, R]."""
    layers = _layers(report)
    fixed = (routers.fixed(route, layers) for route in _routes(layers, rounds))
    return np.stack([report("test", router).each[key] for router in fixed], axis=1)


def _layers(report: Reports) -> int:
    return len(report("test", "none").actions) - 1


def _routes(layers: int, rounds: int) -> list[tuple[int, ...]]:
    """The sets of layers that so many rounds can iterate, smallest first; with one, the actions."""
    sizes = range(min(rounds, layers) + 1)
    return [route for size in sizes for route in itertools.combinations(range(layers), size)]


def _single(report: Reports) -> list[str]:
    """The routers that iterate one layer for every sample."""
    return [f"constant_{layer + 1}" for layer in range(_layers(report))]


def oracle(correct: np.ndarray, cost: np.ndarray, budgets: Sequence[float]) -> list[dict]:
    """The highest accuracy that choosing a route for each sample can have at a mean cost.

    It takes the cheapest right route of each sample, the cheapest samples first, as far as the
    budget goes. Every right sample counts the same, so that no choice is better.

    Args:
        correct, cost: of every route, as `outcomes` gives them.
        budgets: mean costs.

    Returns:
        Points with `mean_cost` and `accuracy`, one a budget.
    """
    cheapest = np.sort(np.min(np.where(correct, cost, np.inf), axis=1))
    mean_cost = np.cumsum(cheapest[np.isfinite(cheapest)]) / len(cost)
    points = []
    for budget in budgets:
        # Sums of costs in another order may differ in their last bits.
        count = int(np.searchsorted(mean_cost, budget * (1 + 1e-12), side="right"))
        spent = float(mean_cost[count - 1]) if count else 0.0
        points.append({"mean_cost": spent, "accuracy": count / len(cost)})
    return points


def surest(confidence: np.ndarray, correct: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """Accuracy where each sample takes the route that would be surest of its answer.

    That is the one with the greatest confidence − μ·cost, μ ≥ 0 as small as the budget allows;
    between two choices it is mixed. A router that knew confidences beforehand could do as well;
    one that knew when an answer changes, or the sample better than the model does, could do more.

    Args:
        confidence: largest class probability of every route, [n, R].
        correct, cost: as `outcomes` gives them.
        budget: mean cost.
    """
    samples = np.arange(len(cost))

    def spent(price: float) -> tuple[float, float]:
        chosen = samples, np.argmax(confidence - price * cost, axis=1)
        return float(cost[chosen].mean()), float(correct[chosen].mean())

    if spent(0.0)[0] <= budget:
        return spent(0.0)[1]
    # At the higher price nobody takes a route that costs more than the cheapest.
    steps = np.diff(np.sort(cost, axis=1), axis=1)
    low, high = 0.0, 1.0 / steps[steps > 0].min(initial=1.0) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle)[0] <= budget else (middle, high)
    costs, accuracies = zip(spent(high), spent(low), strict=True)
    return float(np.interp(budget, costs, accuracies))


def random(report: Reports, budgets: Sequence[float]) -> list[dict]:
    """What routing blindly has for an accuracy on the test split, in expectation.

    Up to the mean cost of a single layer each sample iterates a layer drawn at random or none,
    beyond it a layer drawn at random or all.

    Args:
        report: of the parameters.
        budgets: mean costs.

    Returns:
        Points with `mean_cost` and `accuracy`, one a budget.
    """
    correct, cost = outcomes(report, 1)
    everything = report("test", "all")
    return _interpolated(
        budgets,
        np.array([0.0, cost[:, 1:].mean(), everything.mean_cost]),
        np.array([correct[:, 0].mean(), correct[:, 1:].mean(), everything.accuracy]),
    )


def confidence(
    report: Reports, budgets: Sequence[float], route: str = "all", split: str = "test"
) -> list[dict]:
    """Points as of `random` where the least sure samples take a route, "all" or "constant_l".

    The samples are those whose straight pass has the smallest largest class probability, as many
    as the budget allows.
    """
    straight, routed = report(split, "none").each, report(split, route).each
    order = np.argsort(straight["straight_confidence"], kind="stable")
    gains = routed["correct"][order].astype(int) - straight["correct"][order]
    right = np.sum(straight["correct"]) + np.cumsum([0, *gains])
    spent = np.cumsum([0.0, *routed["cost"][order]])
    return _interpolated(budgets, spent / len(order), right / len(order))


def _interpolated(
    budgets: Sequence[float], costs: np.ndarray, accuracies: np.ndarray
) -> list[dict]:
    """Points between given ones, which mixing two settings at random has in expectation."""
    return [
        {
            "mean_cost": float(min(budget, costs[-1])),
            "accuracy": float(np.interp(budget, costs, accuracies)),
        }
        for budget in budgets
    ]


def best_route(report: Reports, budget: float) -> str:
    """The route of confidence routing that is the most accurate at a cost, on validation data."""
    routes = ["all", *_single(report)]
    accuracy = lambda route: confidence(report, [budget], route, "validation")[0]["accuracy"]
    return max(routes, key=accuracy)


def curves(report: Reports, route: str, rounds: int = 1, points: int = 11) -> dict[str, list[dict]]:
    """Accuracy against cost on the test split, of confidence routing and of the oracle."""
    correct, cost = outcomes(report, rounds)
    to = lambda most: np.linspace(0, most, points).tolist()
    needed = oracle(correct, cost, [np.inf])[0]["mean_cost"]
    return {
        "confidence": confidence(report, to(report("test", route).mean_cost), route),
        "oracle": oracle(correct, cost, to(needed)),
    }


def measure(report: Reports, random_accuracy: float, rounds: int) -> dict[str, Any]:
    """The agent against hindsight, on the test split.

    Args:
        report: of the final parameters.
        random_accuracy: of random routing at the agent's mean cost.
        rounds: of the model.

    Returns:
        `shuffled_accuracy`, `shuffled_cost` (with the agent's own): expected, of its choices dealt
        at random to the samples; `graded_accuracy`, `graded_cost`, `graded_routes`,
        `graded_shares`: of confidence routing with two thresholds, as of `graded.best`; with
        several rounds `cascade_…`: of confidence routing that looks twice, as of `cascade.best`;
        `surest_accuracy`: at the agent's cost, as of `surest`;
        `routes`, shares of the samples by the layers whose solves stand, fewest layers first;
        `oracle_accuracy` at the agent's cost; `gap_closed`, the agent's share of the way from
        random routing to the oracle; `rescued` and `overthought`, shares of all samples that are
        right only by the agent's route, and only by the straight pass; `ece`, the expected
        calibration error of the agent's samples by the layer they iterate, first of those without
        (None where there are none).
    """
    agent, straight = report("test"), report("test", "none")
    correct, cost = outcomes(report, rounds)
    chosen = _chosen(agent.each["standing"], rounds)
    shares = np.bincount(chosen, minlength=correct.shape[1]) / len(chosen)
    best = oracle(correct, cost, [agent.mean_cost])[0]["accuracy"]
    gap = best - random_accuracy
    routes, paid = ["all", *_single(report)], report("validation").mean_cost
    two = graded.best(report, routes, paid, agent.mean_cost)
    looks = {}
    if rounds > 1 and _layers(report) > 1:
        second = two_looks.best(report, _layers(report), paid, agent.mean_cost)
        looks = {f"cascade_{key}": value for key, value in second.items()}
    right, before = agent.each["correct"], straight.each["correct"]
    asking = np.mean(agent.each["cost"] - cost[np.arange(len(cost)), chosen])
    return {
        "surest_accuracy": surest(
            _outcomes(report, rounds, "confidence"), correct, cost, agent.mean_cost
        ),
        "shuffled_accuracy": float(shares @ correct.mean(0)),
        "shuffled_cost": float(shares @ cost.mean(0) + asking),
        "graded_accuracy": two["accuracy"],
        "graded_cost": two["mean_cost"],
        "graded_routes": two["routes"],
        "graded_shares": list(two["shares"]),
        **looks,
        "routes": shares.tolist(),
        "oracle_accuracy": best,
        "gap_closed": (agent.accuracy - random_accuracy) / gap if gap > 0 else None,
        "rescued": float(np.mean(right & ~before)),
        "overthought": float(np.mean(before & ~right)),
        "ece": _calibration(agent),
    }


def _chosen(standing: np.ndarray, rounds: int) -> np.ndarray:
    """Places among `_routes` of the layers whose solves stand, bool [n, L] → int [n]."""
    layers = standing.shape[1]
    masks = [np.isin(np.arange(layers), route) for route in _routes(layers, rounds)]
    return np.argmax((standing[:, None] == masks).all(-1), axis=1)


def _calibration(agent: Report) -> list[float | None]:
    iterated = agent.each["iterated"]
    taken = [~iterated.any(-1), *iterated.T]
    each = ((agent.each["confidence"][on], agent.each["correct"][on]) for on in taken)
    return [calibration_error(*pair) if len(pair[0]) else None for pair in each]


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Σ over bins of confidence of (share of samples in it) · |accuracy − mean confidence|."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    excess = np.bincount(bins, correct - confidence.astype(float), _BINS)
    return float(np.abs(excess).sum() / len(correct))
