"""Mazes: is the path between two cells of a maze whole, or broken? Made on the fly.

    python -m train.main --config=configs/mazes.py

Hardware: 2 cores, of which a run has one. Time: 12 minutes. See
benchmarks/results/small/mazes.json.
"""

from ml_collections import ConfigDict

from configs import baselines, connectivity


def get_config(baseline: str = "") -> ConfigDict:
    """As connectivity, with other data: the difficulty is the length of the path."""
    config = connectivity.get_config()
    config.data = dict(
        name="mazes",
        side=5,  # in cells: 9 pixels
        train=60_000,
        validation=2_000,
        test=5_000,
        seed=0,
    )
    # In a corridor one pixel wide only 3 of a kernel's 9 taps are open.
    config.model.gain = 4.0
    # Whole batches teach the agent, as in scales: taught by a quarter of each, it gave up iterating
    # as soon as the layers were trained on its routes.
    config.objective.fraction = 1.0
    return baselines.vary(config, baseline)
