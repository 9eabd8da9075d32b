"""What figures share: style, colours, legends, shares of actions, pictures of examples."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import patheffects
from matplotlib.axes import Axes
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
# Error bars of a line, at most.
_BARS = 16
# Size of the font beside points, and where it may stand, in points.
_SMALL = 7
_BESIDE = ((5, -4), (5, 4), (-5, 4), (-5, -4), (5, -12), (5, 12), (-5, 12), (-5, -12))


def painted(
    title: str, paint: Callable[..., bool], *data: Any, heights: Sequence[int] = (1,)
) -> Figure | None:
    """A figure with a title, axes above each other, and a legend below; None if there is no data.

    Args:
        title: of the figure.
        paint: (*axes, *data) → whether there was anything to draw.
        data: what to draw.
        heights: of the axes, relative to each other.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
        figure.suptitle(title, parse_math=False)  # a $ in a run's name is a $
        grid = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
        if not paint(*grid[:, 0], *data):
            return None
        legend(figure, figure.axes, most=4)
    return figure


def legend(figure: Any, axes: Sequence[Axes], most: int = 10) -> None:
    """One legend of several axes, below them; the entries are read row by row.

    Args:
        figure: or part of one.
        axes: which are explained.
        most: entries of a row, at most.
    """
    shown = [each.get_legend_handles_labels() for each in axes]
    entries = [entry for each in shown for entry in zip(*each, strict=True)]
    columns = -(-len(entries) // -(-len(entries) // most))
    # Matplotlib fills columns, one after the other.
    order = [entry for i in range(columns) for entry in entries[i::columns]]
    handles, labels = zip(*order, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def error_bars(
    axes: Axes, x: Sequence[float], accuracy: Sequence[float], examples: Any, colour: str
) -> None:
    """One standard error of accuracies up and down.

    Args:
        axes: to draw on.
        x, accuracy: the points.
        examples: of which each is the accuracy, a number or one for each point; no bars if None.
        colour: of the bars.
    """
    if examples:
        share = np.asarray(accuracy)
        error = np.sqrt(share * (1 - share) / examples)
        bars: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 0.8, "alpha": 0.5}
        axes.errorbar(x, share, error, **bars, errorevery=-(-len(share) // _BARS))


def annotate(axes: Axes, texts: Sequence[tuple[float, float, str]]) -> None:
    """Writes a text beside each of these points. Where a text finds no room, it is left out.

    Args:
        axes: whose scales and lines are known.
        texts: horizontal and vertical place, and text; the important ones first.
    """
    axes.autoscale_view()
    pixel = axes.figure.dpi / 72
    dots = np.concatenate([np.empty((0, 2)), *(line.get_xydata() for line in axes.lines)])
    dots = axes.transData.transform(dots)
    boxes: list[tuple[np.ndarray, np.ndarray]] = []
    for x, y, text in texts:
        size = pixel * _SMALL * np.array([0.55 * len(text), 1.2])
        at, found = axes.transData.transform((x, y)), []
        for i, (right, up) in enumerate(_BESIDE):
            low = at + pixel * np.array([right, up]) - size * [right < 0, up < 0]
            if not any((low < top).all() and (base < low + size).all() for base, top in boxes):
                covered = ((low < dots) & (dots < low + size)).all(1).sum()
                found.append((covered, i, low))
        if found:
            _, i, low = min(found, key=lambda place: place[:2])
            boxes.append((low, low + size))
            right, up = _BESIDE[i]
            axes.annotate(
                text,
                (x, y),
                xytext=_BESIDE[i],
                textcoords="offset points",
                ha="left" if right > 0 else "right",
                va="bottom" if up > 0 else "top",
                fontsize=_SMALL,
                color="#444444",
                path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
            )


def accuracies(axes: Axes, examples: Any = None) -> None:
    """Accuracies on the vertical axis, in per cent; with error bars if there are `examples`."""
    axes.set_ylabel("accuracy ± standard error" if examples else "accuracy")
    percentages(axes)


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


def name_run(figure: Figure, workdir: Path) -> None:
    """Puts the run's name before the title."""
    title = f"{workdir.resolve().name}: {figure.get_suptitle()}"
    figure.suptitle(title, fontsize=STYLE["figure.titlesize"], parse_math=False)


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
