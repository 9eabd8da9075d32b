"""The comparison that a run ends with: summary.json and curve.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is first used

from train.analysis import routes
from train.evaluate import Reports


def summarise(
    report: Reports, difficulty: np.ndarray | None, router: str = "agent"
) -> dict[str, Any]:
    """A router against others at its cost, on the test split.

    Costs are MACs beyond the straight pass as multiples of it. Those of random and confidence
    routing are the router's own; `confidence_route` is what the unsure samples iterate, chosen on
    the validation split.

    Args:
        report: of the final parameters.
        difficulty: of the test examples, where it is known.
        router: whose accuracy and cost it is about; the agent's, where there is one.
    """
    agent, straight, everything = (report("test", name) for name in (router, "none", "all"))
    budget = [agent.mean_cost]
    random = routes.random(report, budget)[0]
    route = routes.best_route(report, report("validation", router).mean_cost)
    confidence = routes.confidence(report, budget, route)[0]
    right, steps = straight.each["correct"], agent.each["steps"]
    residual = agent.each["residual"]
    iterated = ~np.isnan(residual)
    layers = range(1, len(agent.actions))
    mean = lambda values: float(np.mean(values)) if len(values) else None
    out = {
        "test_examples": len(right),
        "images_per_second": len(right) / agent.seconds,
        "test_accuracy": agent.accuracy,
        "straight_accuracy": straight.accuracy,
        "layer_accuracies": routes.outcomes(report, 1)[0].mean(0)[1:].tolist(),
        # Of the layers up to the second, the third, …, without the last.
        "first_accuracies": [report("test", f"first_{j}").accuracy for j in layers[1:-1]],
        "all_layers_accuracy": everything.accuracy,
        "random_accuracy": random["accuracy"],
        "confidence_accuracy": confidence["accuracy"],
        "mean_cost": agent.mean_cost,
        "all_layers_cost": everything.mean_cost,
        "random_cost": random["mean_cost"],
        "confidence_cost": confidence["mean_cost"],
        "confidence_route": route,
        "steps_when_straight_wrong": mean(steps[~right]),
        "steps_when_straight_right": mean(steps[right]),
        "actions": agent.actions,
        "median_residual": float(np.median(residual[iterated])) if iterated.any() else None,
        "converged": mean(agent.each["converged"][iterated]),
        "test_loss": agent.loss,
        "straight_loss": straight.loss,
        "layer_losses": [report("test", f"constant_{j}").loss for j in layers],
        "all_layers_loss": everything.loss,
    }
    if difficulty is not None:
        out["difficulty_spearman"] = correlation(difficulty, steps)
        out["difficulty_spearman_all_layers"] = correlation(difficulty, everything.each["steps"])
    return out


def correlation(difficulty: np.ndarray, steps: np.ndarray) -> float | None:
    """Spearman's ρ of known difficulty and steps spent, where difficulty is ≥ 0; None if either
    is constant."""
    known = difficulty >= 0
    if np.ptp(difficulty[known]) == 0 or np.ptp(steps[known]) == 0:
        return None
    return float(scipy.stats.spearmanr(difficulty[known], steps[known]).statistic)


def curve(report: Reports, prices: Sequence[float], route: str, rounds: int) -> dict[str, Any]:
    """Accuracy against cost on the test split: the agent over prices, and the other routers.

    Args:
        report: of the final parameters.
        prices: of the agent; none where there is no agent, who then has no oracle either.
        route: of confidence routing.
        rounds: of the model.
    """
    point = lambda *what: report("test", *what).point()
    layers = len(report("test", "none").actions) - 1
    rates = np.linspace(0, layers, 2 * layers + 1)
    # At its ends random routing is one of these, which are evaluated anyway.
    ends = {0.0: "none", float(layers): "all"}
    return {
        "agent": [
            {
                "price": price,
                **point("agent", price),
                "actions": report("test", "agent", price).actions,
            }
            for price in prices
        ],
        "routers": {
            "none": point("none"),
            **{f"layer {j + 1}": point(f"constant_{j + 1}") for j in range(layers)},
            "all layers": point("all"),
            "random": [
                {"rate": rate, **point(ends.get(rate, f"random:{rate}"))} for rate in rates.tolist()
            ],
            **(routes.curves(report, route, rounds) if prices else {}),
        },
    }
