"""Connectivity: does a path connect two cells of a random grid? Made on the fly.

    python -m train.main --config=configs/connectivity.py

Measured on 5,000 test examples with seed 30, trained in 22 minutes on half of 2 CPU cores, beside
other work: agent 96.7 % at a cost of 7.71 straight passes, at which random routing has 91.7 % and a
threshold on confidence 96.6 %; straight pass 83.8 %, all layers 97.3 % at a cost of 19.22. More in
benchmarks/results/connectivity.json.

The steps of a solve grow with the length of the path, see difficulty.png in its workdir.
"""

from ml_collections import ConfigDict

from configs import _base, _variants


def get_config(variant: str = "") -> ConfigDict:
    """A task whose difficulty is known: the length of the shortest path."""
    config = _base.base()
    config.data = _base.data("connectivity", grid=12, open_fraction=0.6)
    config.augment.symmetries = True
    config.price = 0.1
    config.model.widths = (24, 24)
    config.model.strides = (1, 1)
    # The agent sees the result of the first layer and may then iterate the other layer as well.
    config.model.rounds = 2
    config.model.norm = False
    # With small offsets, cells that no signal has reached stay silent. Gates that close completely
    # keep signals from leaking through walls and growing behind them.
    config.model.offset = 0.3
    config.model.hard_gates = True
    # Four times the steps of a solve. Costs are shares of this budget: where they are small, the
    # agent iterates for gains of a few per cent.
    config.model.max_steps = 150
    config.train.batch_size = 128
    config.train.learning_rate = 1e-2
    config.train.agent_learning_rate = 3e-3
    config.train.weight_decay = 0.0
    config.train.straight = 0.25
    config.train.everything = 0.1
    config.train.epochs.main = 14.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 2.0
    return _variants.vary(config, variant)
