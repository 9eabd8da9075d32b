"""Parity: is the number of ones in a vector odd? PonderNet's interpolation. Made on the fly.

    python -m train.main --config=configs/parity.py

Measured on 5,000 test examples with seed 10, trained in 2 minutes on half of 2 CPU cores, beside
other work: agent 100.0 % at a cost of 27.55 straight passes, at which random routing has 100.0 %
and a threshold on confidence 100.0 %; straight pass 51.5 %, all layers 100.0 % at a cost of 27.28.
More in benchmarks/results/parity.json.

Almost no example is easy here, and a solve takes the same steps at every difficulty. The cost of
all layers leaves out the agent's own cost.
"""

from ml_collections import ConfigDict

from configs import _base, _variants


def get_config(variant: str = "") -> ConfigDict:
    """A task that needs all entries of a vector, of which a kernel sees only a few."""
    config = _base.base()
    config.data = _base.data("parity", length=64)
    config.model.cell = "scan"
    config.model.widths = (32,)
    config.model.strides = (1,)
    config.model.norm = False
    # A solve takes length + 1 steps. As in connectivity, costs are shares of this budget.
    config.model.max_steps = 300
    config.train.batch_size = 128
    config.train.learning_rate = 1e-2
    config.train.agent_learning_rate = 3e-3
    config.train.weight_decay = 0.0
    config.train.straight = 0.25
    config.train.everything = 0.1
    config.train.epochs.main = 3.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 1.0
    return _variants.vary(config, variant)
