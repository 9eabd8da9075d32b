"""Mazes: is the path between two cells of a maze whole? Made on the fly.

    python -m train.main --config=configs/mazes.py

Measured on 5,000 test examples with seeds 30, 31, 32, trained in 33 minutes on half of 2 CPU cores,
beside other work: agent 98.0 ± 1.5 % at a cost of 25.39 straight passes, at which random routing
has 80.4 ± 1.2 % and a threshold on confidence 98.1 ± 1.5 %; straight pass 68.5 ± 0.8 %, all layers
98.5 ± 1.4 % at a cost of 53.07. More in benchmarks/results/mazes.json.

`python -m train.studies.extrapolate WORKDIR side=7,10` evaluates the run on larger mazes.
"""

from ml_collections import ConfigDict

from configs import _base, _variants, connectivity


def get_config(variant: str = "") -> ConfigDict:
    """As connectivity, with other data. The difficulty is the length of the path."""
    config = connectivity.get_config()
    config.data = _base.data("mazes", side=5)
    # At 1e-3 (`loose`) solves stop while a signal still moves along a corridor: neither value nor
    # gradient is that of the fixed point. Such runs are less accurate on average, above all on
    # larger mazes, and differ more between seeds.
    config.model.tol = 1e-4
    # In a corridor of one pixel, only 3 of a kernel's 9 taps see open cells. Activity that spreads
    # within each channel from the start learns to follow a path. Without it, or at a higher rate,
    # the main model learns local cues only.
    config.model.gain = 4.0
    config.model.own = 0.9
    config.model.offset = 0.1
    config.train.learning_rate = 3e-3
    config.train.epochs.main = 12.0
    # The agent learns from whole batches. With a quarter of each, it stopped iterating as soon as
    # the layers were trained on its routes.
    config.objective.fraction = 1.0
    return _variants.vary(config, variant)
