"""A second look by confidence: the least sure iterate one layer, and those still unsure another.

The peer of an agent with several rounds, as one and two thresholds are of an agent with one. Which
layers, and how many samples iterate the first, is chosen on validation data; as in `hindsight`,
everything follows from the outcomes of every route. What iterating layer b after layer a comes to:
for b above a, both; for b below a, layer b alone, as what a made of its old input is lost.
"""

from collections.abc import Callable
import itertools
from typing import Any, NamedTuple

import numpy as np

from dynalay_jax.adaptive import routers
from train.evaluate import Reports

# Tried for the share of all samples that iterates the first layer.
_SHARES = np.linspace(0, 1, 101)


class Looks(NamedTuple):
    """Outcomes of a split after no, one and two layers, arrays [n].

    Attributes:
        correct: bool, of each.
        cost: float, of each.
        confidence: before the first layer and before the second.
    """

    correct: tuple[np.ndarray, np.ndarray, np.ndarray]
    cost: tuple[np.ndarray, np.ndarray, np.ndarray]
    confidence: tuple[np.ndarray, np.ndarray]


def looks(report: Reports, split: str, first: int, second: int, layers: int) -> Looks:
    """Of the least sure iterating layer `first`, then layer `second`, indices from 0."""
    of = lambda *some: report(split, routers.fixed(tuple(sorted(some)), layers)).each
    none, one = of(), of(first)
    both = of(first, second) if second > first else of(second)
    total = both["cost"] if second > first else one["cost"] + both["cost"]
    return Looks(
        (none["correct"], one["correct"], both["correct"]),
        (none["cost"], one["cost"], total),
        (none["straight_confidence"], one["confidence"]),
    )


def point(seen: Looks, budget: float, share: float) -> tuple[float, float]:
    """Mean cost and accuracy at a budget.

    Args:
        seen: outcomes.
        budget: mean cost, as much as is spent if that much can be.
        share: of the samples that iterates the first layer, or as many as the budget allows; as
            many of them go on as what is left of it allows.
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
    return float(paid / count), float(np.interp(paid, costs, rights) / count)


def best(report: Reports, layers: int, before: float, budget: float) -> dict[str, Any]:
    """The two layers and the share that are the most accurate on validation data.

    Args:
        report: of the final parameters.
        layers: how many there are, at least 2.
        before: mean cost on the validation split, at which they are chosen.
        budget: mean cost on the test split.

    Returns:
        `layers`, first and second, from 1, and on the test split `mean_cost` and `accuracy`.
    """
    pairs = list(itertools.permutations(range(layers), 2))
    held_out = {pair: looks(report, "validation", *pair, layers) for pair in pairs}
    accuracy: Callable = lambda setting: point(held_out[setting[0]], before, setting[1])[1]
    pair, share = max(itertools.product(pairs, _SHARES), key=accuracy)
    cost, accurate = point(looks(report, "test", *pair, layers), budget, share)
    return {"layers": [layer + 1 for layer in pair], "mean_cost": cost, "accuracy": accurate}
