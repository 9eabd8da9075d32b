"""Scikit-learn's 1,797 handwritten digits, 8×8 pixels with 17 levels of grey."""

import ml_collections
import numpy as np

from train.data.types import Parts, Split, check_count

# Images of the digits that are kept for testing, whatever the configuration.
_TEST = 500


def load(config: ml_collections.ConfigDict) -> Parts:
    """Stratified parts; the test examples are the same whatever the config."""
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    # Fixed seeds: the parts are the same in every run. Stratifying takes one of each class.
    check_count("validation", config.validation, 10, len(labels) - _TEST - 10)
    divide = lambda places, count: model_selection.train_test_split(
        places, test_size=count, stratify=labels[places], random_state=0
    )
    rest, test = divide(np.arange(len(labels)), _TEST)
    train, validation = divide(rest, config.validation)
    everything = Split(images, labels)
    return (
        everything.take(train),
        everything.take(validation),
        everything.take(test),
        tuple(str(name) for name in digits.target_names),
        "",
    )
