"""Connectivity: the labels are right, and nothing but the path tells them."""

import numpy as np
import pytest
from scipy import ndimage, sparse
from sklearn.ensemble import HistGradientBoostingClassifier

from train.data import connectivity
from train.errors import UserError

GRID = 12
FOUR = ndimage.generate_binary_structure(2, 1)


@pytest.fixture(scope="module")
def split():
    return connectivity.make(6000, GRID, 0.6, seed=0)


def marks(split):
    """Open cells [n, g, g] bool; row and column of start and goal, [n, 2] each."""
    is_open, start, goal = np.moveaxis(split.images > 0, -1, 0)
    return is_open, np.argwhere(start)[:, 1:], np.argwhere(goal)[:, 1:]


def shortest_path(is_open, start, goal):
    """By Dijkstra, on the graph of one grid."""
    cells = np.arange(is_open.size).reshape(is_open.shape)
    right = is_open[:, 1:] & is_open[:, :-1]
    down = is_open[1:] & is_open[:-1]
    tails = np.concatenate([cells[:, :-1][right], cells[:-1][down]])
    heads = np.concatenate([cells[:, 1:][right], cells[1:][down]])
    shape = (is_open.size, is_open.size)
    graph = sparse.csr_array((np.ones(len(tails)), (tails, heads)), shape=shape)
    distances = sparse.csgraph.dijkstra(graph, directed=False, indices=cells[tuple(start)])
    distance = distances[cells[tuple(goal)]]
    return int(distance) if np.isfinite(distance) else -1


def test_labels_and_lengths_are_those_of_the_graph(split):
    examples = list(zip(*marks(split), strict=True))[:400]
    expected = np.array([shortest_path(*example) for example in examples])
    np.testing.assert_array_equal(split.difficulty[:400], expected)
    np.testing.assert_array_equal(split.labels[:400], expected >= 0)


def test_marks_are_two_different_open_cells(split):
    assert set(np.unique(split.images)) == {0, 255}
    assert (split.images[..., 1:].astype(bool).sum((1, 2)) == 1).all()
    is_open, start, goal = marks(split)
    every = np.arange(len(is_open))
    assert is_open[every, *start.T].all()
    assert is_open[every, *goal.T].all()
    assert (start != goal).any(1).all()


def test_shapes_and_balance(split):
    assert split.images.shape == (6000, GRID, GRID, 3)
    assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
    assert split.difficulty.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(split.labels), [3000, 3000])
    odd = connectivity.make(7, GRID, 0.6, seed=0)
    np.testing.assert_array_equal(np.bincount(odd.labels), [4, 3])


def test_long_paths_are_well_represented(split):
    length = split.difficulty[split.labels == 1]
    assert (length >= 14).mean() > 0.1
    assert (length <= 3).mean() < 0.2


def test_simple_cues_do_not_tell_the_label(split):
    """Boosted trees learn nothing from distance, openness, neighbours and the start's component."""
    is_open, start, goal = marks(split)
    every = np.arange(len(is_open))
    labelled, _ = ndimage.label(is_open, np.pad(FOUR[None], ((1, 1), (0, 0), (0, 0))))
    neighbours = ndimage.convolve(is_open.astype(int), FOUR[None].astype(int), mode="constant")
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


def test_the_seed_decides():
    first, again, other = (connectivity.make(50, 8, 0.6, seed).images for seed in (1, 1, (1, 1)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


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
    coarse = connectivity.Split(
        split.images[blown_up][:, ::2, ::2], split.labels[blown_up], split.difficulty[blown_up]
    )
    for i, example in enumerate(zip(*marks(coarse), strict=True)):
        assert shortest_path(*example) == coarse.difficulty[i]
