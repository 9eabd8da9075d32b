"""What the data sets have in common that are made on the fly, above all those of grids."""

from collections.abc import Callable

import ml_collections
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from train.data.types import Parts, Split, hold_out


def parts(
    config: ml_collections.ConfigDict,
    make: Callable[[str, tuple[int, int]], Split],
    classes: tuple[str, ...],
    difficulty: str,
) -> Parts:
    """Parts as `config.data` asks for; `make` makes "train" or "test" with a seed."""
    rest, test = (make(part, (config.seed, i)) for i, part in enumerate(("train", "test")))
    return Parts(*hold_out(rest, config.validation), test, classes, difficulty)


def balanced(count: int) -> np.ndarray:
    """Labels [count] int32, 1 at odd places, so that every slice of even length is balanced."""
    return np.arange(count, dtype=np.int32) % 2


def collect(count: int, draw: Callable[[], tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """The first `count` rows of what is drawn, as often as it takes."""
    chunks: list[tuple[np.ndarray, ...]] = []
    while sum(len(chunk[0]) for chunk in chunks) < count:
        chunks.append(draw())
    return tuple(np.concatenate(rows)[:count] for rows in zip(*chunks, strict=True))


def pick(rng: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """One place of those allowed in each row, drawn uniformly; any place if none is allowed."""
    return np.argmax(rng.random(allowed.shape) * allowed, axis=1)


def graph(
    count: int, side: int, weigh: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> sparse.csr_array:
    """The cells of `count` square grids, with edges between neighbours, in one graph.

    Args:
        count, side: number of grids, and of cells along a side.
        weigh: (cells, neighbours) → weights of these edges; 0 for none. Cells are numbered through
            all grids.
    """
    cell = np.arange(count * side**2).reshape(count, side, side)
    pairs = [(cell[:, :, :-1], cell[:, :, 1:]), (cell[:, :-1], cell[:, 1:])]
    tail, head = (np.concatenate([x.ravel() for x in ends]) for ends in zip(*pairs, strict=True))
    edges = sparse.csr_array((weigh(tail, head), (tail, head)), shape=(cell.size, cell.size))
    edges.eliminate_zeros()
    return edges


def explore(edges: sparse.csr_array, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves from the root of each grid of `graph`, a place in it, to its cells.

    Returns:
        Moves, -1 where there is no path, and the place before; for the root, itself. Both
        [grids, side²] int.
    """
    first = edges.shape[0] // len(root) * np.arange(len(root))
    moves, before, _ = csgraph.dijkstra(
        edges,
        directed=False,
        indices=first + root,
        unweighted=True,
        min_only=True,
        return_predecessors=True,
    )
    before[first + root] = first + root
    moves = np.where(np.isfinite(moves), moves, -1).astype(int)
    return moves.reshape(len(root), -1), before.reshape(len(root), -1) - first[:, None]


def images(is_open: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Open cells [n, side²] bool, start and goal [n] as [n, side, side, 3] uint8, 0 or 255."""
    places = np.arange(is_open.shape[1])
    channels = [is_open, *(places == mark[:, None] for mark in (start, goal))]
    side = round(len(places) ** 0.5)
    return 255 * np.stack(channels, axis=-1).astype(np.uint8).reshape(-1, side, side, 3)
