"""Evaluation: any router on any split, every example once."""

from collections.abc import Callable
import dataclasses
import functools
import time
from typing import Any

import jax
import numpy as np

from dynalay_jax.adaptive import routers
from train.config import parse_router
from train.data.batches import evaluation_batches
from train.data.types import Dataset
from train.parallel import Resident, evaluation
from train.step import Task

PyTree = Any
# The routers that records compare, by their names there, and the labels of tables and figures.
COMPARED = {"straight": "none", "agent": "agent", "all_layers": "all"}
LABELS = {"straight": "straight pass", "agent": "agent", "all_layers": "all layers"}


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
        """Share of the examples on the straight pass, and with layer 1, 2, … iterated."""
        return shares(self.each["iterated"])

    def point(self) -> dict[str, float]:
        """Accuracy and cost, for a curve."""
        return {"mean_cost": self.mean_cost, "accuracy": self.accuracy}


def shares(iterated: np.ndarray) -> list[float]:
    """Of bool [n, L]: share of the rows without a layer, and with layer 1, 2, …"""
    return [float(np.mean(~iterated.any(-1))), *map(float, iterated.mean(0))]


class Evaluator:
    """Runs routers over the splits of a data set with one compiled program."""

    def __init__(self, task: Task, dataset: Dataset) -> None:
        """The validation and test splits go onto the devices."""
        self._task = task
        self._run = evaluation(task)
        self._resident = {
            name: Resident(split)
            for name in ("validation", "test")
            if len((split := getattr(dataset, name)).labels)
        }
        self._kinds = list(routers.by_name(0.0, len(task.model.widths), task.model.rounds))

    def __call__(
        self,
        params: PyTree,
        split: str | Resident,
        router: str = "agent",
        price: float | None = None,
    ) -> Report:
        """Evaluates.

        Args:
            params: replicated, {"main": ..., "agent": ...}.
            split: "validation" or "test", or other examples that are on the devices.
            router: name, with ":setting" if the router has one, as "random:0.5".
            price: λ of the agent; the config's if None.

        Raises:
            UserError: no such router.
        """
        config = self._task.config
        data = self._resident[split] if isinstance(split, str) else split
        model = self._task.model
        name, setting = parse_router(router, len(model.widths), model.rounds)
        price = config.price if price is None else price
        batch = _divisible(min(config.eval_batch, data.count), jax.local_device_count())
        start, parts = time.monotonic(), []
        for i, (indices, mask) in enumerate(evaluation_batches(data.count, batch)):
            kind = self._kinds.index(name)
            part = self._run(params, data, indices, kind, setting, price, config.seed + i)
            parts.append({key: value[mask] for key, value in part.items()})
        each = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        costs = self._task.costs
        decisions = each["decisions"] if name == "agent" else 0
        each["cost"] = (each["macs"].astype(float) + decisions * costs.agent) / costs.straight
        return Report(each, time.monotonic() - start)


def _divisible(batch: int, devices: int) -> int:
    """The next multiple of the number of devices."""
    return -(-batch // devices) * devices


# (split, router, price) → Report of the same parameters.
Reports = Callable[..., Report]


def reports(evaluate: Evaluator, params: PyTree, price: float) -> Reports:
    """Reports of these parameters, each evaluated once: (split, router="agent", price=price)."""
    once = functools.cache(functools.partial(evaluate, params))
    return lambda split, router="agent", at=price: once(split, router, at)
