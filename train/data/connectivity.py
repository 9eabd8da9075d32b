"""Connectivity: does a path of open cells connect the two marked cells of a random grid?

The difficulty is known, as a number of steps: a flood fill from one mark reaches the other after
one step for each move of the shortest path. A network that sees no further than its few layers
fails on long paths. A network that iterates to a fixed point need not fail.

No simpler cue gives the answer away. For each grid and start, two goals are drawn: one that can be
reached, and one that cannot be reached but looks the same. Both have the same distances along the
two axes (up to a symmetry of the square) and the same number of open neighbours. Grids without such
a pair are dropped. Only then is one of the two goals chosen. So the label is independent of the
grid, the start, its component, the distance between the marks, and the marks' open neighbours.
"""

from collections.abc import Sequence

import ml_collections
import numpy as np
from scipy import ndimage

from train.data import generated
from train.data.generated import explore, pick
from train.data.types import Parts, Split
from train.errors import UserError

CLASSES = ("separate", "connected")
DIFFICULTY = "length of the shortest path (moves), connected pairs"

# Grids drawn at a time, which limits the memory.
_CHUNK = 4096
# Least share of the grids that has both goals. With fewer, making examples would never end.
_LEAST_ACCEPTED = 0.01
# The four neighbours of a cell, within one grid of a stack.
_NEIGHBOURS = np.array([[[0, 1, 0], [1, 0, 1], [0, 1, 0]]], np.int8)


def load(config: ml_collections.ConfigDict) -> Parts:
    """Parts as `config.data` asks for, of one scale or several."""

    def make_part(part: str, seed: tuple[int, int]) -> Split:
        scale, blocks = (config.grid, config.open_fraction), config.get("blocks", ())
        if blocks:
            return make_scaled(config[part], *scale, blocks, seed)
        return make(config[part], *scale, seed)

    return generated.parts(config, make_part, CLASSES, DIFFICULTY)


def make_scaled(
    count: int, grid: int, open_fraction: float, blocks: Sequence[int], seed: int | tuple[int, ...]
) -> Split:
    """Grids of several scales in images of one size, in a random order.

    The scale of an image is easy to see, and a layer of that resolution is enough.

    Args:
        count, open_fraction, seed: see `make`, for the result and the errors as well.
        grid: height and width of the images, in pixels; a multiple of every block.
        blocks: sides of a cell in pixels. Every scale gets the same number of images, half of them
            connected. The difficulty is in moves from cell to cell.
    """
    parts = []
    for i, block in enumerate(blocks):
        share = (count + len(blocks) - 1 - i) // len(blocks)
        part = make(share, grid // block, open_fraction, (*np.atleast_1d(seed), block))
        pixels = part.images.repeat(block, axis=1).repeat(block, axis=2)
        parts.append((pixels, part.labels, part.difficulty))
    order = np.random.default_rng(seed).permutation(count)
    return Split(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True))).take(order)


def make(count: int, grid: int, open_fraction: float, seed: int | tuple[int, ...]) -> Split:
    """Grids with two marks, half of them connected.

    The length of the path is drawn uniformly from the lengths at which the grid has a pair of goals
    that look the same.

    Args:
        count: of grids.
        grid: height and width, in cells.
        open_fraction: probability that a cell is open. Paths are longest and most winding near the
            percolation threshold, 0.593.
        seed: of all random numbers.

    Returns:
        Split of `count` examples. images: [count, grid, grid, 3] uint8, the channels being open
        cells, the start and the goal. labels: `balanced`, 1 for connected. difficulty: moves of
        the shortest path, -1 if there is none.

    Raises:
        UserError: hardly any such grid has both kinds of goals.
    """
    rng = np.random.default_rng(seed)
    is_open, start, reachable, separate, length = generated.collect(
        count, lambda: _candidates(rng, grid, open_fraction)
    )
    labels = generated.balanced(count)
    connected = labels == 1
    images = generated.images(is_open, start, np.where(connected, reachable, separate))
    return Split(images, labels, np.where(connected, length, -1).astype(np.int32))


def _candidates(
    rng: np.random.Generator, grid: int, open_fraction: float
) -> tuple[np.ndarray, ...]:
    """Grids with a start, a goal that can be reached, and one that cannot but looks the same.

    Returns:
        Open cells [n, grid²] bool; start, reachable goal, separate goal [n] int, as places in
        grid²; length of the path to the reachable goal [n] int.
    """
    stack = rng.random((_CHUNK, grid, grid)) < open_fraction
    neighbours = ndimage.convolve(stack.astype(np.int8), _NEIGHBOURS, mode="constant")
    is_open = stack.reshape(_CHUNK, -1)
    start = pick(rng, is_open)
    passable = lambda tail, head: is_open.flat[tail] & is_open.flat[head]
    distance, _ = explore(generated.graph(_CHUNK, grid, passable), start)

    row, column = np.divmod(np.arange(grid * grid), grid)
    down, across = (np.abs(x - x[start][:, None]) for x in (row, column))
    offset = grid * np.minimum(down, across) + np.maximum(down, across)
    # One number for what must agree: 0 to 4 open neighbours, and the offset from the start.
    looks = 5 * offset + neighbours.reshape(_CHUNK, -1)
    out_of_reach = is_open & (distance < 0)
    matched = (distance > 0) & np.take_along_axis(_occurring(looks, out_of_reach), looks, axis=1)

    length = pick(rng, _occurring(distance, matched))
    reachable = pick(rng, matched & (distance == length[:, None]))
    looks_of_goal = np.take_along_axis(looks, reachable[:, None], axis=1)
    separate = pick(rng, out_of_reach & (looks == looks_of_goal))
    both = matched.any(axis=1)
    if both.sum() < _LEAST_ACCEPTED * _CHUNK:
        raise UserError(
            f"config.data: of {_CHUNK} grids with grid={grid} and open_fraction={open_fraction}, "
            f"only {both.sum()} have a goal that can be reached and one that cannot; use "
            "grid >= 6 and an open_fraction between 0.4 and 0.7."
        )
    return tuple(x[both] for x in (is_open, start, reachable, separate, length))


def _occurring(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Which of 0, 1, ..., values.max() occur in each row, at the places of `where`."""
    occurs = np.zeros((len(values), values.max() + 1), bool)
    rows, _ = np.nonzero(where)
    occurs[rows, values[where]] = True
    return occurs
