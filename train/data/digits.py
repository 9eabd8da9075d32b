"""TODO."""

import ml_collections
import numpy as np

from train.data.loading import _check, _Parts
from train.data.types import Split

# Images of the digits that are kept for testing, whatever the configuration.
_DIGITS_TEST = 500


def _digits(config: ml_collections.ConfigDict) -> _Parts:
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    # Fixed seeds: the parts are the same in every run. Stratifying takes one of each class.
    _check("validation", config.validation, 10, len(labels) - _DIGITS_TEST - 10)
    divide = lambda places, count: model_selection.train_test_split(
        places, test_size=count, stratify=labels[places], random_state=0
    )
    rest, test = divide(np.arange(len(labels)), _DIGITS_TEST)
    train, validation = divide(rest, config.validation)
    everything = Split(images, labels)
    return (
        everything.take(train),
        everything.take(validation),
        everything.take(test),
        tuple(str(name) for name in digits.target_names),
        "",
    )
