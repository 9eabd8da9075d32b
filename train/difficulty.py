"""Does the model think longer about harder inputs? For tasks that know their difficulty.

`measure` says what each router did at each difficulty, and shows examples from easy to hard; `draw`
makes the figure of it.
"""

import itertools
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
import numpy as np

from train.data import Split
from train.evaluate import Reports

# Fewest examples of a bin; rarer difficulties are taken together.
_LEAST = 50
_SHOWN = 8
_ROUTERS = {
    "straight": ("none", "straight pass", "#E69F00"),
    "agent": ("agent", "agent", "#0072B2"),
    "all_layers": ("all", "all layers", "#009E73"),
}


def measure(report: Reports, test: Split) -> dict[str, Any]:
    """Accuracy and steps by difficulty on the test split, and examples.

    Args:
        report: of the final parameters.
        test: the split, with difficulties; negative ones are not difficulties ("no path").

    Returns:
        "bins": from easy to hard, each with `first` and `last` difficulty, `examples`, and for
        straight, agent and all_layers `ROUTER_accuracy` and `ROUTER_steps`; "examples": some, from
        easy to hard, each with its `image` as nested lists, `difficulty`, the agent's `steps` and
        whether it was `correct`, and whether the straight pass was.
    """
    assert test.difficulty is not None
    each = {name: report("test", router).each for name, (router, *_) in _ROUTERS.items()}
    known = np.flatnonzero(test.difficulty >= 0)
    order = known[np.argsort(test.difficulty[known], kind="stable")]
    bins = []
    for group in _groups(test.difficulty[order]):
        chosen = order[group]
        row: dict[str, Any] = {
            "first": int(test.difficulty[chosen[0]]),
            "last": int(test.difficulty[chosen[-1]]),
            "examples": len(chosen),
        }
        for name, result in each.items():
            row[f"{name}_accuracy"] = float(np.mean(result["correct"][chosen]))
            row[f"{name}_steps"] = float(np.mean(result["steps"][chosen]))
        bins.append(row)
    # The middle example of equally long stretches of the order.
    middle = (np.arange(_SHOWN) + 0.5) * len(order) / _SHOWN
    return {
        "bins": bins,
        "examples": [
            {
                "image": test.images[i].tolist(),
                "difficulty": int(test.difficulty[i]),
                "steps": int(each["agent"]["steps"][i]),
                "correct": bool(each["agent"]["correct"][i]),
                "straight_correct": bool(each["straight"]["correct"][i]),
            }
            for i in order[middle.astype(int)]
        ],
    }


def _groups(ordered: np.ndarray) -> list[slice]:
    """Stretches of equal difficulty, joined with the next until they hold `_LEAST` examples."""
    ends = [*np.flatnonzero(np.diff(ordered)) + 1, len(ordered)]
    bounds = [0]
    for end in map(int, ends):
        if end - bounds[-1] >= _LEAST:
            bounds.append(end)
    # What is left at the end belongs to the last bin.
    bounds = [*(bounds[:-1] if len(bounds) > 1 else bounds), len(ordered)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def draw(record: dict[str, Any]) -> Figure:
    """Examples from easy to hard, and accuracy and steps against difficulty."""
    figure = Figure(figsize=(9, 5.5), dpi=150, layout="constrained")
    figure.suptitle("From easy to hard: examples, accuracy, and steps spent")
    examples, bins = record["examples"], record["bins"]
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 2))[:, 0]
    for axes, example in zip(top.subplots(1, len(examples)), examples, strict=True):
        _show(axes, example)
    accuracy, steps = bottom.subplots(1, 2)
    x = [(row["first"] + row["last"]) / 2 for row in bins]
    for name, (_, label, colour) in _ROUTERS.items():
        style = {"color": colour, "marker": "o", "markersize": 3, "label": label}
        accuracy.plot(x, [row[f"{name}_accuracy"] for row in bins], **style)
        steps.plot(x, [row[f"{name}_steps"] for row in bins], **style)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy.set(xlabel="length of the shortest path (moves)", ylabel="accuracy, connected pairs")
    steps.set(xlabel="length of the shortest path (moves)", ylabel="evaluations of cells a sample")
    handles, labels = accuracy.get_legend_handles_labels()
    bottom.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    return figure


def _show(axes: Axes, example: dict[str, Any]) -> None:
    """A grid: walls black, open cells white, start blue, goal orange."""
    open_cells, start, goal = np.moveaxis(np.asarray(example["image"]) > 0, -1, 0)
    picture = np.repeat(open_cells[..., None].astype(float), 3, axis=-1)
    picture[start] = (0.0, 0.45, 0.70)
    picture[goal] = (0.90, 0.62, 0.0)
    axes.imshow(picture)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#AAAAAA")
    steps = "1 step" if example["steps"] == 1 else f"{example['steps']} steps"
    axes.set_title(f"path {example['difficulty']}\n{steps}", fontsize=8)
    colour = "#009E73" if example["correct"] else "#D55E00"
    axes.set_xlabel("right" if example["correct"] else "wrong", fontsize=8, color=colour)
