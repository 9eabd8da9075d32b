"""WikiText-2 as windows of words: what comes before each word, known from the training text."""

import json

from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import wikitext2
from train import loop
from train.data import loading
from train.errors import UserError

pytestmark = pytest.mark.usefixtures("flax_promotion")

TEXTS = {"train": "a b a <unk>\na b c\n", "valid": "b a\n", "test": "c d\na\n"}
TOKENS = ("", "<unk>", "a", "b", "<eos>", "c")


@pytest.fixture
def folder(tmp_path):
    """Where TFDS' data are, with a tiny WikiText-2 copied by hand."""
    copied = tmp_path / "downloads" / "manual" / "wikitext-2"
    copied.mkdir(parents=True)
    for part, text in TEXTS.items():
        (copied / f"wiki.{part}.tokens").write_text(text)
    return tmp_path


def settings(folder, **changes):
    fixed = {"name": "wikitext2", "data_dir": str(folder), "validation": 2, "length": 3}
    return ConfigDict(fixed | {"vocabulary": len(TOKENS)} | changes)


def test_every_word_is_an_example_after_those_before_it(folder):
    dataset = loading.load(settings(folder))
    assert (dataset.classes, dataset.vocabulary) == (TOKENS, len(TOKENS))
    assert dataset.train.labels.tolist() == [2, 3, 2, 1, 4, 2, 3, 5, 4]
    windows = dataset.train.images
    assert windows.shape == (9, 1, 3, 1) and windows.dtype == np.uint16
    assert windows[[0, 1, 4], 0, :, 0].tolist() == [[0, 0, 0], [0, 0, 2], [3, 2, 1]]
    # d is no word of the training text; a line's end is a word, and the text goes on after it.
    assert dataset.test.labels.tolist() == [5, 1, 4, 2, 4]
    assert dataset.test.images[-1, 0, :, 0].tolist() == [1, 4, 2]
    assert dataset.validation.labels.tolist() == [3, 2], "as many as asked for, from the beginning"


def test_a_smaller_vocabulary_has_the_most_frequent_words(folder):
    dataset = loading.load(settings(folder, vocabulary=4))
    assert dataset.classes == TOKENS[:4]
    assert dataset.train.labels.tolist() == [2, 3, 2, 1, 1, 2, 3, 1, 1]


def test_missing_files_are_named(folder, monkeypatch):
    import tensorflow_datasets as tfds

    manual = folder / "downloads" / "manual" / "wikitext-2"
    (manual / "wiki.valid.tokens").unlink()
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(folder))
    with pytest.raises(UserError, match=r"wikitext2: wiki\.valid\.tokens not found in") as caught:
        loading.load(settings(""))
    assert str(manual) in str(caught.value) and "--config.data.data_dir=DIR" in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b""])
def test_damaged_files(folder, content):
    (folder / "downloads/manual/wikitext-2/wiki.test.tokens").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*wiki.test.tokens: .*Copy the file again"):
        loading.load(settings(folder))


@pytest.mark.slow
def test_a_language_model_trains(folder, tmp_path):
    config = wikitext2.get_config()
    config.data.update(data_dir=str(folder), validation=3, length=3, vocabulary=len(TOKENS))
    config.model.update(stem=4, widths=(4,), strides=(1,), windows=(1,), compact=0)
    config.train.update(batch_size=4, steps_per_call=1)
    config.train.epochs.update(main=1.0, agent=0.0, joint=1.0)
    config.update(prices=(0.1,), eval_batch=4)
    summary = loop.train_and_evaluate(config, tmp_path / "run")
    assert summary["test_examples"] == 5
    assert len(summary["layer_losses"]) == 1 and summary["straight_loss"] > 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["last"]
