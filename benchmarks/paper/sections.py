"""What sections of the page are made of, and those about calibration and certificates."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from benchmarks.paper.figures import Routes
from dynalay_jax.layers.certified import LipschitzCell
from dynalay_jax.layers.registry import CELLS
from train.analysis import seeds
from train.analysis.seeds import Group

Row = list[str]
# Column: key of summary.json, format, factor.
Columns = Mapping[str, tuple[str, str, float]]
_CELLS = ("concave", "cascade", "orthogonal", "bounded", "free")
_SCHEDULES = {"warm-up, then joint": "", "all epochs joint": "no_warmup"}


@dataclasses.dataclass(frozen=True)
class Section:
    """A table with a title, a note below it, and figures by name.

    `kind` is "text" for columns of text, "two" where the first two are, else the first alone is.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    figures: Sequence[str] = ()
    kind: str = ""


class Found:
    """Runs by config and variant."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = {(group.task, group.variant): group for group in groups}
        self.tasks = list(dict.fromkeys(group.task for group in groups))
        # Of the configs as they are, which the figures of the paper are about.
        self.agents = [group for group in groups if group.has_agent and not group.variant]

    def get(self, task: str, variant: str = "") -> Group | None:
        """The runs of a variant, None where there are none."""
        return self._groups.get((task, variant))

    def static(self, task: str) -> list[Group]:
        """The runs of its variants that have nothing to iterate."""
        return [
            group
            for (name, variant), group in self._groups.items()
            if name == task and variant and group.summaries[0]["router"] == "none"
        ]

    def schedules(self, task: str) -> dict[str, Group | None]:
        """With and without warm-up, for Fig. 4."""
        return {label: self.get(task, variant) for label, variant in _SCHEDULES.items()}

    def models(self, task: str) -> tuple[Routes, Routes]:
        """Test accuracies with the first 0, 1, … layers iterated, for Fig. 6.

        Returns:
            Those of models trained on that route alone, and those of DynaLay's weights.
        """
        trained = {
            int(variant.removeprefix("model_")): group
            for (name, variant), group in self._groups.items()
            if name == task and variant.startswith("model_")
        }
        own = self.get(task)
        known = [*([own] if own else []), *trained.values()]
        layers = len(known[0].summaries[0]["layer_accuracies"]) if known else -1
        of = lambda group: [s["test_accuracy"] for s in group.summaries] if group else []
        shared = [_routes(summary) for summary in own.summaries] if own else []
        counts = range(layers + 1)
        return (
            {i: of(trained.get(i)) for i in counts},
            {i: [routes[i] for routes in shared if i in routes] for i in counts},
        )


def _routes(summary: Mapping[str, Any]) -> dict[int, float]:
    """Accuracy by the number of layers iterated, as far as it was evaluated."""
    between = dict(enumerate(summary.get("first_accuracies", ()), 2))
    layers = len(summary["layer_accuracies"])
    ends = {0: summary["straight_accuracy"], layers: summary["all_layers_accuracy"]}
    return {1: summary["layer_accuracies"][0], **between, **ends}


def row(group: Group | None, columns: Columns) -> Row:
    """n and means; says so where nothing was run."""
    if group is None:
        return ["not run", *("—" for _ in columns)]
    means = (seeds.mean(group.summaries, *column) for column in columns.values())
    return [str(len(group.summaries)), *means]


def by_action(values: Sequence[Any]) -> dict[str, Any]:
    """Values of no operation, layer 1, … by "0", "1", …"""
    return {str(action): value for action, value in enumerate(values)}


def calibration(groups: Sequence[Group]) -> Section:
    """Expected calibration error of the agent's samples by what was done to them."""
    agents = [group for group in groups if group.has_agent]
    most = max((len(group.summaries[0]["actions"]) for group in agents), default=1)
    rows = []
    for group in agents:
        errors = [by_action(s.get("ece", ())) for s in group.summaries]
        means = [seeds.mean(errors, str(action)) for action in range(most)]
        rows.append([group.name, str(len(errors)), *means])
    return Section(
        "ECE by action",
        ["config", "n", "no operation", *(f"layer {layer}" for layer in range(1, most))],
        rows,
        "Expected calibration error on the test split, in points of confidence, 15 bins, of the "
        "samples for which the agent chose this; small where few chose it is noise. — where none.",
    )


def certificate(groups: Sequence[Group]) -> Section:
    """What a certified contraction costs, by cell, for each task."""
    columns: Columns = {
        "no operation (%)": ("straight_accuracy", ".1f", 100),
        "agent (%)": ("test_accuracy", ".1f", 100),
        "all layers (%)": ("all_layers_accuracy", ".1f", 100),
        "cost": ("mean_cost", ".2f", 1),
        "steps, straight wrong": ("steps_when_straight_wrong", ".2f", 1),
        "steps, straight right": ("steps_when_straight_right", ".2f", 1),
        "median residual": ("median_residual", ".0e", 1),
        "converged (%)": ("converged", ".1f", 100),
    }
    found = Found(groups)
    rows = []
    for task in found.tasks:
        base = found.get(task)
        others = {cell: found.get(task, f"cell_{cell}") for cell in _CELLS}
        if any(others.values()):
            own = {base.config["model"]["cell"]: base} if base else {}
            by_cell = own | {cell: group for cell, group in others.items() if cell not in own}
            rows += [[task, c, _certified(c), *row(g, columns)] for c, g in by_cell.items()]
    rows = rows or [["all", "all", "—", *row(None, columns)]]
    return Section(
        "The price of the certificate",
        ["config", "cells", "contraction", "n", *columns],
        rows,
        "Contraction: whether the cell has a certified Euclidean factor below 1 (Eq. 6). The first "
        "row of a config is its own cell; the others differ in the cell alone, free ones are "
        "solved by Anderson's method. Cascade cells reach their one fixed point exactly, in one "
        "sweep. Configs that were run with one cell alone are left out.",
        kind="two",
    )


def _certified(cell: str) -> str:
    return "yes" if issubclass(CELLS[cell], LipschitzCell) else "no"
