"""Accuracy against cost by router, and the agent's choices by price. Cost is MACs, or time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
import numpy as np

from train.plots import style
from train.plots.style import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY

# Label and colour of the routers in early_exit.json.
HALTING = {
    "early_exit": ("early exit", GREEN),
    "pondernet": ("PonderNet", PINK),
    "q_exit": ("Q-exit", ORANGE),
    "act": ("ACT", SKY),
}
# Routers with one point each, at the agent's cost.
PEERS = ("shuffled", "two thresholds", "two rounds")
_AGENT: dict[str, Any] = {
    "color": BLUE,
    "marker": "o",
    "markersize": 4,
    "zorder": 3,
    "label": "agent, by price λ",
}
# Routers with one point each, by what they have in common; what belongs to no other is a net.
_GROUPS: dict[str, tuple[dict[str, Any], Callable[[str], bool]]] = {
    "one route for all": (
        {"marker": "s", "color": BLACK, "markersize": 4},
        lambda name: name in ("none", "all layers") or name.startswith("layer "),
    ),
    "at the agent's cost": (
        {"marker": "x", "color": PINK},
        lambda name: name in PEERS or name in [label for label, _ in HALTING.values()],
    ),
    "static nets": (
        {"marker": "D", "color": "white", "markersize": 5, "markeredgecolor": BLACK},
        lambda name: True,
    ),
}
_LABELS = {"none": "straight pass"}


def by_cost(axes: Axes, curve: dict, summary: Mapping[str, Any]) -> bool:
    """The agent's curve over its prices, and other routers, against MACs.

    Args:
        axes: to draw on.
        curve, summary: the run's records; {} if missing.

    Returns:
        Whether there was anything to draw.
    """
    axes.set_xlabel("mean cost beyond the straight pass (multiples of its MACs)")
    return draw(axes, curve, "mean_cost", summary)


def halting(axes: Axes, exits: dict, curve: dict, summary: Mapping[str, Any]) -> bool:
    """The halting rules of the record early_exit beside the agent and confidence routing."""
    found = [(*shown, exits[name]) for name, shown in HALTING.items() if exits.get(name)]
    if not found:
        return False
    routers = {"confidence": curve.get("routers", {}).get("confidence", [])}
    by_cost(axes, curve | {"routers": routers}, summary)
    for label, colour, points in found:
        points = sorted(points, key=lambda point: point["mean_cost"])
        _line(axes, points, "mean_cost", summary, color=colour, label=label)
    return True


def draw(axes: Axes, curve: dict, key: str, summary: Mapping[str, Any]) -> bool:
    """Curves of several routers, then routers with one point each: at most six series of a run.

    Args:
        axes: to draw on; a scale that is not linear has to be set before.
        curve: as the record.
        key: of a point's cost. Points without it are left out.
        summary: of the same run, for its price and the number of test examples; {} if missing.
    """
    routers, texts = dict(curve.get("routers", {})), []
    agent = sorted(curve.get("agent", []), key=lambda point: point["price"])
    _line(axes, agent, key, summary, **_AGENT)
    for name, colour in {"confidence": RED, "random": "#777777", "oracle": GREEN}.items():
        points = sorted(routers.pop(name, []), key=lambda point: point["mean_cost"])
        line = {"color": colour, "linestyle": "--", "marker": ".", "label": name}
        _line(axes, points, key, summary, **line)
    for point in agent:
        if point["price"] == summary.get("price"):
            texts = [(point, f"λ = {point['price']:.3g} (default)")]
            ring: dict[str, Any] = {"color": "white", "markeredgecolor": BLUE, "zorder": 4}
            axes.plot(point[key], point["accuracy"], "o", **ring, markeredgewidth=2)
    for label, (line, belongs) in _GROUPS.items():
        names = [name for name in routers if belongs(name)]
        points = [routers.pop(name) for name in names]
        _line(axes, points, key, summary, **line, label=label, linestyle="", zorder=3)
        texts += zip(points, (_LABELS.get(name, name) for name in names), strict=True)
    style.accuracies(axes, summary.get("test_examples"))
    axes.margins(0.08)
    style.annotate(axes, [(point[key], point["accuracy"], text) for point, text in texts])
    return axes.has_data()


def _line(
    axes: Axes, points: Sequence[dict], key: str, summary: Mapping[str, Any], **line: Any
) -> None:
    """A line through the points that have the key, with error bars; nothing without points."""
    places = [(point[key], point["accuracy"]) for point in points if key in point]
    if places:
        x, y = zip(*places, strict=True)
        axes.plot(x, y, **line)
        style.error_bars(axes, x, y, summary.get("test_examples"), line["color"])


def actions_by_price(axes: Axes, curve: dict, summary: Mapping[str, Any]) -> bool:
    """Stacked shares of the agent's actions at each price; accuracy has an axis of its own."""
    points = sorted(curve.get("agent", []), key=lambda point: point["price"])
    if not points or any("actions" not in point for point in points):
        return False
    x, shares = range(len(points)), np.array([point["actions"] for point in points])
    style.bars(axes, shares.T)
    axes.set(xlabel="price λ of the penalty")
    default = lambda price: "\n(default)" if price == summary.get("price") else ""
    axes.set_xticks(x, [f"{p['price']:.3g}{default(p['price'])}" for p in points])
    right = style.right_axes(axes, "accuracy")
    values = [point["accuracy"] for point in points]
    line: dict[str, Any] = {"markeredgecolor": "white", "markersize": 7, "linewidth": 2}
    right.plot(x, values, color=RED, marker="o", label="accuracy (right)", **line)
    style.error_bars(right, x, values, summary.get("test_examples"), RED)
    low, high = right.get_ylim()
    # Not above 100 %, except for the room of markers there.
    right.set_ylim(low, min(high, 1 + 0.03 * (1 - low)))
    right.yaxis.set_major_locator(MaxNLocator(6))
    style.accuracies(right, summary.get("test_examples"))
    return True
