"""Grids with two marked places, read and walked through in the plainest way."""

from collections import deque

import numpy as np

# A cell and its four neighbours, within one grid of a stack.
FOUR = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]])
# The same, for `scipy.ndimage.label`.
FOUR_EACH = np.pad(FOUR, ((1, 1), (0, 0), (0, 0)))


def marks(split):
    """Open places [n, side, side] bool; row and column of start and goal, [n, 2] each."""
    assert set(np.unique(split.images)) == {0, 255}
    is_open, start, goal = np.moveaxis(split.images > 0, -1, 0)
    assert (start.sum((1, 2)) == 1).all() and (goal.sum((1, 2)) == 1).all()
    return is_open, np.argwhere(start)[:, 1:], np.argwhere(goal)[:, 1:]


def moves_from(is_open, start):
    """Moves from the start to each place of one grid that can be reached, breadth first."""
    moves, queue = {tuple(start): 0}, deque([tuple(start)])
    while queue:
        row, column = queue.popleft()
        for place in (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1):
            inside = min(place) >= 0 and max(place) < len(is_open)
            if inside and is_open[place] and place not in moves:
                moves[place] = moves[row, column] + 1
                queue.append(place)
    return moves
