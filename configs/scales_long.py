"""As scales, the main model and the agent warmed up twice as long.

python -m train.main --config=configs/scales_long.py
"""

from ml_collections import ConfigDict

from configs import baselines, scales


def get_config(baseline: str = "") -> ConfigDict:
    """Longer, some seeds' layer 2 learns to fill fine grids, too."""
    config = scales.get_config()
    config.train.epochs.update(main=30.0, agent=2.0)
    config.eval_every = 2.0
    return baselines.vary(config, baseline)
