"""IMDB's film reviews with LSTM layers [paper, Fig. 7]; through TFDS.

    python -m train.main --config=configs/imdb.py

Hardware: 2 cores, of which a run has one. Time: 20 to 35 minutes. Result (1 seed, 25,000 test
reviews): 85.4 to 85.5 % on every route, straight, with any layer iterated, and with all of them;
so the agent iterates nothing. See benchmarks/results/small/imdb.json.
"""

from ml_collections import ConfigDict

from configs import baselines, common


def get_config(baseline: str = "") -> ConfigDict:
    """Is the review positive? 20,000 training, 5,000 validation and 25,000 test reviews."""
    config = common.base()
    config.data = dict(
        name="imdb_reviews",
        data_dir="",
        length=128,
        vocabulary=8_000,
        validation=5_000,
        seed=0,
    )
    # Runs of words that are left out keep the reviews from being learnt by heart.
    config.augment.cutout = 32
    config.model.cell = "lstm"
    config.model.stem = 32
    config.model.widths = (32, 32, 32)
    config.model.strides = (1, 1, 1)
    config.model.windows = (1, 1, 1)
    config.model.norm = False
    config.train.batch_size = 128
    config.train.learning_rate = 3e-3
    config.train.agent_learning_rate = 3e-3
    config.train.epochs.main = 4.0
    config.train.epochs.agent = 1.0
    config.train.epochs.joint = 2.0
    return baselines.vary(config, baseline)
