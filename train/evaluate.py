"""Evaluation: any router on any split, every example once, and the comparison at equal cost."""

from collections.abc import Sequence
import dataclasses
import difflib
import time
from typing import Any

import jax
import numpy as np
from scipy import stats

from dynalay_jax import routers
from train.data import Dataset, Split, evaluation_batches
from train.errors import UserError
from train.step import Resident, Task, evaluation

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Report:
    """What a router did with a split.

    Attributes:
        each: arrays with one entry an example, see `step.evaluation_step`; `cost` float64 is the
            MACs beyond the straight pass, the agent's included where it decides, as a multiple of
            the straight pass's.
        seconds: wall-clock time of the evaluation.
    """

    each: dict[str, np.ndarray]
    seconds: float

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.each["correct"]))

    @property
    def loss(self) -> float:
        return float(np.mean(self.each["loss"]))

    @property
    def mean_cost(self) -> float:
        return float(np.mean(self.each["cost"]))

    @property
    def actions(self) -> list[float]:
        """Share of the examples that iterated nothing, and that iterated layer 1, 2, …"""
        iterated = self.each["iterated"]
        return [float(np.mean(~iterated.any(-1))), *map(float, iterated.mean(0))]

    def point(self) -> dict[str, float]:
        """Accuracy and cost, for a curve."""
        return {"mean_cost": self.mean_cost, "accuracy": self.accuracy}


class Evaluator:
    """Runs routers over the splits of a data set with one compiled program."""

    def __init__(self, task: Task, dataset: Dataset) -> None:
        """Args:
        task: the model and its surroundings.
        dataset: for its validation and test splits, which go onto the devices.
        """
        self._task, self._dataset = task, dataset
        self._run = evaluation(task)
        self._resident = {
            name: Resident(split)
            for name in ("validation", "test")
            if len((split := getattr(dataset, name)).labels)
        }
        self._kinds = list(routers.everyone(0.0, len(task.model.widths)))

    def split(self, name: str) -> Split:
        """The split of that name as loaded."""
        return getattr(self._dataset, name)

    def __call__(
        self, params: PyTree, split: str, router: str = "agent", price: float | None = None
    ) -> Report:
        """Evaluates.

        Args:
            params: replicated, {"main": ..., "agent": ...}.
            split: "validation" or "test".
            router: name, with ":setting" where it needs one, as "random:0.5".
            price: λ told to the agent; the config's if None.

        Raises:
            UserError: no such router.
        """
        config, data = self._task.config, self._resident[split]
        name, setting = self._parse(router)
        price = config.price if price is None else price
        batch = _divisible(min(config.eval_batch, data.count), jax.local_device_count())
        start, parts = time.monotonic(), []
        for i, (indices, mask) in enumerate(evaluation_batches(data.count, batch)):
            kind = self._kinds.index(name)
            part = self._run(params, data, indices, kind, setting, price, config.seed + i)
            parts.append({key: value[mask] for key, value in part.items()})
        each = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        costs = self._task.costs
        asked = each["decisions"] if name == "agent" else 0
        each["cost"] = (each["macs"].astype(float) + asked * costs.agent) / costs.straight
        return Report(each, time.monotonic() - start)

    def _parse(self, router: str) -> tuple[str, float]:
        name, _, setting = router.partition(":")
        if name not in self._kinds:
            near = difflib.get_close_matches(name, self._kinds, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"config.router: expected one of {', '.join(self._kinds)}, got {router!r}.{hint}"
            )
        needs = name.startswith(("random", "confidence"))
        try:
            number = float(setting) if setting or needs else 0.0
        except ValueError:
            number = -1.0
        if number < 0 or bool(setting) != needs:
            raise UserError(
                "config.router: random takes a mean number of layers and confidence a threshold, "
                f'as "random:0.5" or "confidence:0.9", the others nothing; got {router!r}.'
            )
        return name, number

    def random_at(self, params: PyTree, cost: float, split: str = "validation") -> str:
        """The random router whose mean cost on the split is the given one."""
        rates = np.arange(len(self._task.model.widths) + 1.0)
        spent = [self(params, split, f"random:{rate}").mean_cost for rate in rates]
        # Between whole rates the router is a mixture of its neighbours, so its cost is linear.
        return f"random:{np.interp(cost, spent, rates):.6f}"

    def confidence_at(self, params: PyTree, cost: float, split: str = "validation") -> str:
        """The confidence router, all layers, whose mean cost on the split is the given one."""
        each = self(params, split, "all").each
        order = np.argsort(each["confidence"])
        spent = np.cumsum(each["cost"][order]) / len(order)
        within = int(np.searchsorted(spent, cost))
        edges = np.append(each["confidence"][order], 1.0 + 1e-6)
        return f"confidence:{edges[within]:.6f}"


def _divisible(batch: int, devices: int) -> int:
    """The next multiple of the number of devices."""
    return -(-batch // devices) * devices


def summary(evaluate: Evaluator, params: PyTree) -> dict[str, Any]:
    """The comparison on the test split that a run ends with; what is tuned is so on validation.

    Costs are MACs beyond the straight pass as multiples of it.
    """
    agent = evaluate(params, "test")
    straight = evaluate(params, "test", "none")
    everything = evaluate(params, "test", "all")
    aim = evaluate(params, "validation").mean_cost
    rate = evaluate.random_at(params, aim)
    threshold = evaluate.confidence_at(params, aim)
    random = evaluate(params, "test", rate)
    confidence = evaluate(params, "test", threshold)
    right, steps = straight.each["correct"], agent.each["steps"]
    residual = agent.each["residual"]
    iterated = ~np.isnan(residual)
    mean = lambda values: float(np.mean(values)) if len(values) else None
    out = {
        "test_examples": len(right),
        "test_accuracy": agent.accuracy,
        "straight_accuracy": straight.accuracy,
        "all_layers_accuracy": everything.accuracy,
        "random_accuracy": random.accuracy,
        "confidence_accuracy": confidence.accuracy,
        "mean_cost": agent.mean_cost,
        "all_layers_cost": everything.mean_cost,
        "random_cost": random.mean_cost,
        "random_router": rate,
        "confidence_cost": confidence.mean_cost,
        "confidence_router": threshold,
        "steps_when_straight_wrong": mean(steps[~right]),
        "steps_when_straight_right": mean(steps[right]),
        "actions": agent.actions,
        "median_residual": float(np.median(residual[iterated])) if iterated.any() else None,
        "converged": mean(agent.each["converged"][iterated]),
        "images_per_second": len(right) / evaluate(params, "test").seconds,
        "test_loss": agent.loss,
    }
    difficulty = evaluate.split("test").difficulty
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
    return float(stats.spearmanr(difficulty[known], steps[known]).statistic)


def curve(evaluate: Evaluator, params: PyTree, prices: Sequence[float]) -> dict[str, Any]:
    """Accuracy against cost on the test split: the agent over prices, and the other routers."""
    point = lambda router: evaluate(params, "test", router).point()
    layers = len(evaluate(params, "test", "none").actions) - 1
    rates = np.linspace(0, layers, 2 * layers + 1)
    return {
        "agent": [
            {"price": price, **evaluate(params, "test", "agent", price).point()} for price in prices
        ],
        "routers": {
            "none": point("none"),
            **{f"layer {j + 1}": point(f"constant_{j + 1}") for j in range(layers)},
            "all layers": point("all"),
            "random": [{"rate": rate, **point(f"random:{rate}")} for rate in rates],
        },
    }
