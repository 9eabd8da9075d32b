"""Figures of one record each, with the record's name."""

from collections.abc import Mapping, Sequence
import itertools
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from train.plots import pictures, style
from train.plots.style import BLACK, ROUTERS

_GALLERY = {
    "easiest": "Least cost, surest first",
    "hardest": "Highest cost, least sure first",
    "mistakes": "Wrong answers, surest first",
}


def gallery(record: dict[str, Any]) -> Figure:
    """The easiest images above, the hardest below them, then the agent's mistakes."""
    rows = [(name, record[key]) for key, name in _GALLERY.items() if record.get(key)]
    figure = Figure(figsize=(9, 2.2 * len(rows)), dpi=150, layout="constrained")
    figure.suptitle("Above: label, steps and iterated layers; below: the agent's answer")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, (name, examples) in zip(parts, rows, strict=True):
        part.suptitle(name, fontsize=9)
        pictures.row(part, examples, record["marks"], _spent)
    return figure


def _spent(example: dict[str, Any]) -> str:
    layers = "+".join(map(str, example["layers"]))
    spent = f"{pictures.steps(example)}\nlayer {layers}" if layers else "straight pass"
    return f"{example['label']}\n{spent}"


def residuals(record: dict[str, Any]) -> Figure | None:
    """Histograms on a logarithmic axis, beside the share of exactly 0; None without residuals."""
    shown = {name: each for name, each in record["routers"].items() if each["samples"]}
    widths = {
        "zero": 1 * any(each["zero"] for each in shown.values()),
        "histogram": 5 * any(any(each["counts"]) for each in shown.values()),
    }
    panels = [name for name, width in widths.items() if width]
    if not panels:
        return None
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    figure.suptitle("Residuals of the solves")
    ratios = [widths[name] for name in panels]
    row = figure.subplots(1, len(panels), sharey=True, width_ratios=ratios, squeeze=False)[0]
    axes = dict(zip(panels, row, strict=True))
    for i, (name, each) in enumerate(shown.items()):
        label, colour = ROUTERS[name]
        label += f": {each['samples']:,} iterated, {each['unconverged']:.1%} not converged"
        share = np.array([each["zero"], *each["counts"]]) / each["samples"]
        if "zero" in axes:
            axes["zero"].bar(i, share[0], color=colour, alpha=0.7, label=label)
            axes["zero"].set(xticks=[], xlabel="exactly 0", xmargin=0.3)
        if "histogram" in axes:
            line: dict[str, Any] = {"color": colour, "label": label, "linewidth": 1.5}
            axes["histogram"].stairs(share[1:], record["edges"], **line)
    if "histogram" in axes:
        axes["histogram"].axvline(
            record["tolerance"], color=BLACK, linestyle="--", label="tolerance"
        )
        axes["histogram"].set(
            xscale="log", xlabel="relative residual ‖f(z) − z‖ / ‖f(z)‖, worst of a sample"
        )
    axes[panels[0]].set_ylabel("share of the iterated samples")
    style.percentages(axes[panels[0]])
    style.legend(figure, [axes[panels[-1]]], most=1)
    return figure


def corruption(record: dict[str, Any]) -> Figure:
    """Accuracy, cost and calibration against severity, a column for each corruption."""
    corruptions = record["corruptions"]
    figure = Figure(figsize=(9, 6.5), dpi=150, layout="constrained")
    figure.suptitle("Corrupted images: accuracy, cost and calibration by severity")
    grid = figure.subplots(3, len(corruptions), sharex=True, sharey="row", squeeze=False)
    for column, (name, rows) in zip(grid.T, corruptions.items(), strict=True):
        severities = [row["severity"] for row in rows]
        for axes, key in zip(column, ("accuracy", "cost", "ece"), strict=True):
            _by_router(axes, severities, rows, key, record.get("test_examples"))
        column[0].set_title(name, fontsize=9)
        column[-1].set(xlabel="severity (0: original images)")
    accuracy, cost, error = grid[:, 0]
    style.accuracies(accuracy, record.get("test_examples"))
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
    rows = record["rows"]
    values, with_agent = range(len(rows)), "actions" in rows[0]
    figure = Figure(figsize=(11 if with_agent else 7.5, 3.8), dpi=150, layout="constrained")
    figure.suptitle(f"Test data with another {record['field']} than in training")
    accuracy, steps, *actions = panels = figure.subplots(1, 3 if with_agent else 2)
    examples = [row.get("test_examples", np.nan) for row in rows]
    _by_router(accuracy, values, rows, "accuracy", examples)
    style.accuracies(accuracy, examples)
    _by_router(steps, values, rows, "steps")
    for (name, accuracies), dash in zip(static.items(), itertools.cycle(("--", ":", "-."))):
        accuracy.plot(values, accuracies, dash, color=BLACK, label=name)
    steps.set(ylabel="steps a sample")
    for axes in actions:
        style.bars(axes, np.array([row["actions"] for row in rows]).T)
    names = [f"{row['value']}" for row in rows]
    trained = f"{record['field']} of the test data; {record['trained']} in training"
    for axes in panels:
        axes.set(xlabel=trained, xticks=values, xticklabels=names)
    style.legend(figure, [accuracy, *actions])
    return figure


def difficulty(record: dict[str, Any]) -> Figure:
    """Examples from easy to hard, and accuracy, steps and actions against difficulty."""
    figure = Figure(figsize=(11, 5.5), dpi=150, layout="constrained")
    figure.suptitle("From easy to hard: examples, accuracy, steps and the agent's choices")
    bins = record["bins"]
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 2))[:, 0]
    title = lambda example: f"difficulty {example['difficulty']}\n{pictures.steps(example)}"
    pictures.row(top, record["examples"], True, title)
    accuracy, steps, actions = bottom.subplots(1, 3)
    x = [(row["first"] + row["last"]) / 2 for row in bins]
    examples = [row["examples"] for row in bins]
    _by_router(accuracy, x, bins, "accuracy", examples)
    style.accuracies(accuracy, examples)
    _by_router(steps, x, bins, "steps")
    steps.set(ylabel="steps a sample")
    for axes in (accuracy, steps, actions):
        axes.set(xlabel=textwrap.fill(record["difficulty"], 36))
    style.stack(actions, x, np.array([row["actions"] for row in bins]).T)
    style.legend(bottom, [accuracy, actions])
    return figure


def _by_router(
    axes: Axes, x: Sequence[float], rows: Sequence[dict], key: str, examples: Any = None
) -> None:
    """A line for each router that has `ROUTER_KEY` in the rows; error bars on accuracies."""
    for name, (label, colour) in ROUTERS.items():
        if f"{name}_{key}" in rows[0]:
            shown = [row[f"{name}_{key}"] for row in rows]
            # The agent above the others.
            line: dict[str, Any] = {"marker": "o", "markersize": 3, "zorder": 2 + (name == "agent")}
            axes.plot(x, shown, color=colour, label=label, **line)
            if key == "accuracy":
                style.error_bars(axes, x, shown, examples, colour)
