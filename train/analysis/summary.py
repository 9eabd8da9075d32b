"""What a run ends with: its summary, and the records that its figures show."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.analysis import calibration, confidence, difficulty, gallery, oracle, residuals, routes
from train.evaluate import Reports
from train.run import Run

Record = dict[str, Any]

# Routers with one point of the curve, at the agent's cost, and their keys in the summary.
_PEERS = {
    "shuffled": "shuffled", "two thresholds": "two_thresholds", "two rounds": "two_rounds"
}  # fmt: skip


def analyse(report: Reports, run: Run) -> tuple[Record, dict[str, Record]]:
    """The summary and the records of a finished run, on the test split.

    Args:
        report: of the final parameters.
        run: its config, data and model.

    Returns:
        The summary: see `summarise`, and `of_agent` for a run with an agent.
        Records, by name: `curve`; for a run with an agent also `residuals`, `gallery` if the inputs
        are images, and `difficulty` if the data set knows it.
    """
    config, dataset = run.config, run.dataset
    test, rounds, agent = dataset.test, run.task.model.rounds, config.router == "agent"
    summary = summarise(report, test.difficulty, config.router)
    prices = config.prices if agent else ()
    records = {"curve": curve(report, prices, summary["confidence_route"], rounds)}
    if agent:
        summary |= of_agent(report, summary["random_accuracy"], rounds)
        records["curve"]["routers"] |= {
            router: {"mean_cost": summary[f"{key}_cost"], "accuracy": summary[f"{key}_accuracy"]}
            for router, key in _PEERS.items()
            if f"{key}_cost" in summary
        }
        records["residuals"] = residuals.measure(report, config.model.tol)
        if not dataset.vocabulary:
            records["gallery"] = gallery.measure(report, test, dataset.classes)
        if test.difficulty is not None:
            records["difficulty"] = difficulty.measure(report, test, dataset.difficulty)
    return summary, records


def summarise(report: Reports, hardness: np.ndarray | None, router: str = "agent") -> Record:
    """A router beside others at its cost.

    Costs are MACs beyond the straight pass, as multiples of it. Random routing and confidence
    routing have the router's own cost. `confidence_route` is the route of the unsure samples. The
    validation split chooses it.

    Args:
        report: of the final parameters.
        hardness: difficulty of the test examples, if it is known.
        router: the agent, or the route that a run without an agent was trained on.
    """
    own, straight, all_layers = (report("test", name) for name in (router, "none", "all"))
    budget = [own.mean_cost]
    random = routes.random(report, budget)[0]
    route = confidence.best_route(report, report("validation", router).mean_cost)
    unsure = confidence.one_threshold(report, budget, route)[0]
    right = straight.each["correct"]
    steps, residual = own.each["steps"], own.each["residual"]
    iterated = ~np.isnan(residual)
    layers = range(1, len(own.actions))
    mean = lambda values: float(np.mean(values)) if len(values) else None
    out = {
        "test_examples": len(right),
        "test_accuracy": own.accuracy,
        "straight_accuracy": straight.accuracy,
        "layer_accuracies": routes.outcomes(report, 1).correct.mean(0)[1:].tolist(),
        # Of the layers up to the second, the third, …, without the last.
        "first_accuracies": [report("test", f"first_{layer}").accuracy for layer in layers[1:-1]],
        "all_layers_accuracy": all_layers.accuracy,
        "random_accuracy": random["accuracy"],
        "confidence_accuracy": unsure["accuracy"],
        "mean_cost": own.mean_cost,
        "all_layers_cost": all_layers.mean_cost,
        "random_cost": random["mean_cost"],
        "confidence_cost": unsure["mean_cost"],
        "confidence_route": route,
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
    return out


def of_agent(report: Reports, random_accuracy: float, rounds: int) -> Record:
    """The agent beside routers that know less than the agent, and beside routers that know more.

    Args:
        report: of the final parameters.
        random_accuracy: of random routing at the agent's mean cost.
        rounds: of the model.

    Returns:
        At the agent's mean cost:
        - `shuffled_accuracy`, `shuffled_cost`: expected, with the agent's choices shuffled across
          samples (the cost includes the agent's own);
        - `two_thresholds_…`: as of `confidence.best_two_thresholds`;
        - `two_rounds_…`: as of `confidence.best_two_rounds`, if the model has several rounds;
        - `surest_accuracy`: as of `oracle.surest`;
        - `oracle_accuracy`: as of `oracle.points`;
        - `gap_closed`: the agent's share of the way from random routing to the oracle.
        Of the agent:
        - `routes`: share of the samples on each route, the routes with fewest layers first;
        - `rescued`, `overthought`: shares of all samples that are right only on the agent's route,
          and only on the straight pass;
        - `ece`: as of `calibration.by_layer`.
    """
    agent, straight = report("test"), report("test", "none")
    correct, cost, sure = routes.outcomes(report, rounds)
    taken, budget = routes.taken(agent, rounds), agent.mean_cost
    shares = np.bincount(taken, minlength=correct.shape[1]) / len(taken)
    budgets = report("validation").mean_cost, budget
    peers = {
        "two_thresholds": confidence.best_two_thresholds(
            report, confidence.single_routes(report), *budgets
        )
    }
    if rounds > 1 and routes.count_layers(report) > 1:
        peers["two_rounds"] = confidence.best_two_rounds(report, *budgets)
    best = oracle.points(correct, cost, [budget])[0]["accuracy"]
    gap = best - random_accuracy
    right, before = agent.each["correct"], straight.each["correct"]
    own_cost = np.mean(agent.each["cost"] - cost[np.arange(len(cost)), taken])
    return {
        "surest_accuracy": oracle.surest(sure, correct, cost, budget),
        "shuffled_accuracy": float(shares @ correct.mean(0)),
        "shuffled_cost": float(shares @ cost.mean(0) + own_cost),
        **{f"{name}_{key}": value for name, of in peers.items() for key, value in of.items()},
        "routes": shares.tolist(),
        "oracle_accuracy": best,
        "gap_closed": (agent.accuracy - random_accuracy) / gap if gap > 0 else None,
        "rescued": float(np.mean(right & ~before)),
        "overthought": float(np.mean(before & ~right)),
        "ece": calibration.by_layer(agent),
    }


def curve(report: Reports, prices: Sequence[float], route: str, rounds: int) -> Record:
    """Accuracy against cost: the agent over prices, and the other routers.

    Args:
        report: of the final parameters.
        prices: of the agent; () for a run without an agent, which has no oracle either.
        route: of confidence routing.
        rounds: of the model.
    """
    point = lambda *what: report("test", *what).point()
    layers = routes.count_layers(report)
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
            **(over_budgets(report, route, rounds) if prices else {}),
        },
    }


def over_budgets(report: Reports, route: str, rounds: int, points: int = 11) -> Record:
    """Points of confidence routing and of the oracle, from the straight pass to their most."""
    correct, cost, _ = routes.outcomes(report, rounds)
    to = lambda most: np.linspace(0, most, points).tolist()
    needed = oracle.points(correct, cost, [np.inf])[0]["mean_cost"]
    most = report("test", route).mean_cost
    return {
        "confidence": confidence.one_threshold(report, to(most), route),
        "oracle": oracle.points(correct, cost, to(needed)),
    }
