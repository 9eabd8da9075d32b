"""CIFAR-10 at a size that 2 CPU cores train in about an hour.

python -m train.main --config=configs/cifar10_small.py
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """A narrow DynaLay on all 50,000 images."""
    config = common.base()
    config.cpu_devices = 2
    config.augment.crop = 4
    config.augment.flip = True
    config.augment.cutout = 8
    # Patches of 2×2: the straight pass is cheap and sees little, iterating looks around.
    config.model.cell = "cascade"
    config.model.stem = 32
    config.model.windows = (2, 2, 2)
    config.model.strides = (2, 2, 2)
    config.train.batch_size = 128
    config.train.epochs.main = 34.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 10.0
    config.train.learning_rate = 2e-3
    config.train.weight_decay = 0.02
    config.eval_every = 2.0
    return config
