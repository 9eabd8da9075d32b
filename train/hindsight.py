"""What each action would have done to each sample, and what could have been made of that.

With one round an action is a route of its own, which the constant routers run for every sample.
From their outcomes follow, without running anything again, the agent's choices dealt to other
samples (does it matter who is iterated?), an oracle that knows the labels (what is there to gain at
this cost?), and how much thinking helped and harmed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.evaluate import Report, Reports

# Of the expected calibration error, as in Guo et al., On Calibration of Modern Neural Networks.
_BINS = 15


def outcomes(report: Reports, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Correct bool [n, L + 1] and cost float64 [n, L + 1] of every action."""
    layers = range(1, len(report(split).actions))
    each = [report(split, router).each for router in ("none", *map("constant_{}".format, layers))]
    stacked = lambda key: np.stack([outcome[key] for outcome in each], axis=1)
    return stacked("correct"), stacked("cost")


def oracle(correct: np.ndarray, cost: np.ndarray, budgets: Sequence[float]) -> list[dict]:
    """The highest accuracy that choosing an action for each sample can have at a mean cost.

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


def confidence(report: Reports, shares: Sequence[float]) -> list[dict]:
    """Points of iterating all layers for these shares of the test samples, the least sure first."""
    straight, everything = report("test", "none").each, report("test", "all").each
    order = np.argsort(straight["straight_confidence"], kind="stable")
    points = []
    for share in shares:
        count = round(share * len(order))
        most, rest = order[:count], order[count:]
        right = np.sum(everything["correct"][most]) + np.sum(straight["correct"][rest])
        points.append(
            {
                "share": share,
                "mean_cost": float(np.sum(everything["cost"][most]) / len(order)),
                "accuracy": float(right / len(order)),
            }
        )
    return points


def curves(report: Reports, points: int = 11) -> dict[str, list[dict]]:
    """Accuracy against cost on the test split, of confidence routing and of the oracle."""
    correct, cost = outcomes(report)
    needed = oracle(correct, cost, [np.inf])[0]["mean_cost"]
    return {
        "confidence": confidence(report, np.linspace(0, 1, points).tolist()),
        "oracle": oracle(correct, cost, np.linspace(0, needed, points).tolist()),
    }


def measure(report: Reports, random_accuracy: float) -> dict[str, Any]:
    """The agent against hindsight, on the test split.

    Args:
        report: of the final parameters of a model with one round.
        random_accuracy: of random routing at the agent's mean cost.

    Returns:
        `shuffled_accuracy`, `shuffled_cost`: expected, of the agent's choices dealt at random to
        the samples; `oracle_accuracy` at the agent's cost; `gap_closed`, the agent's share of the
        way from random routing to the oracle; `rescued` and `overthought`, shares of all samples
        that are right only by the agent's route, and only by the straight pass; `ece`, the
        expected calibration error of the agent's samples by action (None where there are none).
    """
    agent, straight = report("test"), report("test", "none")
    correct, cost = outcomes(report)
    shares = np.asarray(agent.actions)
    best = oracle(correct, cost, [agent.mean_cost])[0]["accuracy"]
    gap = best - random_accuracy
    right, before = agent.each["correct"], straight.each["correct"]
    return {
        "shuffled_accuracy": float(shares @ correct.mean(0)),
        "shuffled_cost": float(shares @ cost.mean(0)),
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
