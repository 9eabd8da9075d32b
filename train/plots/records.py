"""Figures of one record each: `gallery.json`, `residuals.json`, `robustness.json` and others."""

from collections.abc import Mapping, Sequence
import itertools
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from train.plots import style as drawing
from train.plots.style import BLACK, ROUTERS


def gallery(record: dict[str, Any]) -> Figure:
    """The easiest images above, the hardest below."""
    figure = Figure(figsize=(9, 4.4), dpi=150, layout="constrained")
    figure.suptitle("What the agent finds easy, and what hard: labels, and what was spent on them")
    picture = drawing.marks if record["marks"] else drawing.photograph
    names = {"easiest": "Least spent, surest first", "hardest": "Most spent, least sure first"}
    parts = figure.subfigures(2, 1, squeeze=False)[:, 0]
    for part, (key, name) in zip(parts, names.items(), strict=True):
        part.suptitle(name, fontsize=9)
        examples = record[key]
        for axes, example in zip(part.subplots(1, len(examples)), examples, strict=True):
            title = f"{example['label']}\n{_spent(example)}"
            drawing.show(axes, picture(example["image"]), title, example["correct"])
    return figure


def _spent(example: dict[str, Any]) -> str:
    layers = "+".join(map(str, example["layers"]))
    return f"{drawing.steps(example)}\nlayer {layers}" if layers else "no operation"


def residuals(record: dict[str, Any]) -> Figure:
    """Histograms on a logarithmic axis, and beside them, what it has no place for: exactly 0."""
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    figure.suptitle("Residuals of the solves")
    zero, axes = figure.subplots(1, 2, sharey=True, width_ratios=(1, 5))
    shown = {name: each for name, each in record["routers"].items() if each["samples"]}
    for i, (name, each) in enumerate(shown.items()):
        label, colour = ROUTERS[name]
        label += f": {each['samples']:,} iterated, {each['unconverged']:.1%} not converged"
        share = np.array([each["zero"], *each["counts"]]) / each["samples"]
        zero.bar(i, share[0], color=colour, alpha=0.7)
        axes.stairs(share[1:], record["edges"], color=colour, label=label, linewidth=1.5)
    axes.axvline(record["tolerance"], color=BLACK, linestyle="--", label="tolerance")
    axes.set(xscale="log", xlabel="relative residual ‖f(z) − z‖ / ‖f(z)‖, worst of a sample")
    zero.set(xticks=[], xlabel="exactly 0", ylabel="share of the samples iterated")
    zero.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(loc="outside lower center", fontsize=8)
    return figure


def robustness(record: dict[str, Any]) -> Figure:
    """Accuracy, cost and calibration against severity, a column for each corruption."""
    corruptions = record["corruptions"]
    figure = Figure(figsize=(9, 6.5), dpi=150, layout="constrained")
    figure.suptitle("Images made worse: accuracy, cost and calibration by severity")
    grid = figure.subplots(3, len(corruptions), sharex=True, sharey="row", squeeze=False)
    for column, (name, rows) in zip(grid.T, corruptions.items(), strict=True):
        for axes, key in zip(column, ("accuracy", "cost", "ece"), strict=True):
            for router, (label, colour) in ROUTERS.items():
                points = [(row["severity"], row.get(f"{router}_{key}", np.nan)) for row in rows]
                style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3}
                axes.plot(*zip(*points, strict=True), **style, label=label)
        column[0].set_title(name, fontsize=9)
        column[-1].set(xlabel="severity (0: as they are)")
    accuracy, cost, error = grid[:, 0]
    accuracy.set(ylabel="accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    cost.set(ylabel="agent's cost beyond the\nstraight pass (multiples)")
    error.set(ylabel="expected\ncalibration error")
    for axes in grid[1:, 0]:
        axes.set_ylim(bottom=0)
    figure.align_ylabels(grid[:, 0])
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    return figure


def extrapolation(record: dict[str, Any], static: Mapping[str, Sequence[float]] = {}) -> Figure:
    """Accuracy, steps and actions on test data made with other values of a field.

    Args:
        record: of `train.extrapolate`; what it lacks, as a baseline's does, is not drawn.
        static: accuracies of static nets on the same data, by name.
    """
    figure = Figure(figsize=(11, 3.8), dpi=150, layout="constrained")
    figure.suptitle(f"Test data of other {record['field']} than in training")
    accuracy, steps, actions = figure.subplots(1, 3)
    rows, values = record["rows"], range(len(record["rows"]))
    for name, (label, colour) in ROUTERS.items():
        for axes, key in ((accuracy, "accuracy"), (steps, "steps")):
            if f"{name}_{key}" in rows[0]:
                shown = [row[f"{name}_{key}"] for row in rows]
                axes.plot(values, shown, color=colour, marker="o", markersize=4, label=label)
    for (name, accuracies), style in zip(static.items(), itertools.cycle(("--", ":", "-."))):
        accuracy.plot(values, accuracies, style, color=BLACK, label=name)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy.set(ylabel="accuracy")
    steps.set(ylabel="evaluations of cells a sample")
    if "actions" in rows[0]:
        drawing.bars(actions, np.array([row["actions"] for row in rows]).T)
    names = [f"{row['value']}" for row in rows]
    trained = f"{record['field']} of the test data; {record['trained']} in training"
    for axes in (accuracy, steps, actions):
        axes.set(xlabel=trained, xticks=values, xticklabels=names)
    shown = [axes.get_legend_handles_labels() for axes in (accuracy, actions)]
    handles, labels = ([*first, *second] for first, second in zip(*shown, strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure
