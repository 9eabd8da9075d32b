"""Data sets as arrays in memory, loaded by the name in the config.

All of them fit into memory, and onto the device, as uint8 (text as uint16): a step gathers its
examples by index. CIFAR-10, CIFAR-100 and IMDB come from TFDS and are read without TensorFlow;
WikiText-2 is read from its files; the digits come with scikit-learn; connectivity, mazes and parity
are made here. Each loader imports what it alone needs.
"""

from collections.abc import Callable

import ml_collections
import numpy as np

from train.data import digits, tfds
from train.data.types import Dataset, Parts, check_count, hold_out
from train.errors import expect_one_of

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
            `train.data`, which for parity's test split are test_least and test_most.

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


def _cifar(config: ml_collections.ConfigDict) -> Parts:
    builder = tfds.prepared_builder(config.name, config.data_dir)
    rest, test = (tfds.read(builder, split) for split in ("train", "test"))
    # TFDS has shuffled the examples, so their end is a random sample.
    train, validation = hold_out(rest, config.validation)
    return train, validation, test, tuple(builder.info.features["label"].names), ""


def _reviews(config: ml_collections.ConfigDict) -> Parts:
    from train.data import imdb

    builder = tfds.prepared_builder(config.name, config.data_dir)
    check_count("validation", config.validation, 1, builder.info.splits["train"].num_examples - 1)
    settings = config.validation, config.length, config.vocabulary
    rest, test = imdb.load(builder, *settings)
    train, validation = hold_out(rest, config.validation)
    return train, validation, test, imdb.CLASSES, ""


def _wikitext(config: ml_collections.ConfigDict) -> Parts:
    from etils import epath
    from tensorflow_datasets.core import constants

    from train.data import wikitext2

    folder = epath.Path(config.data_dir or constants.DATA_DIR).expanduser()
    # Where TFDS has the files that its own data sets cannot download.
    folder = folder / "downloads" / "manual" / "wikitext-2"
    settings = config.validation, config.length, config.vocabulary
    parts, tokens = wikitext2.load(folder, *settings)
    return *parts, tokens, ""


def _made(config: ml_collections.ConfigDict) -> Parts:
    from train.data import generated

    rest, test, classes, difficulty = generated.load(config)
    train, validation = hold_out(rest, config.validation)
    return train, validation, test, classes, difficulty


_LOADERS: dict[str, Callable[[ml_collections.ConfigDict], Parts]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "connectivity": _made,
    "digits": digits.load,
    "imdb_reviews": _reviews,
    "mazes": _made,
    "parity": _made,
    "wikitext2": _wikitext,
}


def _statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, float32, from exact counts of the 256 values."""
    counts = np.stack([np.bincount(x.ravel(), minlength=256) for x in np.moveaxis(images, -1, 0)])
    share = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = share @ values
    variance = share @ values**2 - mean**2
    std = np.sqrt(np.maximum(variance, 1 / 255**2))
    return mean.astype(np.float32), std.astype(np.float32)
