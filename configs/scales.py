"""Connectivity at two scales: half of the grids are coarse, with cells of 2×2 pixels.

    python -m train.main --config=configs/scales.py

A coarse grid is filled on layer 2, of half the resolution and fewer channels, for a small part of
what layer 1 takes; a fine one needs layer 1. So it matters which layer is iterated.

Hardware: 2 cores. Time: 14 minutes, with another run beside it. Result (3 seeds that nothing was
chosen by, 10,000 test grids): agent 94.6 ± 0.6 % at a cost of 13.5 straight passes, at which random
routing has 89.7 ± 0.3 %, a threshold on confidence 92.7 ± 1.0 % and two thresholds 93.9 ± 0.2 %;
straight pass 82.5 ± 0.3 %, all layers 95.8 ± 0.4 % at a cost of 37.4. See
benchmarks/results/small/scales.json.
"""

from ml_collections import ConfigDict

from configs import baselines, connectivity


def get_config(baseline: str = "") -> ConfigDict:
    """As connectivity, with layers that differ in what they are good at."""
    config = connectivity.get_config()
    config.data = dict(
        name="connectivity",
        grid=12,
        blocks=(1, 2),
        open_fraction=0.6,
        train=60_000,
        validation=4_000,
        test=10_000,
        seed=0,
    )
    config.model.widths = (24, 16)
    config.model.strides = (1, 2)
    # Few samples a step gain from the dear layer: from a quarter of each batch, some agents never
    # find it.
    config.objective.fraction = 1.0
    config.train.epochs.main = 14.0
    return baselines.vary(config, baseline)
