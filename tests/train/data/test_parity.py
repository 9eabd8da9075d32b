"""Parity: the labels are right, and every entry counts."""

import numpy as np
import pytest

from configs import parity as interpolation
from configs import parity_extrapolation as extrapolation
from train.data import loading, parity

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
    for vector, label, difficulty in zip(
        vectors(split).tolist(), split.labels.tolist(), split.difficulty.tolist(), strict=True
    ):
        odd = False
        for entry in vector:
            if entry == 1:
                odd = not odd
        assert label == odd
        assert difficulty == LENGTH - vector.count(0)


def test_shapes_values_and_balance(split):
    assert split.images.shape == (8000, 1, LENGTH, 2)
    assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)
    assert split.difficulty.dtype == np.int32
    assert set(np.unique(split.images)) == {0, 255}
    np.testing.assert_array_equal(np.bincount(split.labels), [4000, 4000])


def test_everything_is_drawn_uniformly(split):
    """The number of entries, their places, and their signs, where they do not give the label."""
    counts = np.bincount(split.difficulty, minlength=LENGTH + 1)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / 8000, 1 / LENGTH, atol=0.01)
    entries = vectors(split)
    np.testing.assert_allclose((entries != 0).mean(0), (LENGTH + 1) / (2 * LENGTH), atol=0.03)
    several = entries[split.difficulty > 1]
    np.testing.assert_allclose((several == 1).mean(0), (several == -1).mean(0), atol=0.03)


def test_a_range_of_difficulties():
    split = parity.make(3000, 12, 10, 12, seed=0)
    np.testing.assert_array_equal(np.unique(split.difficulty), [10, 11, 12])


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


def test_the_seed_decides():
    first, again, other = (parity.make(50, 8, 1, 8, seed).images for seed in (1, 1, (1, 1)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("config", "length", "trained", "tested"),
    [(interpolation, 64, (1, 64), (1, 64)), (extrapolation, 96, (1, 48), (49, 96))],
)
def test_the_configs_are_ponder_nets_tasks(config, length, trained, tested):
    settings = config.get_config().data
    settings.update(train=2000, validation=500, test=2000)
    dataset = loading.load(settings)
    assert dataset.train.images.shape[1:] == (1, length, 2)
    for split, expected in ((dataset.train, trained), (dataset.test, tested)):
        assert (split.difficulty.min(), split.difficulty.max()) == expected
