"""Images of your own: a folder with a subfolder for each class, or an .npz file.

    python -m train.main --config=configs/images.py --config.data.path=FOLDER

Hardware: a few thousand images of 32×32 take minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import _base, _variants, cifar10


def get_config(variant: str = "") -> ConfigDict:
    """The network of cifar10, with smaller batches."""
    config = cifar10.get_config()
    config.data = _base.data("images")
    config.train.update(batch_size=64, learning_rate=0.1, bias_rate=8.0)
    return _variants.vary(config, variant)
