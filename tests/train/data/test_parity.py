"""Parity: the labels are right, and every entry counts."""

import numpy as np
import pytest

from train.data import parity

LENGTH = 24


@pytest.fixture(scope="module")
def split():
    return parity.make(8000, LENGTH, 1, LENGTH, seed=0)


def vectors(split):
    """[n, length] of -1, 0 and 1."""
    plus, minus = np.moveaxis(split.images[:, 0].astype(int) // 255, -1, 0)
    assert not (plus & minus).any()
    return plus - minus


def test_labels_and_difficulties_are_those_of_the_vectors(split):
    entries = vectors(split)
    np.testing.assert_array_equal(split.labels, (entries == 1).sum(1) % 2)
    np.testing.assert_array_equal(split.difficulty, (entries != 0).sum(1))


def test_everything_is_drawn_uniformly(split):
    """The number of entries, their places, and their signs, where they do not give the label."""
    counts = np.bincount(split.difficulty, minlength=LENGTH + 1)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / 8000, 1 / LENGTH, atol=0.01)
    entries = vectors(split)
    np.testing.assert_allclose((entries != 0).mean(0), (LENGTH + 1) / (2 * LENGTH), atol=0.03)
    several = entries[split.difficulty > 1]
    np.testing.assert_allclose((several == 1).mean(0), (several == -1).mean(0), atol=0.03)


def test_all_but_one_entry_do_not_tell_the_label():
    split = parity.make(4000, 4, 4, 4, seed=0)
    odd_share = lambda entries: [
        split.labels[(entries == pattern).all(1)].mean() for pattern in np.unique(entries, axis=0)
    ]
    signs = vectors(split)
    assert sorted(odd_share(signs)) == [0] * 8 + [1] * 8
    for hidden in range(4):
        shares = odd_share(np.delete(signs, hidden, axis=1))
        np.testing.assert_allclose(shares, [0.5] * 8, atol=0.1)
