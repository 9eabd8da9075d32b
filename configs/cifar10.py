"""CIFAR-10 at the paper's setting: layers of 64, 128 and 256 channels, 100 epochs.

    python -m train.main --config=configs/cifar10.py

Hardware: meant for a GPU. Result: not run yet.
"""

from ml_collections import ConfigDict

from configs import _base, _variants


def get_config(variant: str = "") -> ConfigDict:
    """The paper's CNN and settings (Sec. 4): 20 epochs of warm-up, 100 epochs in all."""
    config = _base.base()
    config.augment.crop = 4
    config.augment.flip = True
    config.augment.cutout = 8
    # As in cifar10_small, where these settings were measured.
    config.model.cell = "cascade"
    config.train.straight = 0.25
    config.train.everything = 0.2
    config.train.exploring = 0.5
    return _variants.vary(config, variant)
