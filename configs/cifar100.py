"""CIFAR-100 (fine labels) at the paper's setting.

    python -m train.main --config=configs/cifar100.py

Hardware: meant for a GPU. Result: not run yet.
"""

from ml_collections import ConfigDict

from configs import _base, _variants, cifar10


def get_config(variant: str = "") -> ConfigDict:
    """As CIFAR-10, with other data."""
    config = cifar10.get_config()
    config.data = _base.data("cifar100")
    return _variants.vary(config, variant)
