"""Mazes: one passage of a perfect maze has been closed. Is the path from start to goal broken?

A perfect maze is a spanning tree of a grid of cells. Exactly one path connects two cells, and
closing a passage of this path breaks it. The closed passage looks like any other wall: to find the
answer, one must follow the path. A flood fill takes one step for each move of the path. This is the
difficulty, and it is known for whole and for broken paths. (Not every path has to be followed to
its end: where a branch of a marked cell is a short dead end, a look around that cell is enough.)

Simpler cues tell little. For each maze, two passages are drawn that leave at least a quarter of the
other cells on either side, so that exploring either part takes long. Then a start and a goal are
drawn whose path leads through one of the two passages. Only then is one of the two closed. So the
label is independent of the tree, the start, the goal and the difficulty. (Counting the cells that
the start or the goal can reach would give the answer in 7 of 10 mazes.)
"""

import ml_collections
import numpy as np
from scipy.sparse import csgraph

from train.data import generated
from train.data.generated import explore, pick
from train.data.types import Parts, Split

CLASSES = ("broken", "whole")
DIFFICULTY = "length of the path (moves)"

# Mazes drawn at a time, which limits the memory.
_CHUNK = 1024


def load(config: ml_collections.ConfigDict) -> Parts:
    """Parts as `config.data` asks for."""
    make_part = lambda part, seed: make(config[part], config.side, seed)
    return generated.parts(config, make_part, CLASSES, DIFFICULTY)


def make(count: int, side: int, seed: int | tuple[int, ...]) -> Split:
    """Mazes with a start and a goal, half of the paths between them broken.

    Args:
        count: of mazes.
        side: height and width, in cells.
        seed: of all random numbers.

    Returns:
        Split of `count` examples. images: [count, 2 side - 1, 2 side - 1, 3] uint8, with a pixel
        for each cell and one for each wall or passage between two of them; the channels are what
        is open, the start and the goal. labels: `balanced`, 1 for whole. difficulty: moves, in
        pixels, of the path before a passage was closed, drawn uniformly up to the longest path
        through one of the two passages.
    """
    rng = np.random.default_rng(seed)
    is_open, start, goal, on_path, off_path, length = generated.collect(
        count, lambda: _candidates(rng, side)
    )
    labels = generated.balanced(count)
    is_open[np.arange(count), np.where(labels == 1, off_path, on_path)] = False
    return Split(generated.images(is_open, start, goal), labels, length.astype(np.int32))


def _candidates(rng: np.random.Generator, side: int) -> tuple[np.ndarray, ...]:
    """Mazes with all passages open, and the two passages of which one will be closed.

    Returns:
        What is open [n, pixels] bool; pixels of start, goal, passage on the path and passage off
        it, and moves of the path in pixels, [n] int.
    """
    cells, maze = side * side, np.arange(_CHUNK)
    # Random weights above 0, which would mean that there is no edge.
    grids = generated.graph(_CHUNK, side, lambda tail, head: 1 - rng.random(len(tail)))
    trees = csgraph.minimum_spanning_tree(grids)
    moves, before = explore(trees, rng.integers(cells, size=_CHUNK))
    # A cell also stands for the passage through which it is reached from the root.
    beyond = _sums(np.ones_like(moves), moves, before)
    # Such a passage always exists, because no cell has more than four.
    even = 4 * np.minimum(beyond, cells - beyond) >= cells - 1
    on_path = pick(rng, even)

    away, _ = explore(trees, on_path)
    behind = moves == away + moves[maze, on_path][:, None]
    far, near = (np.max(away * part, axis=1) for part in (behind, ~behind))
    length = rng.integers(1, far + near, endpoint=True)
    ahead = rng.integers(np.maximum(0, length - near), np.minimum(far, length - 1), endpoint=True)
    start = pick(rng, behind & (away == ahead[:, None]))
    goal = pick(rng, ~behind & (away == (length - ahead)[:, None]))
    marks = (np.arange(cells) == np.stack([start, goal])[..., None]).sum(axis=0)
    elsewhere = even & (_sums(marks, moves, before) != 1)

    row, column = np.divmod(np.arange(cells), side)
    pixel = 2 * (2 * side - 1) * row + 2 * column
    passage = (pixel + pixel[before]) // 2  # halfway between two cells; the root's is the root
    is_open = np.zeros((_CHUNK, (2 * side - 1) ** 2), bool)
    is_open[:, pixel] = True
    is_open[maze[:, None], passage] = True
    passages = (passage[maze, cell] for cell in (on_path, pick(rng, elsewhere)))
    found = (is_open, pixel[start], pixel[goal], *passages, 2 * length)
    return tuple(part[elsewhere.any(axis=1)] for part in found)


def _sums(values: np.ndarray, moves: np.ndarray, before: np.ndarray) -> np.ndarray:
    """For each cell, the sum over all cells that are reached through it, and itself."""
    sums = values.copy()
    for distance in range(moves.max(), 0, -1):
        cell = np.nonzero(moves == distance)
        np.add.at(sums, (cell[0], before[cell]), sums[cell])
    return sums
