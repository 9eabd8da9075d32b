"""Digits: scikit-learn's 1,797 real handwritten digits, 8×8; needs no download.

python -m train.main --config=configs/digits.py
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """The README's first command."""
    config = common.base()
    config.data.name = "digits"
    config.data.validation = 200
    config.augment.crop = 1
    config.model.widths = (16, 24, 32)
    config.model.strides = (1, 2, 1)
    config.train.batch_size = 64
    config.train.epochs.main = 40.0
    config.train.epochs.agent = 10.0
    config.train.epochs.joint = 40.0
    config.train.learning_rate = 3e-3
    config.train.steps_per_call = 17
    config.eval_every = 10.0
    return config
