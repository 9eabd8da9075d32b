"""Reviews as tokens: the last words, known from the training examples alone."""

import json

from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import imdb
from train import loop
from train.data import loading, tfds

TRAIN = (("A good<br />good film", 1), ("bad film", 0), ("good, good, bad!", 1), ("rare words", 0))
TEST = (("Film? Unseen: rare bad good", 1), ("", 0))


@pytest.fixture
def prepared(monkeypatch):
    """TFDS has the reviews."""
    splits = [
        [{"text": text.encode(), "label": label} for text, label in part] for part in (TRAIN, TEST)
    ]
    monkeypatch.setattr(tfds, "prepared_builder", lambda name, folder: splits)
    monkeypatch.setattr(tfds, "examples", lambda builder: builder)
    return splits


def test_the_last_words_by_frequency(prepared):
    settings = {"name": "imdb_reviews", "data_dir": "", "validation": 1}
    found = loading.load(ConfigDict({**settings, "length": 4, "vocabulary": 5}))
    assert found.vocabulary == 5 and found.classes == ("negative", "positive")
    # Of the first three reviews: good 4, bad 2, film 2, in alphabetical order after 0 and 1.
    bad, film, good = 2, 3, 4
    assert found.train.images[:, 0, :, 0].tolist() == [
        [0, good, good, film],
        [0, 0, bad, film],
        [0, good, good, bad],
    ]
    # What is held out adds no words.
    assert found.validation.images[:, 0, :, 0].tolist() == [[0, 0, 1, 1]]
    assert found.test.images[:, 0, :, 0].tolist() == [[1, 1, bad, good], [0, 0, 0, 0]]
    assert found.train.labels.tolist() == [1, 0, 1] and found.test.labels.dtype == np.int32
    assert found.train.images.shape == (3, 1, 4, 1) and found.train.images.dtype == np.uint16


@pytest.mark.slow
@pytest.mark.usefixtures("flax_promotion")
def test_lstms_train_on_them(prepared, tmp_path):
    prepared[0] *= 2
    config = imdb.get_config()
    config.data.update(validation=4, length=4, vocabulary=5)
    config.augment.cutout = 2
    config.model.update(stem=4, widths=(4,), strides=(1,), windows=(1,), compact=0)
    config.train.update(batch_size=4, steps_per_call=1)
    config.train.epochs.update(main=1.0, agent=0.0, joint=1.0)
    config.update(prices=(0.1,), eval_batch=4)
    summary = loop.train_and_evaluate(config, tmp_path)
    assert summary["test_examples"] == 2
    assert json.loads((tmp_path / "data.json").read_text()) == {"mean": [0.0], "std": [1.0]}
    assert not (tmp_path / "gallery.json").exists()
