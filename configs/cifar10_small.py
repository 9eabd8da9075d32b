"""CIFAR-10 at a size that 2 CPU cores train in about an hour.

python -m train.main --config=configs/cifar10_small.py
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """A narrow DynaLay on all 50,000 images."""
    config = common.base()
    config.augment.crop = 4
    config.augment.flip = True
    config.model.stem = 16
    config.model.widths = (32, 64, 128)
    config.model.strides = (2, 2, 2)
    config.model.max_steps = 10
    config.train.batch_size = 128
    config.train.epochs.main = 12.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 8.0
    config.train.learning_rate = 2e-3
    return config
