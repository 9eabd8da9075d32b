"""Mazes: is the path between two cells of a maze whole, or broken? Made on the fly.

    python -m train.main --config=configs/mazes.py

Hardware: 2 cores, of which a run has one. Time: 18 minutes. Result (1 seed, 5,000 test mazes): not
learnt well yet. All layers 68.1 % at a cost of 10.5 straight passes, straight pass 59.3 %, and the
agent iterates nothing. See benchmarks/results/small/mazes.json. --mode=eval --config.data.side=10
evaluates on larger mazes.
"""

from ml_collections import ConfigDict

from configs import baselines, connectivity


def get_config(baseline: str = "") -> ConfigDict:
    """As connectivity, with other data: the difficulty is the length of the path."""
    config = connectivity.get_config()
    config.data = dict(
        name="mazes",
        side=7,  # in cells: 13 pixels
        train=60_000,
        validation=2_000,
        test=5_000,
        seed=0,
    )
    return baselines.vary(config, baseline)
