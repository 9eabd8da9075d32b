"""Digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels. No download.

    python -m train.main --config=configs/digits.py

Measured on 500 test examples with seeds 10, 11, 12, trained in 1 minute on half of 2 CPU cores,
beside other work: agent 97.8 ± 0.4 % at a cost of 0.37 straight passes, at which random routing has
96.0 ± 0.5 % and a threshold on confidence 97.4 ± 0.2 %; straight pass 95.3 ± 0.7 %, all layers
97.3 ± 0.6 % at a cost of 2.94. More in benchmarks/results/digits.json.
"""

from ml_collections import ConfigDict

from configs import _base, _variants


def get_config(variant: str = "") -> ConfigDict:
    """The README's first command."""
    config = _base.base()
    config.data = _base.data("digits")
    # Cutout keeps the model from memorising the training examples: where every route is right, the
    # agent has nothing to learn.
    config.augment.crop = 1
    config.augment.cutout = 2
    # The straight pass sees patches of 4×4.
    config.model.cell = "cascade"
    config.model.widths = (32, 32, 32)
    config.model.strides = (2, 1, 1)
    config.model.windows = (2, 2, 1)
    # Solves take one step. Costs are shares of this budget, so it sets the cost of a step.
    config.model.max_steps = 100
    config.model.agent_hidden = 32
    config.objective.fraction = 1.0
    config.price = 0.03
    config.train.batch_size = 64
    # As in the paper, most epochs are joint, on the agent's routes.
    config.train.epochs.main = 40.0
    config.train.epochs.agent = 10.0
    config.train.epochs.joint = 170.0
    config.train.learning_rate = 3e-3
    config.train.agent_learning_rate = 3e-3
    config.train.steps_per_call = 17
    config.train.straight = 0.3
    config.train.everything = 0.15
    config.train.exploring = 0.5
    config.eval_every = 50.0
    return _variants.vary(config, variant)
