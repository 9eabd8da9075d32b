"""Batches: every epoch in a new order, a function of the step; every example evaluated once."""

import numpy as np
import pytest

from train.data import batches


def test_batches_go_through_every_epoch_in_a_new_order():
    steps = batches.batch_indices(23, 5, seed=3, first_step=0, steps=8)
    assert (steps.shape, steps.dtype) == ((8, 5), np.int32)
    first, second = steps[:4].ravel(), steps[4:].ravel()
    for epoch in (first, second):
        assert len(set(epoch.tolist())) == 20
        assert set(epoch.tolist()) <= set(range(23))
    assert (first != second).any()
    assert (batches.batch_indices(23, 5, seed=4, first_step=0, steps=4).ravel() != first).any()


def test_batches_are_a_function_of_the_step():
    whole = batches.batch_indices(23, 5, seed=3, first_step=0, steps=50)
    resumed = batches.batch_indices(23, 5, seed=3, first_step=17, steps=9)
    np.testing.assert_array_equal(resumed, whole[17:26])


@pytest.mark.parametrize("count", [1, 8, 9, 23])
def test_evaluation_covers_every_example_once(count):
    found = list(batches.evaluation_batches(count, 8))
    assert all(indices.shape == mask.shape == (8,) for indices, mask in found)
    assert all(indices.dtype == np.int32 for indices, _ in found)
    assert all(indices.max() < count for indices, _ in found)
    seen = np.concatenate([indices[mask] for indices, mask in found])
    np.testing.assert_array_equal(seen, np.arange(count))
