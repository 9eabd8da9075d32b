"""Figures that take several runs, or a benchmark: the paper's Figs. 4 and 6, MACs, and times."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    StrMethodFormatter,
)
import numpy as np

from train.analysis.seeds import Group
from train.metrics import read_metrics
from train.plots import cost_curves, style
from train.plots.style import painted
from train.plots.training import of_trained_agent
from train.workdir import read_record

# Accuracies of several seeds by the number of layers that are iterated.
Routes = Mapping[int, Sequence[float]]


def models(task: str, alone: Routes, shared: Routes) -> Figure | None:
    """Fig. 6: accuracy with the first layers iterated, a point a seed, lines through the means.

    Args:
        task: for the title.
        alone: accuracies of models that were trained on one route each.
        shared: of DynaLay's weights on the same routes.
    """

    def paint(axes: Axes) -> bool:
        series = (("trained on this route alone", alone, style.ORANGE, "s", -0.06),
                  ("DynaLay's weights on this route", shared, style.BLUE, "o", 0.06))  # fmt: skip
        for label, routes, colour, marker, aside in series:
            known = sorted((layers, values) for layers, values in routes.items() if len(values))
            for layers, values in known:
                x = np.full(len(values), layers + aside)
                axes.plot(x, values, marker, color=colour, markersize=4, alpha=0.5)
            if known:
                x = np.array([layers for layers, _ in known]) + aside
                means = [np.mean(values) for _, values in known]
                axes.plot(x, means, color=colour, marker=marker, markersize=8, label=label)
        axes.set(xlabel="layers iterated, from the first (Model 0, 1, …)", ylabel="test accuracy")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.margins(0.08)
        return any(map(len, alone.values()))

    return painted(f"Models that iterate 0, 1, … layers: {task}", paint)


def warmup(task: str, runs: Mapping[str, Group | None]) -> Figure | None:
    """Fig. 4: the agent's validation accuracy over training, a line a seed.

    Args:
        task: for the title.
        runs: by what to call them; the figure needs more than one.
    """

    def paint(axes: Axes) -> bool:
        colours = (style.BLUE, style.RED)
        for (label, group), colour in zip(runs.items(), colours, strict=True):
            for i, workdir in enumerate(group.workdirs if group else ()):
                records = of_trained_agent(read_metrics(workdir))
                known = [r for r in records if r["split"] == "validation"]
                points = [(r["step"], r.get("agent_accuracy", np.nan)) for r in known]
                line: dict[str, Any] = {"color": colour, "marker": ".", "alpha": 0.8}
                axes.plot(*zip(*points, strict=True), **line, label=None if i else label)
        axes.set(xlabel="step", ylabel="validation accuracy of the agent's routes")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        return all(runs.values())

    return painted(f"With and without warm-up: {task}", paint)


def static(own: Group, nets: Sequence[Group]) -> Figure | None:
    """Accuracy against MACs of a config's first run, and of static nets, means over their runs.

    Args:
        own: runs of the config.
        nets: runs of its variants that have nothing to iterate; without any there is no figure.
    """
    if not nets:
        return None
    curve, exits = (read_record(own.workdirs[0], name) or {} for name in ("curve", "early_exit"))
    summary = own.summaries[0]
    straight = summary["mean_macs"] / (1 + summary["mean_cost"])
    mean = lambda net, key: float(np.mean([each[key] for each in net.summaries]))
    points = {
        net.variant: {
            "mean_cost": mean(net, "mean_macs") / straight - 1,
            "accuracy": mean(net, "test_accuracy"),
        }
        for net in nets
    }
    whole = curve | {"routers": curve.get("routers", {}) | points}

    def paint(axes: Axes) -> bool:
        # Nets may take many times what routers do; before the curves, which place prices by it.
        axes.set_xscale("function", functions=(np.log1p, np.expm1))
        axes.xaxis.set_major_locator(FixedLocator((0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)))
        return cost_curves.by_cost(axes, whole, exits)

    figure = painted("Accuracy against cost, with static nets", paint)
    if figure:
        style.name_run(figure, own.workdirs[0])
    return figure


def times(task: str, record: Mapping[str, Any]) -> Figure | None:
    """Accuracy against measured time, by router.

    Args:
        task: for the title.
        record: of `benchmarks.routers`.
    """
    curve: dict[str, Any] = {"agent": [], "routers": {"confidence": [], "random": []}}
    for row in record["rows"]:
        kind, routers = row["kind"], curve["routers"]
        point = {"milliseconds": row["median_ms"], "mean_cost": row["macs"], **row}
        several = curve["agent"] if kind == "agent" else routers.get(kind)
        if several is not None:
            several.append(point)
        elif kind:
            routers[kind] = point

    def paint(axes: Axes) -> bool:
        axes.set_xlabel("time an example, in batches (milliseconds; bars: 10 % to 90 %)")
        # Before the curves, which place the prices by it.
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for row in record["rows"]:
            if row["kind"]:
                bar: dict[str, Any] = {"color": "#bbbbbb", "linewidth": 0.8, "zorder": 1}
                axes.hlines(row["accuracy"], row["p10_ms"], row["p90_ms"], **bar)
        return cost_curves.draw(axes, curve, "milliseconds")

    return painted(f"Accuracy against time: {task}", paint)
