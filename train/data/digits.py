"""Scikit-learn's 1,797 handwritten digits, 8×8 pixels with 17 levels of grey."""

import ml_collections
import numpy as np
from sklearn import datasets, model_selection

from train.data.types import Parts, Split

# Test images, the same in every config.
_TEST = 500


def load(config: ml_collections.ConfigDict) -> Parts:
    """Parts in which all classes are equally frequent. The seeds are fixed."""
    digits = datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    divide = lambda places, count: model_selection.train_test_split(
        places, test_size=count, stratify=labels[places], random_state=0
    )
    rest, test = divide(np.arange(len(labels)), _TEST)
    train, validation = divide(rest, config.validation)
    everything = Split(images, labels)
    train, validation, test = (everything.take(places) for places in (train, validation, test))
    return Parts(train, validation, test, tuple(str(name) for name in digits.target_names))
