"""Data sets as arrays in memory, and the order in which training and evaluation go through them.

All of them fit into memory, and onto the device, as uint8 (text as uint16): a step gathers its
examples by index. CIFAR-10, CIFAR-100 and IMDB come from TFDS and are read without TensorFlow;
WikiText-2 is read from its files; the digits come with scikit-learn; connectivity, mazes and parity
are made here. Each loader imports what it alone needs.
"""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import importlib.util
from typing import Any

import ml_collections
import numpy as np

from train.errors import UserError, expect_one_of

# Probing for a network may take this long, in seconds; TFDS itself would retry for minutes.
_PROBE_TIMEOUT = 5
# Images of the digits that are kept for testing, whatever the configuration.
_DIGITS_TEST = 500


@dataclasses.dataclass(frozen=True)
class Split:
    """Some examples of a data set.

    Attributes:
        images: [n, height, width, channels] uint8; of text [n, 1, words, 1] uint16, its tokens.
        labels: [n] int32.
        difficulty: [n] int32 where the task knows it, else None; below 0 for an example that has
            none.
    """

    images: np.ndarray
    labels: np.ndarray
    difficulty: np.ndarray | None = None

    def take(self, which: np.ndarray | slice) -> "Split":
        """The examples at these places, an index array or a slice."""
        difficulty = None if self.difficulty is None else self.difficulty[which]
        return Split(self.images[which], self.labels[which], difficulty)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set in its three parts.

    Attributes:
        name: as in the configuration.
        train, validation, test: the parts; no example is in two of them.
        classes: name of each label.
        mean, std: [channels] float32, of the training images as numbers from 0 to 1; std is one
            grey level at least, so that dividing by it is safe. 0 and 1 of text.
        difficulty: what the splits' difficulty is, with its unit; "" where it is not known.
        vocabulary: number of tokens that text is made of; 0 for images.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    difficulty: str
    vocabulary: int = 0


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


def _digits(config: ml_collections.ConfigDict) -> _Parts:
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    # Fixed seeds: the parts are the same in every run. Stratifying takes one of each class.
    _check("validation", config.validation, 10, len(labels) - _DIGITS_TEST - 10)
    divide = lambda places, count: model_selection.train_test_split(
        places, test_size=count, stratify=labels[places], random_state=0
    )
    rest, test = divide(np.arange(len(labels)), _DIGITS_TEST)
    train, validation = divide(rest, config.validation)
    everything = Split(images, labels)
    return (
        everything.take(train),
        everything.take(validation),
        everything.take(test),
        tuple(str(name) for name in digits.target_names),
        "",
    )


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


def _prepared_builder(name: str, data_dir: str) -> Any:
    """The TFDS builder of a data set that is there as ArrayRecord; downloads it if need be."""
    from etils import epath
    import tensorflow_datasets as tfds

    if data_dir and not epath.Path(data_dir).expanduser().is_dir():
        raise UserError(
            f"config.data.data_dir: expected a folder of TFDS data sets, got {data_dir!r}, which "
            "is no folder. Correct it, or create it to have the data downloaded there."
        )
    folder = data_dir or None
    if not tfds.builder(name, data_dir=folder).is_prepared():
        _prepare(tfds.builder(name, data_dir=folder, file_format="array_record"))
    builder = tfds.builder(name, data_dir=folder)
    formats = builder.info.available_file_formats()
    if tfds.core.FileFormat.ARRAY_RECORD not in formats:
        raise UserError(
            f"{name}: expected ArrayRecord files in {builder.data_path}, got "
            f"{', '.join(sorted(f.value for f in formats))}, which cannot be read by index. Have "
            "it prepared again in another folder, with --config.data.data_dir=DIR."
        )
    files = [file for split in builder.info.splits.values() for file in split.filepaths]
    missing = [file for file in files if not file.exists()]
    if missing:
        raise UserError(
            f"{name}: expected {len(files)} files in {builder.data_path}, of which {len(missing)} "
            f"cannot be found, first {missing[0].name}; copy or prepare it again."
        )
    return builder


def _prepare(builder: Any) -> None:
    """Downloads and prepares, or says within seconds why that cannot be."""
    name, root = builder.info.name, builder.data_dir_root
    url = next(iter(builder.url_infos))
    if not _answers(url):
        obstacle = f"{url} does not answer"
    elif importlib.util.find_spec("tensorflow") is None:
        obstacle = "preparing it needs TensorFlow (reading it does not), which is not installed"
    else:
        builder.download_and_prepare()
        return
    raise UserError(
        f"{name}: not found in {root}, and {obstacle}. Where there is a network and TensorFlow, "
        'run: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='DIR', file_format='array_record')"
        '.download_and_prepare()", then pass --config.data.data_dir=DIR.'
    )


def _answers(url: str) -> bool:
    import requests  # what TFDS downloads with, so that proxies and certificates are the same

    try:
        requests.head(url, timeout=_PROBE_TIMEOUT)
    except requests.RequestException:
        return False
    return True


def _read(builder: Any, split: str) -> Split:
    source = builder.as_data_source(split=split)
    # All in one request: half the time of asking one by one.
    examples = source.__getitems__(range(len(source)))
    return Split(
        images=np.stack([example["image"] for example in examples]),
        labels=np.array([example["label"] for example in examples], np.int32),
    )


def batch_indices(
    count: int, batch_size: int, seed: int, first_step: int, steps: int
) -> np.ndarray:
    """Which examples the given training steps see.

    Every epoch goes through the examples in a new random order and drops the last, incomplete
    batch. A pure function of seed and step: a run that is resumed goes on with the same batches.

    Args:
        count: of training examples.
        batch_size: examples a step.
        seed: of the order.
        first_step: counted from 0 over all epochs.
        steps: how many.

    Returns:
        [steps, batch_size] int32.

    Raises:
        UserError: not even one batch can be filled.
    """
    if not 1 <= batch_size <= count:
        raise UserError(f"batch_size: expected 1 to the {count} examples, got {batch_size}.")
    steps_per_epoch = count // batch_size
    indices = np.empty((steps, batch_size), np.int32)
    for row, step in enumerate(range(first_step, first_step + steps)):
        epoch, place = divmod(step, steps_per_epoch)
        indices[row] = _permutation(count, seed, epoch)[place * batch_size :][:batch_size]
    return indices


@functools.lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)
    order.flags.writeable = False  # shared by all who ask
    return order


def evaluation_batches(count: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of one size that cover every example once.

    Args:
        count: of examples.
        batch_size: of every batch; the last one is padded.

    Yields:
        indices: [batch_size] int32, padded with 0.
        mask: [batch_size] bool, False where padded.
    """
    for start in range(0, count, batch_size):
        places = np.arange(start, start + batch_size, dtype=np.int32)
        mask = places < count
        yield np.where(mask, places, np.int32(0)), mask
