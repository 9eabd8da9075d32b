"""Parity of vectors with more entries that are not 0 than any in training: PonderNet's second task.

    python -m train.main --config=configs/parity_extrapolation.py

Hardware: 2 cores, of which a run has one. Time: 5 minutes. Result (1 seed, 5,000 test vectors): all
layers and agent 94.0 % at a cost of 41 straight passes, straight pass 49.8 %: 99 to 100 % up to 68
entries that are not 0, 58 % at 96. See benchmarks/results/small/parity_extrapolation.json.
"""

from ml_collections import ConfigDict

from configs import parity


def get_config(baseline: str = "") -> ConfigDict:
    """As parity, with vectors of 96: 1 to 48 entries in training, 49 to 96 in testing."""
    config = parity.get_config(baseline)
    config.data.update(length=96, most=48, test_least=49, test_most=96)
    return config
