"""The outcome of every route for every sample, and routing at random.

A route is the set of layers whose solves are in effect at the end. With one round it is no layer or
one layer. With several rounds a sample can iterate more layers. Exact results follow from these
outcomes at any cost, without further evaluations: random routing, confidence routing
(`confidence`), the agent's choices shuffled across samples, and the oracle (`oracle`).
Outcomes come from a single sweep, which costs a little less than one round for each layer.
"""

from collections.abc import Sequence
import itertools
from typing import NamedTuple

import numpy as np

from dynalay_jax.adaptive import routers
from train.evaluate import Report, Reports


class Outcomes(NamedTuple):
    """Arrays [n, R] over samples and routes.

    Attributes:
        correct: bool.
        cost: float64, in multiples of the straight pass, beyond it.
        confidence: largest class probability.
    """

    correct: np.ndarray
    cost: np.ndarray
    confidence: np.ndarray


def outcomes(report: Reports, rounds: int) -> Outcomes:
    """Of every route of this number of rounds, on the test split."""
    layers = count_layers(report)
    each = [
        report("test", routers.constant_name(route, layers)).each
        for route in _routes(layers, rounds)
    ]
    return Outcomes(*(np.stack([one[key] for one in each], axis=1) for key in Outcomes._fields))


def count_layers(report: Reports) -> int:
    """Number of layers of the model."""
    return len(report("test", "none").actions) - 1


def _routes(layers: int, rounds: int) -> list[tuple[int, ...]]:
    """The sets of layers that this number of rounds can iterate, smallest first."""
    sizes = range(min(rounds, layers) + 1)
    return [route for size in sizes for route in itertools.combinations(range(layers), size)]


def taken(report: Report, rounds: int) -> np.ndarray:
    """The route of each sample, as its place among the outcomes, int [n]."""
    standing = report.each["standing"]
    layers = standing.shape[1]
    masks = [np.isin(np.arange(layers), route) for route in _routes(layers, rounds)]
    return np.argmax((standing[:, None] == masks).all(-1), axis=1)


def random(report: Reports, budgets: Sequence[float]) -> list[dict]:
    """Expected accuracy of routing at random, on the test split.

    Up to the mean cost of a single layer each sample iterates a random layer or none. Beyond that
    cost each sample iterates a random layer or all.

    Args:
        report: of the parameters.
        budgets: mean costs.

    Returns:
        Points with `mean_cost` and `accuracy`, one for each budget.
    """
    one, all_layers = outcomes(report, 1), report("test", "all")
    return interpolated(
        budgets,
        np.array([0.0, one.cost[:, 1:].mean(), all_layers.mean_cost]),
        np.array([one.correct[:, 0].mean(), one.correct[:, 1:].mean(), all_layers.accuracy]),
    )


def interpolated(budgets: Sequence[float], costs: np.ndarray, accuracies: np.ndarray) -> list[dict]:
    """Points between given ones: what mixing two of them at random has in expectation."""
    return [
        {
            "mean_cost": float(min(budget, costs[-1])),
            "accuracy": float(np.interp(budget, costs, accuracies)),
        }
        for budget in budgets
    ]
