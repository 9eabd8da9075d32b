"""Reviews as tokens: the last words, known from the training examples alone."""

import json
from types import SimpleNamespace

from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import imdb
from train import loop
from train.data import imdb as reviews
from train.data import loading as data
from train.data import tfds

pytestmark = pytest.mark.usefixtures("flax_promotion")

TRAIN = (("A good<br />good film", 1), ("bad film", 0), ("good, good, bad!", 1), ("rare words", 0))
TEST = (("Film? Unseen: rare bad good", 1), ("", 0))


class Builder:
    """As much of a TFDS builder as is asked, with every review so many times."""

    def __init__(self, times=1):
        self.times = times
        splits = {"train": SimpleNamespace(num_examples=times * len(TRAIN))}
        self.info = SimpleNamespace(splits=splits)

    def as_data_source(self, split):
        class Source(list):
            def __getitems__(self, which):
                return [self[i] for i in which]

        examples = self.times * {"train": TRAIN, "test": TEST}[split]
        return Source({"text": text.encode(), "label": label} for text, label in examples)


def test_the_last_words_by_frequency():
    train, test = reviews.read(Builder(), validation=1, length=4, vocabulary=5)
    # Of the first three reviews: good 4, bad 2, film 2, in alphabetical order after 0 and 1.
    bad, film, good = 2, 3, 4
    assert train.images[:3, 0, :, 0].tolist() == [
        [0, good, good, film],
        [0, 0, bad, film],
        [0, good, good, bad],
    ]
    # What is held out adds no words.
    assert train.images[3, 0, :, 0].tolist() == [0, 0, 1, 1]
    assert test.images[:, 0, :, 0].tolist() == [[1, 1, bad, good], [0, 0, 0, 0]]
    assert train.labels.tolist() == [1, 0, 1, 0] and test.labels.dtype == np.int32
    assert train.images.shape == (4, 1, 4, 1) and train.images.dtype == np.uint16


def test_as_a_data_set(monkeypatch):
    monkeypatch.setattr(tfds, "prepared_builder", lambda name, folder: Builder())
    settings = {"name": "imdb_reviews", "data_dir": "", "validation": 1}
    found = data.load(ConfigDict({**settings, "length": 4, "vocabulary": 5}))
    assert found.vocabulary == 5 and found.classes == ("negative", "positive")
    assert [len(part.labels) for part in (found.train, found.validation, found.test)] == [3, 1, 2]


@pytest.mark.slow
def test_lstms_train_on_them(monkeypatch, tmp_path):
    monkeypatch.setattr(tfds, "prepared_builder", lambda name, folder: Builder(times=2))
    config = imdb.get_config()
    config.data.update(validation=4, length=4, vocabulary=5)
    config.augment.cutout = 2
    config.model.update(stem=4, widths=(4,), strides=(1,), windows=(1,), compact=0)
    config.train.update(batch_size=4, steps_per_call=1)
    config.train.epochs.update(main=1.0, agent=0.0, joint=1.0)
    config.update(prices=(0.1,), eval_batch=4)
    summary = loop.train_and_evaluate(config, tmp_path)
    assert summary["test_examples"] == 4
    assert json.loads((tmp_path / "data.json").read_text()) == {"mean": [0.0], "std": [1.0]}
    assert not (tmp_path / "gallery.json").exists()
