"""Connectivity: the labels are right, and nothing but the path tells them."""

from grids import FOUR, FOUR_EACH, marks, moves_from
import numpy as np
import pytest
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from train.data import connectivity
from train.errors import UserError


@pytest.fixture(scope="module")
def split():
    return connectivity.make(6000, 12, 0.6, seed=0)


def shortest_paths(split):
    """Moves from start to goal, -1 where there is no path."""
    examples = zip(*marks(split), strict=True)
    return [moves_from(grid, start).get(tuple(goal), -1) for grid, start, goal in examples]


def test_labels_and_lengths_are_those_of_the_grid(split):
    some = split.take(slice(400))
    expected = np.array(shortest_paths(some))
    np.testing.assert_array_equal(some.difficulty, expected)
    np.testing.assert_array_equal(some.labels, expected >= 0)


def test_marks_are_two_different_open_cells(split):
    is_open, start, goal = marks(split)
    every = np.arange(len(is_open))
    assert is_open[every, *start.T].all() and is_open[every, *goal.T].all()
    assert (start != goal).any(1).all()


def test_long_paths_are_well_represented(split):
    length = split.difficulty[split.labels == 1]
    assert (length >= 14).mean() > 0.1
    assert (length <= 3).mean() < 0.2


def test_simple_cues_do_not_tell_the_label(split):
    """Boosted trees learn nothing from distance, openness, neighbours and the start's component."""
    is_open, start, goal = marks(split)
    every = np.arange(len(is_open))
    labelled, _ = ndimage.label(is_open, FOUR_EACH)
    neighbours = ndimage.convolve(is_open.astype(int), FOUR, mode="constant")
    cues = np.column_stack(
        [
            np.sort(np.abs(start - goal), axis=1),
            is_open.sum((1, 2)),
            neighbours[every, *start.T],
            neighbours[every, *goal.T],
            np.bincount(labelled.ravel())[labelled[every, *start.T]],
        ]
    )
    model = HistGradientBoostingClassifier(max_iter=10, learning_rate=0.3).fit(
        cues[:4000], split.labels[:4000]
    )
    assert model.score(cues[4000:], split.labels[4000:]) < 0.55


@pytest.mark.parametrize("settings", [(2, 0.6), (12, 0.95), (12, 0.05)])
def test_settings_that_leave_no_pairs(settings):
    with pytest.raises(UserError, match="use grid >= 6"):
        connectivity.make(10, *settings, seed=0)


def test_every_scale_has_its_share_of_grids_of_blown_up_cells():
    split = connectivity.make_scaled(1001, 16, 0.6, (1, 2), seed=(3, 0))
    assert split.images.shape == (1001, 16, 16, 3)
    np.testing.assert_array_equal(np.sort(np.bincount(split.labels)), [500, 501])
    cells = split.images.reshape(-1, 8, 2, 8, 2, 3)
    blown_up = (cells == cells[:, :, :1, :, :1]).all((1, 2, 3, 4, 5))
    assert blown_up.sum() == 500
    assert 0.4 < split.labels[blown_up].mean() < 0.6 and 0.4 < blown_up[:500].mean() < 0.6
    coarse = split.take(blown_up)
    small = connectivity.Split(coarse.images[:, ::2, ::2], coarse.labels)
    np.testing.assert_array_equal(coarse.difficulty, shortest_paths(small))
