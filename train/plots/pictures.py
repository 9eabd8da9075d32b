"""Rows of examples: what was seen, what was spent on it, and what was answered."""

from collections.abc import Callable, Sequence
import math
from typing import Any

from matplotlib.colors import to_rgb
import numpy as np

from train.plots.style import BLUE, GREEN, ORANGE, RED

Example = dict[str, Any]
# Pictures in a row, and entries that a row of one picture may have.
_SHOWN, _LONG = 8, 16


def row(
    part: Any, examples: Sequence[Example], marks: bool, title: Callable[[Example], str]
) -> None:
    """Pictures beside each other.

    Args:
        part: figure, or part of one.
        examples: with `image` (nested lists), `correct` and, in new records, `predicted`.
        marks: whether channels are marks of a generated task, not colours.
        title: what is above an example.
    """
    places = part.subplots(1, max(_SHOWN, len(examples)))
    for axes in places[len(examples) :]:
        axes.remove()
    for axes, example in zip(places, examples, strict=False):
        axes.imshow(_marked(example["image"]) if marks else _photograph(example["image"]))
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color="#AAAAAA")
        axes.set_title(title(example), fontsize=8, parse_math=False)
        word, colour = ("right", GREEN) if example["correct"] else ("wrong", RED)
        if not example["correct"] and "predicted" in example:
            word = f"answer: {example['predicted']}"
        axes.set_xlabel(word, fontsize=8, color=colour, parse_math=False)


def steps(example: Example) -> str:
    """The steps spent on an example, in words."""
    return "1 step" if example["steps"] == 1 else f"{example['steps']} steps"


def _photograph(image: list) -> np.ndarray:
    """An image with one channel, grey, or three, as [height, width, 3] from 0 to 1."""
    pixels = np.asarray(image) / 255
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _marked(image: list) -> np.ndarray:
    """An example of a generated task as [height, width, 3] from 0 to 1.

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
