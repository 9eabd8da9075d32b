"""WikiText-2 with LSTM layers, a decision for every word [paper, Fig. 7].

    python -m train.main --config=configs/wikitext2.py

Hardware: 2 cores, of which a run has one. Time: 14 minutes, and up to 40 of evaluation
beside other work. Result (1 seed, 245,569 words of test text): 22.4 % of the words and a perplexity
of 146 on every route, straight, with any layer iterated, and with all of them; so the agent
iterates nothing. Words beyond the vocabulary, 12 % of the test text, count as one, so that the
perplexity is not that of larger vocabularies. See benchmarks/results/small/wikitext2.json.
"""

from ml_collections import ConfigDict

from configs import baselines, imdb


def get_config(baseline: str = "") -> ConfigDict:
    """Which word comes next? 2,088,628 words to train on, 20,000 to choose by, 245,569 to test."""
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
    # What comes next is asked after the last word.
    config.model.last = True
    config.train.learning_rate = 1e-2
    config.train.epochs.main = 0.4
    config.train.epochs.agent = 0.05
    config.train.epochs.joint = 0.15
    config.prices = (0.01, 0.1, 1.0)
    config.eval_every = 0.1
    return baselines.vary(config, baseline)
