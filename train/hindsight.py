"""What each route would have done to each sample, and what could have been made of that.

From the outcomes of every route for every sample follow, without running anything again and at any
cost exactly, random and confidence routing; and, as with one round the agent's actions are such
routes, its choices dealt to other samples (does it matter who is iterated?), an oracle that knows
the labels (what is there to gain?), and how much thinking helped and harmed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train import graded
from train.evaluate import Report, Reports

# Of the expected calibration error, as in Guo et al., On Calibration of Modern Neural Networks.
_BINS = 15


def outcomes(report: Reports, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Correct bool [n, L + 1] and cost float64 [n, L + 1] of every action."""
    each = [report(split, router).each for router in ("none", *_single(report))]
    stacked = lambda key: np.stack([outcome[key] for outcome in each], axis=1)
    return stacked("correct"), stacked("cost")


def _single(report: Reports) -> list[str]:
    """The routers that iterate one layer for every sample."""
    layers = len(report("test", "none").actions) - 1
    return [f"constant_{layer + 1}" for layer in range(layers)]


def oracle(correct: np.ndarray, cost: np.ndarray, budgets: Sequence[float]) -> list[dict]:
    """The highest accuracy that choosing one layer or none for each sample can have at a mean cost.

    It takes the cheapest right action of each sample, the cheapest samples first, as far as the
    budget goes. Every right sample counts the same, so that no choice is better.

    Args:
        correct, cost: of every action, as `outcomes` gives them.
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
    correct, cost = outcomes(report)
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


def curves(report: Reports, route: str, points: int = 11) -> dict[str, list[dict]]:
    """Accuracy against cost on the test split, of confidence routing and of the oracle."""
    correct, cost = outcomes(report)
    to = lambda most: np.linspace(0, most, points).tolist()
    needed = oracle(correct, cost, [np.inf])[0]["mean_cost"]
    return {
        "confidence": confidence(report, to(report("test", route).mean_cost), route),
        "oracle": oracle(correct, cost, to(needed)),
    }


def measure(report: Reports, random_accuracy: float) -> dict[str, Any]:
    """The agent against hindsight, on the test split.

    Args:
        report: of the final parameters of a model with one round.
        random_accuracy: of random routing at the agent's mean cost.

    Returns:
        `shuffled_accuracy`, `shuffled_cost` (with the agent's own): expected, of its choices dealt
        at random to the samples; `graded_accuracy`, `graded_cost`, `graded_routes`,
        `graded_shares`: of confidence routing with two thresholds, as of `graded.best`;
        `oracle_accuracy` at the agent's cost; `gap_closed`, the agent's share of the way from
        random routing to the oracle; `rescued` and `overthought`, shares of all samples that are
        right only by the agent's route, and only by the straight pass; `ece`, the expected
        calibration error of the agent's samples by action (None where there are none).
    """
    agent, straight = report("test"), report("test", "none")
    correct, cost = outcomes(report)
    shares = np.asarray(agent.actions)
    best = oracle(correct, cost, [agent.mean_cost])[0]["accuracy"]
    gap = best - random_accuracy
    routes, paid = ["all", *_single(report)], report("validation").mean_cost
    two = graded.best(report, routes, paid, agent.mean_cost)
    right, before = agent.each["correct"], straight.each["correct"]
    chosen = np.where(agent.each["iterated"].any(-1), agent.each["iterated"].argmax(-1) + 1, 0)
    asking = np.mean(agent.each["cost"] - cost[np.arange(len(cost)), chosen])
    return {
        "shuffled_accuracy": float(shares @ correct.mean(0)),
        "shuffled_cost": float(shares @ cost.mean(0) + asking),
        "graded_accuracy": two["accuracy"],
        "graded_cost": two["mean_cost"],
        "graded_routes": two["routes"],
        "graded_shares": list(two["shares"]),
        "oracle_accuracy": best,
        "gap_closed": (agent.accuracy - random_accuracy) / gap if gap > 0 else None,
        "rescued": float(np.mean(right & ~before)),
        "overthought": float(np.mean(before & ~right)),
        "ece": _calibration(agent),
    }


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
