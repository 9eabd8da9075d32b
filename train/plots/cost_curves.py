"""Accuracy against what it costs, by router: of MACs, from a run's records, and of time."""

from collections.abc import Sequence
import itertools
from typing import Any

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
import numpy as np

from train.plots.style import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

# Halting routers by the names that halting.json has for them; colours of Tol's muted palette.
HALTING = {
    "early_exit": ("early exit", "#117733"),
    "pondernet": ("PonderNet", "#882255"),
    "q_exit": ("Q-exit", "#332288"),
    "act": ("ACT", "#999933"),
}
# Their lines, which may have a point for each of many settings.
_DASHES = ((0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (3, 3)))
# Routers with one point each, and by what key summary.json has those at the agent's cost.
_POINTS = {
    "none": ("s", BLACK),
    "layer 1": ("^", ORANGE),
    "layer 2": ("v", PINK),
    "layer 3": ("<", SKY),
    "all layers": ("D", BLACK),
    "shuffled": ("x", "#777777"),
    "two thresholds": ("d", RED),
    "two looks": ("p", "#882222"),
}
_AT_AGENTS_COST = {
    "shuffled": ("shuffled_cost", "shuffled_accuracy"),
    "two thresholds": ("graded_cost", "graded_accuracy"),
    "two looks": ("cascade_mean_cost", "cascade_accuracy"),
}


def by_cost(axes: Axes, curve: dict, halting: dict, summary: dict) -> bool:
    """The agent's curve over its prices and all other routers, against MACs.

    Args:
        axes: to draw on.
        curve, halting, summary: the run's records, {} for what it has not.

    Returns:
        Whether there was anything to draw.
    """
    axes.set_xlabel("mean cost beyond the straight pass (multiples of its MACs)")
    for (name, (label, colour)), dash in zip(HALTING.items(), _DASHES, strict=True):
        points = sorted(halting.get(name, []), key=lambda point: point["mean_cost"])
        if points:
            style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 0.9}
            axes.plot(*_points(points, "mean_cost"), **style, label=label)
    at_agents = {
        name: {"mean_cost": summary[spent], "accuracy": summary[accuracy]}
        for name, (spent, accuracy) in _AT_AGENTS_COST.items()
        if None not in (summary.get(spent), summary.get(accuracy))
    }
    routers = curve.get("routers", {}) | at_agents
    return draw(axes, curve | {"routers": routers}, "mean_cost")


def draw(axes: Axes, curve: dict, key: str) -> bool:
    """The agent's curve over its prices, among those of other routers that have the key."""
    routers = dict(curve.get("routers", {}))
    agent = curve.get("agent", [])
    for name, colour in {"oracle": GREEN, "confidence": RED, "random": "#777777"}.items():
        points = [point for point in routers.pop(name, []) if key in point]
        if points:
            points = sorted(points, key=lambda point: point["mean_cost"])
            axes.plot(*_points(points, key), "--", color=colour, marker=".", label=name)
    if agent:
        agent = sorted(agent, key=lambda point: point["price"])
        style: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 4}
        axes.plot(*_points(agent, key), **style, label="agent, by price λ")
    halting, nets = dict(HALTING.values()), itertools.cycle("oXPsDv^<")
    for name, point in routers.items():
        if name in _POINTS:
            marker, colour = _POINTS[name]
        else:  # what is no router is a static net, and hollow
            marker, colour = ("*", halting[name]) if name in halting else (next(nets), "white")
        style = {"color": colour, "markersize": 6, "label": name, "zorder": 3}
        style |= {"markeredgecolor": BLACK, "markeredgewidth": 0.8} if colour == "white" else {}
        axes.plot(*_points([point], key), marker, **style)
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(0.08)
    _annotate_prices(axes, agent, key)
    return axes.has_data()


def _annotate_prices(axes: Axes, agent: Sequence[dict], key: str) -> None:
    """Writes prices beside their points, as far as they do not run into each other."""
    axes.autoscale_view()
    last = np.full(2, -np.inf)
    for point in agent:
        at = axes.transData.transform((point[key], point["accuracy"]))
        if np.hypot(*(at - last)) > 60:
            last = at
            axes.annotate(
                f"{point['price']:.3g}",
                (point[key], point["accuracy"]),
                xytext=(4, -9),
                textcoords="offset points",
                fontsize=7,
                color="#555555",
                path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
            )


def _points(points: Sequence[dict], key: str) -> tuple[list[float], list[float]]:
    return [point[key] for point in points], [point["accuracy"] for point in points]
