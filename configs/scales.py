"""Connectivity at two scales: half of the grids are coarse, with cells of 2×2 pixels.

    python -m train.main --config=configs/scales.py

Layer 2 has half the resolution and fills a coarse grid in fewer steps; a fine grid needs layer 1. A
step costs the same on both layers, so it matters which one is iterated.

Measured on 10,000 test examples with seeds 41, 42, 43, trained in 22 minutes on half of 2 CPU
cores, beside other work: agent 97.3 ± 0.0 % at a cost of 8.84 straight passes, at which random
routing has 92.4 ± 0.3 % and a threshold on confidence 96.8 ± 0.3 %; straight pass 85.3 ± 0.3 %, all
layers 97.8 ± 0.2 % at a cost of 24.73. More in benchmarks/results/scales.json.
"""

from ml_collections import ConfigDict

from configs import _variants, connectivity


def get_config(variant: str = "") -> ConfigDict:
    """As connectivity, with layers that are good at different grids."""
    config = connectivity.get_config()
    config.data.update(blocks=(1, 2), validation=4_000, test=10_000)
    # Half the resolution with twice the channels: a step costs the same.
    config.model.widths = (24, 48)
    config.model.strides = (1, 2)
    # Few samples of a batch gain from layer 1. With a quarter of each batch, some agents never find
    # this layer.
    config.objective.fraction = 1.0
    config.train.epochs.main = 14.0
    return _variants.vary(config, variant)
