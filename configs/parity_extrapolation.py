"""Parity with more non-zero entries than in training: PonderNet's extrapolation.

    python -m train.main --config=configs/parity_extrapolation.py

Measured on 5,000 test examples with seed 10, trained in 4 minutes on half of 2 CPU cores, beside
other work: agent 92.4 % at a cost of 41.23 straight passes, at which random routing has 92.4 % and
a threshold on confidence 92.4 %; straight pass 49.2 %, all layers 92.4 % at a cost of 40.75. More
in benchmarks/results/parity_extrapolation.json.

It fails above some number of entries, see difficulty.png in its workdir.
"""

from ml_collections import ConfigDict

from configs import parity


def get_config(variant: str = "") -> ConfigDict:
    """As parity, with 96 entries: 1 to 48 are not 0 in training, 49 to 96 in the test set."""
    config = parity.get_config(variant)
    config.data.update(length=96, most=48, test_least=49, test_most=96)
    return config
