"""What figures share: style, colours, legends, shares of actions, pictures of examples."""

from collections.abc import Callable, Sequence
import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from train.errors import UserError
from train.evaluate import LABELS

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.xmargin": 0.02,
    "figure.titlesize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLACK, ORANGE, BLUE, GREEN, PINK = "#000000", "#E69F00", "#0072B2", "#009E73", "#CC79A7"
SKY, RED = "#56B4E9", "#D55E00"
# Label and colour of the routers that records compare.
ROUTERS = {
    name: (LABELS[name], colour)
    for name, colour in {"agent": BLUE, "straight": ORANGE, "all_layers": GREEN}.items()
}
# Entries that a row of a picture may have.
_LONG = 16


def painted(title: str, paint: Callable[..., bool], *data: Any) -> Figure | None:
    """A figure with one pair of axes, a title, and a legend below; None if there is no data.

    Args:
        title: of the figure.
        paint: (axes, *data) → whether there was anything to draw.
        data: what to draw.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
        figure.suptitle(title)
        if not paint(figure.subplots(), *data):
            return None
        legend(figure, figure.axes, columns=4)
    return figure


def legend(figure: Any, axes: Sequence[Axes], columns: int | None = None) -> None:
    """One legend of several axes, below them."""
    shown = [each.get_legend_handles_labels() for each in axes]
    handles, labels = ([*itertools.chain(*parts)] for parts in zip(*shown, strict=True))
    count = min(columns or len(labels), len(labels))
    figure.legend(handles, labels, loc="outside lower center", ncols=count)


def name_run(figure: Figure, workdir: Path) -> None:
    """Puts the run's name before the title."""
    size = STYLE["figure.titlesize"]
    figure.suptitle(f"{workdir.resolve().name}: {figure.get_suptitle()}", fontsize=size)


def percentages(axes: Axes) -> None:
    """Shares on the vertical axis, in per cent."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def right_axes(axes: Axes, label: str) -> Axes:
    """Axes with a vertical axis of their own, on the right."""
    right = axes.twinx()
    right.set_ylabel(label)
    right.grid(visible=False)
    right.spines.right.set_visible(True)
    return right


def stack(axes: Axes, x: Sequence[float], shares: np.ndarray) -> None:
    """Stacked shares of actions [L + 1, x] over x: the straight pass below, the layers above.

    Samples that iterate several layers count for each of them.
    """
    names, colours = _actions(len(shares))
    axes.stackplot(x, np.nan_to_num(shares), colors=colours, labels=names, linewidth=0)
    _share(axes, shares)


def bars(axes: Axes, shares: np.ndarray) -> None:
    """As `stack`, for cases 0, 1, … that have no order."""
    bottom = np.zeros(shares.shape[1])
    for name, colour, row in zip(*_actions(len(shares)), shares, strict=True):
        axes.bar(range(len(row)), row, bottom=bottom, color=colour, label=name, width=0.6)
        bottom += row
    _share(axes, shares)


def _actions(count: int) -> tuple[list[str], list[Any]]:
    """Names and colours of this number of actions; layers in a sequential palette."""
    layers = matplotlib.colormaps["viridis"](np.linspace(0.15, 0.95, max(count - 1, 1)))
    names = [LABELS["straight"], *[f"layer {number}" for number in range(1, count)]]
    return names, ["#BBBBBB", *layers][:count]


def _share(axes: Axes, shares: np.ndarray) -> None:
    top = np.nan_to_num(shares).sum(0).max(initial=0.0)
    several = top > 1.001  # rounding
    label = "share of samples; some iterate\nmore than one layer" if several else "share of samples"
    axes.set(ylabel=label, ylim=(0, top if several else 1))
    percentages(axes)


def show(axes: Axes, picture: np.ndarray, title: str, correct: bool) -> None:
    """A picture with a title, and below it whether the answer was right."""
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


def photograph(image: list) -> np.ndarray:
    """A picture of an image with one channel, grey, or three, [height, width, 3] from 0 to 1."""
    pixels = np.asarray(image) / 255
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def marks(image: list) -> np.ndarray:
    """A picture of a generated task, [height, width, 3] from 0 to 1.

    The last channel is orange, the one before it blue, any others white, on black. Long vectors,
    which are one pixel high, are shown in rows.
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


def save(figure: Figure, workdir: Path, name: str) -> Path:
    """Writes a figure with the run's name into the folder `figures`; returns the file."""
    path = workdir / "figures" / f"{name}.png"
    name_run(figure, workdir)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror}. Check that the disk has space and that the "
            "folder is writable."
        ) from error
    return path
