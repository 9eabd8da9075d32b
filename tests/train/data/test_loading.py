"""The digits, and the statistics of training images."""

from ml_collections import ConfigDict
import numpy as np

from configs import _base
from train.data import loading


def load(name, **fields):
    return loading.load(ConfigDict(_base.data(name, **fields)))


def test_digits():
    dataset = load("digits", validation=240)
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [len(part.labels) for part in parts] == [1057, 240, 500]
    for part in parts:
        share = np.bincount(part.labels, minlength=10) / len(part.labels)
        np.testing.assert_allclose(share, 0.1, atol=0.01)
    # 1,797 different images came in, so none is in two parts.
    everything = np.concatenate([part.images for part in parts])
    assert everything.shape == (1797, 8, 8, 1)
    assert len(np.unique(everything, axis=0)) == 1797
    assert everything.max() == 255
    assert dataset.classes == tuple("0123456789")
    other = load("digits", validation=100)
    np.testing.assert_array_equal(other.test.images, dataset.test.images)


def test_statistics_are_those_of_the_training_images():
    dataset = load("connectivity", train=60, validation=5, test=40)
    images = dataset.train.images / 255
    np.testing.assert_allclose(dataset.mean, images.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(dataset.std, images.std((0, 1, 2)), rtol=1e-5)
    assert dataset.mean.dtype == dataset.std.dtype == np.float32
