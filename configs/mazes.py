"""Mazes: is the path between two cells of a maze whole, or broken? Made on the fly.

    python -m train.main --config=configs/mazes.py

Hardware: 2 cores. Not run yet. --mode=eval --config.data.side=10 evaluates on larger mazes.
"""

from ml_collections import ConfigDict

from configs import baselines, common


def get_config(baseline: str = "") -> ConfigDict:
    """A task whose difficulty is known: the length of the path."""
    config = common.base()
    config.data = dict(
        name="mazes",
        side=7,  # in cells: 13 pixels
        train=60_000,
        validation=2_000,
        test=5_000,
        seed=0,
    )
    config.augment.symmetries = True
    config.price = 0.01
    config.model.widths = (24, 24)
    config.model.strides = (1, 1)
    config.model.norm = False
    # As for connectivity, four times what solves take.
    config.model.max_steps = 150
    config.train.batch_size = 128
    config.train.learning_rate = 1e-2
    config.train.weight_decay = 0.0
    config.train.straight = 0.25
    config.train.everything = 0.1
    config.train.epochs.main = 14.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 2.0
    return baselines.vary(config, baseline)
