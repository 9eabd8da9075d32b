"""Connectivity: are the two marked cells of a random grid joined by a path of open cells?

A task whose difficulty is known and is a number of steps: a flood fill from one mark reaches the
other after as many steps as the shortest path has moves, so a network that sees no further than
its few layers fails on long paths, while one that iterates to a fixed point need not.

Nothing that is easier to see gives the answer away. For each grid and start two goals are drawn:
one that can be reached, and one that cannot but looks alike, as far off along both axes (up to a
symmetry of the square) and with as many open neighbours. Grids that lack such a pair are dropped,
and only then is it settled which of the two goals is shown. So the label is independent of the
grid, the start, its component, the distance between the marks, and the marks' open neighbours.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
from scipy import ndimage

from train.data.types import Split
from train.errors import UserError

CLASSES = ("separate", "connected")
DIFFICULTY = "length of the shortest path (moves), connected pairs"

# Grids drawn at a time: bounds the memory.
_CHUNK = 4096
# Share of the grids that must have both goals: below it, making them would take forever.
_LEAST_ACCEPTED = 0.01
# The four neighbours of a cell, within one grid of a stack.
_NEIGHBOURS = np.array([[[0, 1, 0], [1, 0, 1], [0, 1, 0]]], np.int8)


def make_scaled(
    count: int, grid: int, open_fraction: float, blocks: Sequence[int], seed: int | tuple[int, ...]
) -> Split:
    """Grids of several scales in images of one size, in a random order.

    At what scale an image is can be seen at a glance, and a layer of that resolution is enough.

    Args:
        count: of images.
        grid: height and width of the images, in pixels; a multiple of every block.
        open_fraction: see `make`.
        blocks: sides of a cell in pixels; every scale has as many images, half of them connected.
        seed: of everything drawn.

    Returns:
        As `make`; the difficulty is in moves from cell to cell.

    Raises:
        UserError: as `make`, or a block that does not divide the grid.
    """
    if not blocks or any(block < 1 or grid % block for block in blocks):
        raise UserError(
            f"connectivity: expected blocks that divide grid={grid}, got {tuple(blocks)}."
        )
    splits = []
    for i, block in enumerate(blocks):
        share = (count + len(blocks) - 1 - i) // len(blocks)
        split = make(share, grid // block, open_fraction, (*np.atleast_1d(seed), block))
        pixels = split.images.repeat(block, axis=1).repeat(block, axis=2)
        splits.append(dataclasses.replace(split, images=pixels))
    together = lambda name: np.concatenate([getattr(split, name) for split in splits])
    order = np.random.default_rng(seed).permutation(count)
    return Split(together("images"), together("labels"), together("difficulty")).take(order)


def make(count: int, grid: int, open_fraction: float, seed: int | tuple[int, ...]) -> Split:
    """Grids with two marks, half of them connected.

    The length of the path is drawn uniformly from those at which the grid has a pair of goals that
    look alike.

    Args:
        count: of grids.
        grid: height and width, in cells.
        open_fraction: probability that a cell is open. Paths are longest and most winding near the
            percolation threshold, 0.593.
        seed: of everything drawn.

    Returns:
        Split of `count` examples. images: [count, grid, grid, 3] uint8, the channels being open
        cells, the start and the goal, each 0 or 255. labels: 1 (connected) at odd places, so that
        every even stretch is balanced. difficulty: moves of the shortest path, -1 for none.

    Raises:
        UserError: arguments out of range, or hardly any such grid has both kinds of goals.
    """
    if count < 1 or grid < 2 or not 0 < open_fraction < 1:
        raise UserError(
            "connectivity: expected count >= 1, grid >= 2 and open_fraction between 0 and 1, got "
            f"count={count}, grid={grid}, open_fraction={open_fraction}."
        )
    rng = np.random.default_rng(seed)
    chunks: list[tuple[np.ndarray, ...]] = []
    found = 0
    while found < count:
        chunk = _candidates(rng, grid, open_fraction)
        accepted = len(chunk[0])
        if accepted < _LEAST_ACCEPTED * _CHUNK:
            raise UserError(
                f"connectivity: of {_CHUNK} grids with grid={grid} and "
                f"open_fraction={open_fraction}, only {accepted} have two marks that can be joined "
                "and two alike that cannot; use grid >= 6 and an open_fraction between 0.4 and 0.7."
            )
        chunks.append(chunk)
        found += accepted

    is_open, start, reachable, separate, length = (
        np.concatenate(parts)[:count] for parts in zip(*chunks, strict=True)
    )
    labels = np.arange(count, dtype=np.int32) % 2
    connected = labels == 1
    goal = np.where(connected, reachable, separate)
    cells = np.arange(grid * grid)
    images = np.stack([is_open, cells == start[:, None], cells == goal[:, None]], axis=-1)
    return Split(
        images=(255 * images.astype(np.uint8)).reshape(count, grid, grid, 3),
        labels=labels,
        difficulty=np.where(connected, length, -1).astype(np.int32),
    )


def _candidates(
    rng: np.random.Generator, grid: int, open_fraction: float
) -> tuple[np.ndarray, ...]:
    """Grids with a start, a goal that can be reached and one that cannot but looks alike.

    Returns:
        Open cells [n, grid²] bool; start, reachable goal, separate goal [n] int, as places in
        grid²; length of the path to the reachable goal [n] int.
    """
    stack = rng.random((_CHUNK, grid, grid)) < open_fraction
    neighbours = ndimage.convolve(stack.astype(np.int8), _NEIGHBOURS, mode="constant")
    is_open = stack.reshape(_CHUNK, -1)
    start = pick(rng, is_open)
    distance = _distances(stack, start).reshape(_CHUNK, -1)

    row, column = np.divmod(np.arange(grid * grid), grid)
    down, across = (np.abs(x - x[start][:, None]) for x in (row, column))
    offset = grid * np.minimum(down, across) + np.maximum(down, across)
    # One number for all that must agree: 0 to 4 open neighbours, and the offset from the start.
    looks = 5 * offset + neighbours.reshape(_CHUNK, -1)
    out_of_reach = is_open & (distance < 0)
    matched = (distance > 0) & np.take_along_axis(_occurring(looks, out_of_reach), looks, axis=1)

    length = pick(rng, _occurring(distance, matched))
    reachable = pick(rng, matched & (distance == length[:, None]))
    looks_of_goal = np.take_along_axis(looks, reachable[:, None], axis=1)
    separate = pick(rng, out_of_reach & (looks == looks_of_goal))
    both = matched.any(axis=1)
    return tuple(x[both] for x in (is_open, start, reachable, separate, length))


def _occurring(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Which of 0, 1, ..., values.max() occur in each row, where asked for."""
    occurs = np.zeros((len(values), values.max() + 1), bool)
    rows, _ = np.nonzero(where)
    occurs[rows, values[where]] = True
    return occurs


def _distances(stack: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Moves from the start to every open cell, -1 where there is no path, by flood filling.

    Args:
        stack: [n, grid, grid] bool, open cells.
        start: [n] int, places in grid².

    Returns:
        Like stack, int16.
    """
    front = np.zeros_like(stack)
    front.reshape(len(stack), -1)[np.arange(len(stack)), start] = True
    unseen = stack.copy()
    distance = np.full(stack.shape, -1, np.int16)
    moves = 0
    while front.any():
        distance[front] = moves
        unseen &= ~front
        front = ndimage.binary_dilation(front, _NEIGHBOURS) & unseen
        moves += 1
    return distance


def pick(rng: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """One place, uniformly drawn, of those allowed in each row; any where there is none."""
    return np.argmax(rng.random(allowed.shape) * allowed, axis=1)
