"""What a run ends with: its summary, and the records that its figures show."""

from typing import Any

import numpy as np

from train.analysis import calibration, confidence, difficulty, gallery, residuals, routes
from train.evaluate import Reports
from train.run import Run

Record = dict[str, Any]


def analyse(report: Reports, run: Run) -> tuple[Record, dict[str, Record]]:
    """The summary and the records of a run, from the reports of its final parameters.

    All numbers are of the test split. Costs are MACs beyond the straight pass, as multiples of it.

    Returns:
        The summary: what `routes.compare`, `confidence.compare` and `summarise` return.
        Records, by name: `curve`; for a run with an agent also `residuals`, `gallery` if the inputs
        are images, and `difficulty` if the data set knows it.
    """
    config, dataset, router = run.config, run.dataset, run.config.router
    test, agent = dataset.test, router == "agent"
    rounds = run.task.model.rounds if agent else 1
    every = routes.outcomes(report, rounds)
    summary = {
        **routes.compare(every, report("test", router), report("test", "all"), agent),
        **confidence.compare(report, router, rounds),
        **summarise(report, test.difficulty, router),
    }
    summary["layer_accuracies"] = every.correct.mean(0)[1 : len(summary["actions"])].tolist()
    prices = tuple(sorted({*config.prices, config.price})) if agent else ()
    records = {"curve": curve(report, prices)}
    if agent:
        records["curve"]["routers"] |= {
            "confidence": confidence.curve(report, summary["confidence_route"]),
            "oracle": routes.oracle_curve(every),
            **{
                name.replace("_", " "): {
                    "mean_cost": summary[f"{name}_cost"],
                    "accuracy": summary[f"{name}_accuracy"],
                }
                for name in ("shuffled", "two_thresholds", "two_rounds")
                if f"{name}_cost" in summary
            },
        }
        records["residuals"] = residuals.measure(report, config.model.tol)
        if not dataset.vocabulary:
            records["gallery"] = gallery.measure(report, test, dataset.classes)
        if test.difficulty is not None:
            records["difficulty"] = difficulty.measure(report, test, dataset.difficulty)
    return summary, records


def summarise(report: Reports, hardness: np.ndarray | None, router: str = "agent") -> Record:
    """What a router does, beside the straight pass and all layers.

    Args:
        report: of the final parameters.
        hardness: difficulty of the test examples, if it is known.
        router: the agent, or the route that a run without an agent was trained on.

    Returns:
        Accuracies, costs, losses and steps; for an agent also
        - `rescued`, `overthought`: shares of all samples that are right only on the agent's route,
          and only on the straight pass;
        - `ece`: as of `calibration.by_layer`.
    """
    own, straight, all_layers = (report("test", name) for name in (router, "none", "all"))
    correct, right = own.each["correct"], straight.each["correct"]
    steps, residual = own.each["steps"], own.each["residual"]
    iterated = ~np.isnan(residual)
    layers = range(1, len(own.actions))
    mean = lambda values: float(np.mean(values)) if len(values) else None
    out = {
        "test_examples": len(right),
        "test_accuracy": own.accuracy,
        "straight_accuracy": straight.accuracy,
        # Of the layers up to the second, the third, …, without the last.
        "first_accuracies": [report("test", f"first_{layer}").accuracy for layer in layers[1:-1]],
        "all_layers_accuracy": all_layers.accuracy,
        "mean_cost": own.mean_cost,
        "all_layers_cost": all_layers.mean_cost,
        "steps_when_straight_wrong": mean(steps[~right]),
        "steps_when_straight_right": mean(steps[right]),
        "actions": own.actions,
        "median_residual": float(np.median(residual[iterated])) if iterated.any() else None,
        "converged": mean(own.each["converged"][iterated]),
        "test_loss": own.loss,
        "straight_loss": straight.loss,
        "layer_losses": [report("test", f"constant_{layer}").loss for layer in layers],
        "all_layers_loss": all_layers.loss,
    }
    if hardness is not None:
        out["difficulty_spearman"] = difficulty.correlation(hardness, steps)
    if router == "agent":
        out["rescued"] = float(np.mean(correct & ~right))
        out["overthought"] = float(np.mean(right & ~correct))
        out["ece"] = calibration.by_layer(own)
    return out


def curve(report: Reports, prices: tuple[float, ...]) -> Record:
    """Accuracy against cost: the agent over prices, none without an agent; the other routers."""
    layers = routes.count_layers(report)
    rates = np.linspace(0, layers, 2 * layers + 1).tolist()
    # At its ends random routing is one of these, which are evaluated anyway.
    ends = {0.0: "none", float(layers): "all"}
    point = lambda router: report("test", router).point()
    agent = [(price, report("test", "agent", price)) for price in prices]
    return {
        "agent": [{"price": price, **at.point(), "actions": at.actions} for price, at in agent],
        "routers": {
            "none": point("none"),
            **{f"layer {j + 1}": point(f"constant_{j + 1}") for j in range(layers)},
            "all layers": point("all"),
            "random": [{"rate": rate, **point(ends.get(rate, f"random:{rate}"))} for rate in rates],
        },
    }
