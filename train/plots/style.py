"""What figures share: colours, what routers are called, pictures of examples."""

from collections.abc import Sequence
import math
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import PercentFormatter
import numpy as np

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLACK, ORANGE, BLUE, GREEN, PINK = "#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7"
SKY, RED = "#56B4E9", "#D55E00"
# Entries that a row may have.
_LONG = 16
# How routers are shown, by the names that the records have for them.
ROUTERS = {
    "agent": ("agent", BLUE),
    "straight": ("straight pass", ORANGE),
    "all_layers": ("all layers", GREEN),
}


def marks(image: list) -> np.ndarray:
    """A picture of a task made here, [height, width, 3] from 0 to 1.

    Last channel orange, the one before it blue, and any before these white, on black. Long
    vectors, which are one pixel high, are shown in rows.
    """
    *open_cells, blue, orange = np.moveaxis(_folded(np.asarray(image) > 0), -1, 0)
    picture = np.zeros((*blue.shape, 3))
    for cells in open_cells:
        picture[cells] = 1.0
    picture[blue], picture[orange] = to_rgb(BLUE), to_rgb(ORANGE)
    return picture


def _folded(pixels: np.ndarray) -> np.ndarray:
    """A long vector [1, n, channels] as rows of a rectangle, as near a square as n allows."""
    height, width, channels = pixels.shape
    if height > 1 or width <= _LONG:
        return pixels
    rows = max(i for i in range(1, math.isqrt(width) + 1) if width % i == 0)
    return pixels.reshape(rows, width // rows, channels)


def photograph(image: list) -> np.ndarray:
    """A picture of an image with one channel, grey, or three, [height, width, 3] from 0 to 1."""
    pixels = np.asarray(image) / 255
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def show(axes: Axes, picture: np.ndarray, title: str, correct: bool) -> None:
    """A picture with a title, and below it whether the model was right."""
    axes.imshow(picture)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#AAAAAA")
    axes.set_title(title, fontsize=8)
    word, colour = ("right", GREEN) if correct else ("wrong", RED)
    axes.set_xlabel(word, fontsize=8, color=colour)


def steps(example: dict[str, Any]) -> str:
    """The steps spent on an example, in words."""
    return "1 step" if example["steps"] == 1 else f"{example['steps']} steps"


def stack(axes: Axes, x: Sequence[float], shares: np.ndarray) -> None:
    """Shares of actions [L + 1, x] over x, stacked: no operation at the bottom, layers upwards.

    Samples that iterate several layers count for each of them.
    """
    names, colours = _actions(len(shares))
    axes.stackplot(x, np.nan_to_num(shares), colors=colours, labels=names, linewidth=0)
    _share(axes, shares)


def bars(axes: Axes, shares: np.ndarray) -> None:
    """As `stack`, of cases 0, 1, … that have no order."""
    bottom = np.zeros(shares.shape[1])
    for name, colour, row in zip(*_actions(len(shares)), shares, strict=True):
        axes.bar(range(len(row)), row, bottom=bottom, color=colour, label=name, width=0.6)
        bottom += row
    _share(axes, shares)


def _actions(count: int) -> tuple[list[str], list[Any]]:
    """Names and colours of so many actions; layers in a sequential palette."""
    layers = matplotlib.colormaps["viridis"](np.linspace(0.15, 0.95, max(count - 1, 1)))
    names = ["no operation", *[f"layer {number}" for number in range(1, count)]]
    return names, ["#BBBBBB", *layers][:count]


def _share(axes: Axes, shares: np.ndarray) -> None:
    top = np.nan_to_num(shares).sum(0).max(initial=0.0)
    several = top > 1.001  # rounding
    label = "share of samples; some iterate\nmore than one layer" if several else "share of samples"
    axes.set(ylabel=label, ylim=(0, top if several else 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
