"""Data sets as arrays in memory, and the order in which training and evaluation go through them.

All of them fit into memory, and onto the device, as uint8 (text as uint16): a step gathers its
examples by index. CIFAR-10, CIFAR-100 and IMDB come from TFDS and are read without TensorFlow;
WikiText-2 is read from its files; the digits come with scikit-learn; connectivity, mazes and parity
are made here. Each loader imports what it alone needs.
"""

from collections.abc import Callable

import ml_collections
import numpy as np

from train.data.digits import _digits
from train.data.tfds import _prepared_builder, _read
from train.data.types import Dataset, Split
from train.errors import UserError, expect_one_of

# What a loader returns: train, validation, test, classes, difficulty.
_Parts = tuple[Split, Split, Split, tuple[str, ...], str]

# Fields that make the test split of a task: they may be others when a run is evaluated.
TEST_FIELDS = (
    "test",
    "grid",
    "blocks",
    "open_fraction",
    "side",
    "length",
    "test_least",
    "test_most",
)


def load(config: ml_collections.ConfigDict) -> Dataset:
    """Loads a data set.

    Args:
        config: name; validation, how many training examples are held out, from their end where
            their order is random already, stratified for the digits; for CIFAR and texts data_dir,
            where TFDS keeps its data ("": TFDS' default), and for texts length and vocabulary; for
            the tasks made here train (with validation), test, seed, and the arguments of `make` in
            `train.datasets`, which for parity's test split are test_least and test_most.

    Returns:
        The data set. The test examples of digits and CIFAR depend on no setting.

    Raises:
        UserError: unknown name, impossible counts, or data that are neither there nor to be had.
    """
    expect_one_of("config.data.name", _LOADERS, config.name)
    train, validation, test, classes, difficulty = _LOADERS[config.name](config)
    vocabulary = config.get("vocabulary", 0)
    mean, std = (np.zeros(1, "f4"), np.ones(1, "f4")) if vocabulary else _statistics(train.images)
    parts = train, validation, test
    return Dataset(config.name, *parts, classes, mean, std, difficulty, vocabulary)


def _cifar(config: ml_collections.ConfigDict) -> _Parts:
    builder = _prepared_builder(config.name, config.data_dir)
    rest, test = (_read(builder, split) for split in ("train", "test"))
    # TFDS has shuffled the examples, so their end is a random sample.
    train, validation = _hold_out(rest, config.validation)
    return train, validation, test, tuple(builder.info.features["label"].names), ""


def _reviews(config: ml_collections.ConfigDict) -> _Parts:
    from train.data import imdb as reviews

    builder = _prepared_builder(config.name, config.data_dir)
    _check("validation", config.validation, 1, builder.info.splits["train"].num_examples - 1)
    settings = config.validation, config.length, config.vocabulary
    rest, test = reviews.load(builder, *settings)
    train, validation = _hold_out(rest, config.validation)
    return train, validation, test, reviews.CLASSES, ""


def _wikitext(config: ml_collections.ConfigDict) -> _Parts:
    from etils import epath
    import tensorflow_datasets as tfds

    from train.data import wikitext2 as wikitext

    folder = epath.Path(config.data_dir or tfds.core.constants.DATA_DIR).expanduser()
    # Where TFDS has the files that its own data sets cannot download.
    folder = folder / "downloads" / "manual" / "wikitext-2"
    settings = config.validation, config.length, config.vocabulary
    parts, tokens = wikitext.load(folder, *settings)
    return *parts, tokens, ""


def _made(config: ml_collections.ConfigDict) -> _Parts:
    from train.data import generated as made

    rest, test, classes, difficulty = made.load(config)
    train, validation = _hold_out(rest, config.validation)
    return train, validation, test, classes, difficulty


_LOADERS: dict[str, Callable[[ml_collections.ConfigDict], _Parts]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "connectivity": _made,
    "digits": _digits,
    "imdb_reviews": _reviews,
    "mazes": _made,
    "parity": _made,
    "wikitext2": _wikitext,
}


def _hold_out(split: Split, count: int) -> tuple[Split, Split]:
    total = len(split.labels)
    _check("validation", count, 0, total - 1)
    return split.take(slice(total - count)), split.take(slice(total - count, None))


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UserError(f"config.data.{name}: expected {least} to {most} examples, got {value}.")


def _statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, float32, from exact counts of the 256 values."""
    counts = np.stack([np.bincount(x.ravel(), minlength=256) for x in np.moveaxis(images, -1, 0)])
    share = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = share @ values
    variance = share @ values**2 - mean**2
    std = np.sqrt(np.maximum(variance, 1 / 255**2))
    return mean.astype(np.float32), std.astype(np.float32)
