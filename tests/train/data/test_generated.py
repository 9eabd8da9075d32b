"""Every data set that is made on the fly: balanced, of the promised types, given by its seed."""

from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import _base, parity, parity_extrapolation
from train.data import loading

SHAPES = {"connectivity": (12, 12, 3), "mazes": (9, 9, 3), "parity": (1, 64, 2)}


def load(name, **fields):
    return loading.load(ConfigDict(_base.data(name, **fields)))


@pytest.mark.parametrize("name", SHAPES)
def test_parts_of_a_seed(name):
    sizes = {"train": 61, "validation": 11, "test": 40}
    dataset = load(name, **sizes)
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [len(part.labels) for part in parts] == [50, 11, 40]
    for part in parts:
        assert part.images.shape == (len(part.labels), *SHAPES[name])
        assert set(np.unique(part.images)) == {0, 255}
        assert part.labels.sum() == len(part.labels) // 2
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int32)
        assert (part.difficulty.dtype, part.difficulty.shape) == (np.int32, part.labels.shape)
    assert len(dataset.classes) == 2 and dataset.difficulty
    again, other = (load(name, seed=seed, **sizes) for seed in (0, 1))
    np.testing.assert_array_equal(again.test.images, dataset.test.images)
    assert (other.test.images != dataset.test.images).any()


@pytest.mark.parametrize("name", ["mazes", "parity"])
def test_hardly_a_test_example_is_in_the_training_set(name):
    dataset = load(
        name, train=4000, validation=5, test=1000, **{"mazes": {"side": 7}}.get(name, {})
    )
    seen = {image.tobytes() for image in (*dataset.train.images, *dataset.validation.images)}
    known = np.array([image.tobytes() in seen for image in dataset.test.images])
    # Of vectors with one or two entries, there are only so many.
    assert not known[dataset.test.difficulty > 3].any() and known.mean() < 0.03


@pytest.mark.parametrize(
    ("config", "length", "trained", "tested"),
    [(parity, 64, (1, 64), (1, 64)), (parity_extrapolation, 96, (1, 48), (49, 96))],
)
def test_parity_is_ponder_nets_task(config, length, trained, tested):
    settings = config.get_config().data
    settings.update(train=2000, validation=500, test=2000)
    dataset = loading.load(settings)
    assert dataset.train.images.shape[1:] == (1, length, 2)
    for split, expected in ((dataset.train, trained), (dataset.test, tested)):
        assert (split.difficulty.min(), split.difficulty.max()) == expected
