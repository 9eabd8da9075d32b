"""As scales, the main model and the agent warmed up twice as long.

    python -m train.main --config=configs/scales_long.py

Hardware: 2 cores, of which a run has one. Time: 22 minutes. Result (3 seeds that nothing was chosen
by, 10,000 test grids): agent 94.1 ± 1.3 % at a cost of 4.8, at which random routing has 87.0 %, a
threshold on confidence 93.4 % and two thresholds 93.6 %; straight pass 84.1 %, all layers 96.4 % at
a cost of 32. With two of the seeds layer 2 learns to fill fine grids, too: the agent then sends all
it iterates there, at a cost of 1.8, and a threshold does as well. See
benchmarks/results/small/scales_long.json.
"""

from ml_collections import ConfigDict

from configs import baselines, scales


def get_config(baseline: str = "") -> ConfigDict:
    """Longer, some seeds' layer 2 learns to fill fine grids, too."""
    config = scales.get_config()
    config.train.epochs.update(main=30.0, agent=2.0)
    config.eval_every = 2.0
    return baselines.vary(config, baseline)
