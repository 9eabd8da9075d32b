"""Figures of one record each, with the record's name."""

from collections.abc import Mapping, Sequence
import itertools
import textwrap
from typing import Any

from matplotlib.figure import Figure
import numpy as np

from train.plots import style
from train.plots.style import BLACK, ROUTERS


def gallery(record: dict[str, Any]) -> Figure:
    """The easiest images above, the hardest below them."""
    figure = Figure(figsize=(9, 4.4), dpi=150, layout="constrained")
    figure.suptitle("Where the agent spends least and most: labels, steps and iterated layers")
    picture = style.marks if record["marks"] else style.photograph
    names = {"easiest": "Least cost, surest first", "hardest": "Highest cost, least sure first"}
    parts = figure.subfigures(2, 1, squeeze=False)[:, 0]
    for part, (key, name) in zip(parts, names.items(), strict=True):
        part.suptitle(name, fontsize=9)
        examples = record[key]
        for axes, example in zip(part.subplots(1, len(examples)), examples, strict=True):
            title = f"{example['label']}\n{_spent(example)}"
            style.show(axes, picture(example["image"]), title, example["correct"])
    return figure


def _spent(example: dict[str, Any]) -> str:
    layers = "+".join(map(str, example["layers"]))
    return f"{style.steps(example)}\nlayer {layers}" if layers else "straight pass"


def residuals(record: dict[str, Any]) -> Figure:
    """Histograms on a logarithmic axis; residuals of exactly 0 are beside it."""
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
    zero.set(xticks=[], xlabel="exactly 0", ylabel="share of the iterated samples")
    style.percentages(zero)
    figure.legend(loc="outside lower center", fontsize=8)
    return figure


def corruption(record: dict[str, Any]) -> Figure:
    """Accuracy, cost and calibration against severity, a column for each corruption."""
    corruptions = record["corruptions"]
    figure = Figure(figsize=(9, 6.5), dpi=150, layout="constrained")
    figure.suptitle("Corrupted images: accuracy, cost and calibration by severity")
    grid = figure.subplots(3, len(corruptions), sharex=True, sharey="row", squeeze=False)
    for column, (name, rows) in zip(grid.T, corruptions.items(), strict=True):
        for axes, key in zip(column, ("accuracy", "cost", "ece"), strict=True):
            for router, (label, colour) in ROUTERS.items():
                points = [(row["severity"], row.get(f"{router}_{key}", np.nan)) for row in rows]
                line: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3}
                axes.plot(*zip(*points, strict=True), **line, label=label)
        column[0].set_title(name, fontsize=9)
        column[-1].set(xlabel="severity (0: original images)")
    accuracy, cost, error = grid[:, 0]
    accuracy.set(ylabel="accuracy")
    style.percentages(accuracy)
    cost.set(ylabel="agent's cost beyond the\nstraight pass (multiples)")
    error.set(ylabel="expected\ncalibration error")
    for axes in grid[1:, 0]:
        axes.set_ylim(bottom=0)
    figure.align_ylabels(grid[:, 0])
    style.legend(figure, [accuracy])
    return figure


def extrapolate(record: dict[str, Any], static: Mapping[str, Sequence[float]] = {}) -> Figure:
    """Accuracy, steps and actions on test data made with other values of a field.

    Args:
        record: of the study. A run without an agent lacks some rows, which are not drawn.
        static: accuracies of static nets on the same data, by name.
    """
    figure = Figure(figsize=(11, 3.8), dpi=150, layout="constrained")
    figure.suptitle(f"Test data with another {record['field']} than in training")
    accuracy, steps, actions = figure.subplots(1, 3)
    rows, values = record["rows"], range(len(record["rows"]))
    for name, (label, colour) in ROUTERS.items():
        for axes, key in ((accuracy, "accuracy"), (steps, "steps")):
            if f"{name}_{key}" in rows[0]:
                shown = [row[f"{name}_{key}"] for row in rows]
                axes.plot(values, shown, color=colour, marker="o", markersize=4, label=label)
    for (name, accuracies), dash in zip(static.items(), itertools.cycle(("--", ":", "-."))):
        accuracy.plot(values, accuracies, dash, color=BLACK, label=name)
    style.percentages(accuracy)
    accuracy.set(ylabel="accuracy")
    steps.set(ylabel="steps a sample")
    if "actions" in rows[0]:
        style.bars(actions, np.array([row["actions"] for row in rows]).T)
    names = [f"{row['value']}" for row in rows]
    trained = f"{record['field']} of the test data; {record['trained']} in training"
    for axes in (accuracy, steps, actions):
        axes.set(xlabel=trained, xticks=values, xticklabels=names)
    style.legend(figure, [accuracy, actions])
    return figure


def difficulty(record: dict[str, Any]) -> Figure:
    """Examples from easy to hard, and accuracy, steps and actions against difficulty."""
    figure = Figure(figsize=(11, 5.5), dpi=150, layout="constrained")
    figure.suptitle("From easy to hard: examples, accuracy, steps and the agent's choices")
    examples, bins = record["examples"], record["bins"]
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 2))[:, 0]
    for axes, example in zip(top.subplots(1, len(examples)), examples, strict=True):
        title = f"difficulty {example['difficulty']}\n{style.steps(example)}"
        style.show(axes, style.marks(example["image"]), title, example["correct"])
    accuracy, steps, actions = bottom.subplots(1, 3)
    x = [(row["first"] + row["last"]) / 2 for row in bins]
    for name, (label, colour) in ROUTERS.items():
        line: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3, "label": label}
        # The agent above the others.
        line["zorder"] = 3 if name == "agent" else 2
        share = np.array([row[f"{name}_accuracy"] for row in bins])
        error = np.sqrt(share * (1 - share) / [row["examples"] for row in bins])
        accuracy.plot(x, share, **line)
        accuracy.fill_between(x, share - error, share + error, color=colour, alpha=0.2, linewidth=0)
        steps.plot(x, [row[f"{name}_steps"] for row in bins], **line)
    style.percentages(accuracy)
    accuracy.set(ylabel="accuracy ± standard error")
    steps.set(ylabel="steps a sample")
    for axes in (accuracy, steps, actions):
        axes.set(xlabel=textwrap.fill(record["difficulty"], 36))
    style.stack(actions, x, np.array([row["actions"] for row in bins]).T)
    style.legend(bottom, [accuracy, actions])
    return figure
