"""Accuracy against cost by router, and the agent's choices by price. Cost is MACs, or time."""

from collections.abc import Sequence
import itertools
from typing import Any

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
import numpy as np

from train.plots import style
from train.plots.style import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

# Label and colour of the routers in early_exit.json; colours of Tol's muted palette.
HALTING = {
    "early_exit": ("early exit", "#117733"),
    "pondernet": ("PonderNet", "#882255"),
    "q_exit": ("Q-exit", "#332288"),
    "act": ("ACT", "#999933"),
}
# Their lines; these may have many points, one for each setting.
_DASHES = ((0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (3, 3)))
# Marker and colour of routers with one point each.
_POINTS = {
    "none": ("s", BLACK),
    "layer 1": ("^", ORANGE),
    "layer 2": ("v", PINK),
    "layer 3": ("<", SKY),
    "all layers": ("D", BLACK),
    "shuffled": ("x", "#777777"),
    "two thresholds": ("d", RED),
    "two rounds": ("p", "#882222"),
}
_LABELS = {"none": "straight pass"}


def by_cost(axes: Axes, curve: dict, exits: dict) -> bool:
    """The agent's curve over its prices and all other routers, against MACs.

    Args:
        axes: to draw on.
        curve, exits: the run's records curve and early_exit; {} if missing.

    Returns:
        Whether there was anything to draw.
    """
    axes.set_xlabel("mean cost beyond the straight pass (multiples of its MACs)")
    for (name, (label, colour)), dash in zip(HALTING.items(), _DASHES, strict=True):
        points = sorted(exits.get(name, []), key=lambda point: point["mean_cost"])
        if points:
            line: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 0.9}
            axes.plot(*_points(points, "mean_cost"), **line, label=label)
    return draw(axes, curve, "mean_cost")


def draw(axes: Axes, curve: dict, key: str) -> bool:
    """The agent's curve over its prices, beside the other routers that have the key."""
    routers = dict(curve.get("routers", {}))
    agent = curve.get("agent", [])
    for name, colour in {"oracle": GREEN, "confidence": RED, "random": "#777777"}.items():
        points = [point for point in routers.pop(name, []) if key in point]
        if points:
            points = sorted(points, key=lambda point: point["mean_cost"])
            axes.plot(*_points(points, key), "--", color=colour, marker=".", label=name)
    if agent:
        agent = sorted(agent, key=lambda point: point["price"])
        line: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 4}
        axes.plot(*_points(agent, key), **line, label="agent, by price λ")
    halting, nets = dict(HALTING.values()), itertools.cycle("oXPsDv^<")
    for name, point in routers.items():
        if name in _POINTS:
            marker, colour = _POINTS[name]
        else:  # other names are static nets, which are hollow
            marker, colour = ("*", halting[name]) if name in halting else (next(nets), "white")
        dot: dict[str, Any] = {
            "color": colour,
            "markersize": 6,
            "label": _LABELS.get(name, name),
            "zorder": 3,
        }
        dot |= {"markeredgecolor": BLACK, "markeredgewidth": 0.8} if colour == "white" else {}
        axes.plot(*_points([point], key), marker, **dot)
    axes.set_ylabel("accuracy")
    style.percentages(axes)
    axes.margins(0.08)
    _annotate_prices(axes, agent, key)
    return axes.has_data()


def actions_by_price(axes: Axes, curve: dict) -> bool:
    """Stacked shares of the agent's actions at each price; accuracy has an axis of its own."""
    points = sorted(curve.get("agent", []), key=lambda point: point["price"])
    if not points or any("actions" not in point for point in points):
        return False
    x, shares = range(len(points)), np.array([point["actions"] for point in points])
    style.bars(axes, shares.T)
    axes.set(xlabel="price λ of the penalty")
    axes.set_xticks(x, [f"{point['price']:.3g}" for point in points])
    right = style.right_axes(axes, "accuracy")
    values = [point["accuracy"] for point in points]
    line: dict[str, Any] = {"markeredgecolor": "white", "markersize": 7, "linewidth": 2}
    right.plot(x, values, color=RED, marker="o", label="accuracy (right)", **line)
    low, high = right.get_ylim()
    # Not above 100 %, except for the room of markers there.
    right.set_ylim(low, min(high, 1 + 0.03 * (1 - low)))
    right.yaxis.set_major_locator(MaxNLocator(6))
    style.percentages(right)
    return True


def _annotate_prices(axes: Axes, agent: Sequence[dict], key: str) -> None:
    """Writes prices beside their points, if there is room."""
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
