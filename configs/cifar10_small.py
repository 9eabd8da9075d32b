"""CIFAR-10 on 2 CPU cores: layers as wide as the paper's, at half the resolution.

python -m train.main --config=configs/cifar10_small.py
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Cascade cells on patches; 45,000 training and 5,000 validation images."""
    config = common.base()
    config.augment.crop = 4
    config.augment.flip = True
    # Patches of 2×2: the straight pass is cheap and sees little, iterating looks around.
    config.model.cell = "cascade"
    config.model.stem = 32
    config.model.windows = (2, 2, 2)
    config.model.strides = (2, 2, 2)
    config.train.batch_size = 128
    config.train.learning_rate = 3e-3
    config.train.epochs.main = 24.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 6.0
    # Where most samples go straight, the weights come to serve that route alone.
    config.train.straight = 0.25
    config.train.everything = 0.2
    config.train.exploring = 0.5
    config.eval_every = 2.0
    return config
