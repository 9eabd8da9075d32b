"""WikiText-2 with LSTM layers, a decision for every word [paper, Fig. 7].

    python -m train.main --config=configs/wikitext2.py

Hardware: 2 cores, of which a run has one.
"""

from ml_collections import ConfigDict

from configs import baselines, imdb


def get_config(baseline: str = "") -> ConfigDict:
    """Which word comes next? 2,088,628 words of training text, 245,569 of test text."""
    config = imdb.get_config()
    config.data = dict(
        name="wikitext2",
        data_dir="",
        length=16,
        vocabulary=10_000,
        validation=20_000,
        seed=0,
    )
    config.augment.cutout = 0
    config.model.last = True
    config.train.learning_rate = 1e-2
    config.train.epochs.main = 0.4
    config.train.epochs.agent = 0.05
    config.train.epochs.joint = 0.15
    config.prices = (0.01, 0.1, 1.0)
    config.eval_every = 0.1
    return baselines.vary(config, baseline)
