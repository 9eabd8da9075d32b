"""CIFAR-10 on 2 CPU cores: the paper's widths at half the resolution.

    python -m train.main --config=configs/cifar10_small.py

Measured on 10,000 test examples with seeds 10, 11, 12, trained in 61 minutes on half of 2 CPU
cores, beside other work: agent 78.7 ± 0.1 % at a cost of 0.62 straight passes, at which random
routing has 75.2 ± 0.3 % and a threshold on confidence 77.8 ± 0.5 %; straight pass 72.3 ± 0.1 %, all
layers 79.2 ± 0.4 % at a cost of 2.06. More in benchmarks/results/cifar10_small.json.
"""

from ml_collections import ConfigDict

from configs import _base, _variants


def get_config(variant: str = "") -> ConfigDict:
    """Cascade cells on patches; 45,000 training and 5,000 validation images."""
    config = _base.base()
    config.augment.crop = 4
    config.augment.flip = True
    # Patches of 2×2: the straight pass is cheap and sees little; iterating sees the surroundings.
    config.model.cell = "cascade"
    config.model.stem = 32
    config.model.windows = (2, 2, 2)
    config.model.strides = (2, 2, 2)
    config.model.rounds = 2
    # Iterating gains a few per cent, which noise may hide: some of the entropy bonus stays.
    config.exploration.entropy = (0.01, 0.001)
    config.train.batch_size = 128
    config.train.learning_rate = 3e-3
    # With 3e-3, a policy stopped iterating within 40 steps for good.
    config.train.agent_learning_rate = 1e-3
    config.train.epochs.main = 16.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 4.0
    # If most samples took the straight pass, the weights would fit that route alone.
    config.train.straight = 0.25
    config.train.everything = 0.2
    config.train.exploring = 0.5
    config.eval_every = 2.0
    return _variants.vary(config, variant)
