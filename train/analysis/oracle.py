"""The best choice of a route for each sample: with the labels, and with the confidences alone.

The arguments are arrays [n, R] over samples and routes, as of `routes.outcomes`.
"""

from collections.abc import Sequence

import numpy as np


def points(correct: np.ndarray, cost: np.ndarray, budgets: Sequence[float]) -> list[dict]:
    """The highest accuracy that choosing a route for each sample can have at a mean cost.

    The oracle takes the cheapest correct route of each sample, and the cheapest samples first,
    until the budget is spent. Every correct sample counts the same, so no choice is better.

    Args:
        correct, cost: of every route.
        budgets: mean costs.

    Returns:
        Points with `mean_cost` and `accuracy`, one for each budget.
    """
    cheapest = np.sort(np.min(np.where(correct, cost, np.inf), axis=1))
    mean_cost = np.cumsum(cheapest[np.isfinite(cheapest)]) / len(cost)
    out = []
    for budget in budgets:
        # Sums of costs in another order may differ in their last bits.
        count = int(np.searchsorted(mean_cost, budget * (1 + 1e-12), side="right"))
        spent = float(mean_cost[count - 1]) if count else 0.0
        out.append({"mean_cost": spent, "accuracy": count / len(cost)})
    return out


def surest(confidence: np.ndarray, correct: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """Accuracy if each sample takes the route whose answer is the most confident.

    This is the route with the greatest confidence − μ·cost, μ ≥ 0 as small as the budget allows.
    Between two values of μ the choice is mixed. A router that could predict confidences would reach
    this accuracy. A router that knows when an answer changes, or that knows the sample better than
    the model does, could do better.

    Args:
        confidence: largest class probability of every route.
        correct, cost: of every route.
        budget: mean cost.
    """
    samples = np.arange(len(cost))

    def at(price: float) -> tuple[float, float]:
        chosen = samples, np.argmax(confidence - price * cost, axis=1)
        return float(cost[chosen].mean()), float(correct[chosen].mean())

    if at(0.0)[0] <= budget:
        return at(0.0)[1]
    # At the upper price every sample takes its cheapest route.
    steps = np.diff(np.sort(cost, axis=1), axis=1)
    low, high = 0.0, 1.0 / steps[steps > 0].min(initial=1.0) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle)[0] <= budget else (middle, high)
    costs, accuracies = zip(at(high), at(low), strict=True)
    return float(np.interp(budget, costs, accuracies))
