"""Mazes: they are trees, the labels are right, and it takes the path to tell them."""

from grids import FOUR, FOUR_EACH, marks, moves_from
import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from train.data import mazes

SIDE = 7


@pytest.fixture(scope="module")
def split():
    return mazes.make(9000, SIDE, seed=0)


def test_labels_and_lengths_are_those_of_the_maze(split):
    """Of a broken path, the length is that through a passage which would join its ends again."""
    for is_open, start, goal, label, length in zip(
        *(x[:200] for x in (*marks(split), split.labels, split.difficulty)), strict=True
    ):
        ahead, back = moves_from(is_open, start), moves_from(is_open, goal)
        assert (tuple(goal) in ahead) == label
        if label:
            assert ahead[tuple(goal)] == length
        else:
            walls = np.argwhere(~is_open)
            near = lambda wall: [tuple(wall + step) for step in ((0, 1), (0, -1), (1, 0), (-1, 0))]
            lengths = {
                ahead[one] + back[other] + 2
                for wall in walls
                for one in near(wall)
                for other in near(wall)
                if one in ahead and other in back
            }
            assert length in lengths


def test_before_a_passage_is_closed_mazes_are_spanning_trees():
    """Passages are one fewer than cells, and join all. Closing one leaves two large parts."""
    is_open, start, goal, on_path, off_path, length = mazes._candidates(
        np.random.default_rng(0), SIDE
    )
    width = 2 * SIDE - 1
    cells = np.zeros((width, width), bool)
    cells[::2, ::2] = True
    assert len(is_open) > 100
    for i in range(100):
        tree = is_open[i].reshape(width, width)
        assert tree[cells].all() and tree.sum() == 2 * SIDE**2 - 1
        assert not tree[1::2, 1::2].any()
        reached = moves_from(tree, np.unravel_index(start[i], tree.shape))
        assert len(reached) == tree.sum()
        assert reached[np.unravel_index(goal[i], tree.shape)] == length[i]
        for closed, joined in ((on_path[i], False), (off_path[i], True)):
            place = np.unravel_index(closed, tree.shape)
            assert tree[place] and not cells[place]
            rest = tree.copy()
            rest[place] = False
            part = moves_from(rest, np.unravel_index(start[i], tree.shape))
            assert (np.unravel_index(goal[i], tree.shape) in part) == joined
            size = sum(cells[place] for place in part)
            assert 4 * min(size, SIDE**2 - size) >= SIDE**2 - 1


def test_every_maze_is_a_tree_but_for_one_passage(split):
    is_open, start, goal = marks(split)
    assert (is_open.sum((1, 2)) == 2 * SIDE**2 - 2).all()
    _, parts = ndimage.label(is_open, FOUR_EACH)
    assert parts == 2 * len(is_open)
    assert (start % 2 == 0).all() and (goal % 2 == 0).all() and (start != goal).any(1).all()


def test_paths_are_short_and_long_and_broken_ones_no_longer_than_whole_ones(split):
    assert (split.difficulty >= 20).mean() > 0.2
    assert 0.1 < (split.difficulty <= 4).mean() < 0.25
    broken, whole = (split.difficulty[split.labels == label] for label in (0, 1))
    np.testing.assert_allclose(
        np.quantile(broken, [0.1, 0.5, 0.9]), np.quantile(whole, [0.1, 0.5, 0.9]), atol=2
    )
    larger = mazes.make(500, SIDE + 3, seed=0)
    assert np.median(larger.difficulty) > np.median(split.difficulty) + 5


def test_a_short_look_around_hardly_tells_the_label_of_a_longer_path(split):
    """Boosted trees learn little from distances, passages, dead ends, and floods of 4 moves."""
    is_open, start, goal = marks(split)
    every = np.arange(len(is_open))
    neighbours = ndimage.convolve(is_open.astype(int), FOUR, mode="constant") - is_open
    dead_end = is_open & (neighbours == 1)
    cues = [*np.sort(np.abs(start - goal), axis=1).T, split.difficulty, dead_end.sum((1, 2))]
    for channel, mark in ((1, start), (2, goal)):
        flood = split.images[..., channel] > 0
        for _ in range(4):
            flood = ndimage.binary_dilation(flood, FOUR) & is_open
        cues += [flood.sum((1, 2)), (flood & dead_end).sum((1, 2)), neighbours[every, *mark.T]]
        cues += [*mark.T, np.minimum(mark, 2 * SIDE - 2 - mark).min(1)]
    cues, labels = (x[split.difficulty > 8] for x in (np.column_stack(cues), split.labels))
    model = HistGradientBoostingClassifier(max_iter=10, learning_rate=0.3).fit(
        cues[:4500], labels[:4500]
    )
    assert model.score(cues[4500:], labels[4500:]) < 0.58
