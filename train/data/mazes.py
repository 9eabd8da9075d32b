"""Mazes: one passage of a perfect maze has been closed; is the path from start to goal broken?

A perfect maze is a spanning tree of a grid of cells, so two cells are joined by just one path, and
closing a passage breaks it if the passage was on it. What was closed looks like any other wall: to
tell, one must follow the path, and a flood fill takes as many steps as the path has moves. That is
the difficulty, known for whole and for broken paths alike. (Whether it visits a marked cell could
be told near by, however long the path, if a branch of that cell is a short dead end.)

Little that is easier to see gives the answer away. For each maze two passages are drawn that leave
a quarter of the other cells or more on either side, so that neither part is soon explored, and a
start and a goal between which the path leads through one of the two. Only then is it settled which
of the two is closed. So the label is independent of the tree, the start, the goal and the
difficulty. (To count the cells of the start's or the goal's part would tell it in 7 of 10 mazes.)
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from train.data.connectivity import pick
from train.data.types import Split
from train.errors import UserError

CLASSES = ("broken", "whole")
DIFFICULTY = "length of the path (moves)"

# Mazes drawn at a time: bounds the memory.
_CHUNK = 1024


def make(count: int, side: int, seed: int | tuple[int, ...]) -> Split:
    """Mazes with a start and a goal, half of the paths between them broken.

    Args:
        count: of mazes.
        side: height and width, in cells.
        seed: of everything drawn.

    Returns:
        Split of `count` examples. images: [count, 2 side - 1, 2 side - 1, 3] uint8, with a pixel
        for each cell and one for each wall or passage between two of them; the channels are what
        is open, the start and the goal, each 0 or 255. labels: 1 (whole) at odd places, so that
        every even stretch is balanced. difficulty: moves, in pixels, of the path before anything
        was closed, drawn uniformly up to the longest path through one of the two passages.

    Raises:
        UserError: arguments out of range.
    """
    if count < 1 or side < 3:
        raise UserError(f"mazes: expected count >= 1, side >= 3, got count={count}, side={side}.")
    rng = np.random.default_rng(seed)
    chunks: list[tuple[np.ndarray, ...]] = []
    while sum(len(chunk[0]) for chunk in chunks) < count:
        chunks.append(_candidates(rng, side))
    is_open, start, goal, on_path, off_path, length = (
        np.concatenate(parts)[:count] for parts in zip(*chunks, strict=True)
    )
    labels = np.arange(count, dtype=np.int32) % 2
    closed = np.where(labels == 1, off_path, on_path)
    pixels = np.arange(is_open.shape[1])
    wall, *marks = (pixels == place[:, None] for place in (closed, start, goal))
    images = 255 * np.stack([is_open & ~wall, *marks], axis=-1).astype(np.uint8)
    images = images.reshape(count, 2 * side - 1, 2 * side - 1, 3)
    return Split(images, labels, length.astype(np.int32))


def _candidates(rng: np.random.Generator, side: int) -> tuple[np.ndarray, ...]:
    """Mazes with all passages open, and two of them that may be closed.

    Returns:
        What is open [n, pixels] bool; pixels of start, goal, passage on the path and passage off
        it, and moves of the path in pixels, [n] int.
    """
    cells, maze = side * side, np.arange(_CHUNK)
    trees = _trees(rng, side)
    moves, before = _explore(trees, rng.integers(cells, size=_CHUNK))
    # A cell also stands for the passage through which it is reached from the root.
    beyond = _sums(np.ones_like(moves), moves, before)
    # There always is such a passage, as no cell has more than four.
    even = 4 * np.minimum(beyond, cells - beyond) >= cells - 1
    on_path = pick(rng, even)

    away, _ = _explore(trees, on_path)
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


def _trees(rng: np.random.Generator, side: int) -> sparse.csr_array:
    """Spanning trees of `_CHUNK` grids, in one graph: those that are least by random weights."""
    cell = np.arange(_CHUNK * side * side).reshape(_CHUNK, side, side)
    ends = [(cell[:, :, :-1], cell[:, :, 1:]), (cell[:, :-1], cell[:, 1:])]
    tail, head = (np.concatenate([x.ravel() for x in xs]) for xs in zip(*ends, strict=True))
    weights = 1 - rng.random(len(tail))  # above 0, which would mean that there is no edge
    grids = sparse.csr_array((weights, (tail, head)), shape=(cell.size, cell.size))
    return csgraph.minimum_spanning_tree(grids)


def _explore(trees: sparse.csr_array, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves from each tree's root to its cells, and the cell before, the root's being itself."""
    first = trees.shape[0] // _CHUNK * np.arange(_CHUNK)
    options = dict(directed=False, unweighted=True, min_only=True, return_predecessors=True)
    moves, before, _ = csgraph.dijkstra(trees, indices=first + root, **options)
    before[first + root] = first + root
    return moves.reshape(_CHUNK, -1).astype(int), before.reshape(_CHUNK, -1) - first[:, None]


def _sums(values: np.ndarray, moves: np.ndarray, before: np.ndarray) -> np.ndarray:
    """For each cell the sum over all that are reached through it, itself included."""
    sums = values.copy()
    for distance in range(moves.max(), 0, -1):
        cell = np.nonzero(moves == distance)
        np.add.at(sums, (cell[0], before[cell]), sums[cell])
    return sums
