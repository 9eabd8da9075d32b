"""Loads the data set that a config names, as arrays in memory.

Every data set fits into memory and onto the device as uint8 (text as uint16): a step gathers its
examples by index. A new data set needs a module with `load(config) -> Parts`, a line in `_MODULES`,
and a class of its fields in `configs._datasets`.
"""

import importlib
from typing import Any

import ml_collections
import numpy as np

from configs._datasets import DATA, Given
from train.data.types import Dataset, Parts
from train.errors import UserError

# Fields that make the test split of a task. They may differ when a run is evaluated.
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
# Module of each data set. Only the one that is loaded is imported, with the libraries it needs.
_MODULES = {
    "cifar10": "tfds",
    "cifar100": "tfds",
    "connectivity": "connectivity",
    "digits": "digits",
    "images": "images",
    "imdb_reviews": "imdb",
    "mazes": "mazes",
    "parity": "parity",
    "wikitext2": "wikitext2",
}


def load(config: ml_collections.ConfigDict) -> Dataset:
    """The data set.

    Args:
        config: `config.data` of a checked config.

    Raises:
        UserError: the data are not there and cannot be downloaded, are damaged, or cannot be made.
    """
    if config.name not in _MODULES:
        raise UserError(
            "config.data: the arrays of this run were passed as train_and_evaluate(…, dataset=…); "
            "pass them again, in Python."
        )
    module = importlib.import_module(f"train.data.{_MODULES[config.name]}")
    parts: Parts = module.load(config)
    _check(parts, config)
    return complete(parts, config.name, config.get("vocabulary", 0))


def complete(parts: Parts, name: str, vocabulary: int = 0) -> Dataset:
    """The parts with what training needs to know about them.

    Args:
        parts: images are uint8 [n, height, width, channels], labels int32 [n].
        name: of the data set.
        vocabulary: number of tokens of text; 0 for images.
    """
    mean, std = (np.zeros(1, "f4"), np.ones(1, "f4"))
    if not vocabulary:
        mean, std = _statistics(parts.train.images)
    return Dataset(**vars(parts), name=name, mean=mean, std=std, vocabulary=vocabulary)


def given(dataset: Dataset) -> dict[str, Any]:
    """`config.data` of a data set that was made in Python.

    Raises:
        UserError: its arrays are not those of a data set of images.
    """
    images = dataset.train.images
    if dataset.vocabulary or images.dtype != np.uint8 or images.ndim != 4:
        raise UserError(
            "dataset: expected images of uint8 [n, height, width, channels], got "
            f"{images.dtype} {list(images.shape)}."
        )
    fields = Given(shape=images.shape[1:], classes=len(dataset.classes)).model_dump()
    _check(dataset, ml_collections.ConfigDict(fields))
    return fields


def _check(parts: Parts, config: ml_collections.ConfigDict) -> None:
    """Refuses other sizes than those of the config, for which the model is made."""
    shape, classes = DATA[config.name].model_construct(**config.to_dict()).sizes()
    for name in ("train", "validation", "test"):
        part = getattr(parts, name)
        wrong = part.labels[(part.labels < 0) | (part.labels >= len(parts.classes))]
        for expected, got, refused in (
            ("one example or more", "none", not len(part.labels)),
            (f"the shape {shape}", f"{part.images.shape[1:]}", part.images.shape[1:] != shape),
            (f"at most {classes} classes", len(parts.classes), len(parts.classes) > classes),
            (f"labels from 0 to {len(parts.classes) - 1}", wrong[:1], len(wrong)),
        ):
            if refused:
                raise UserError(
                    f"{config.name}, {name} examples: expected {expected}, got {got}. The data set "
                    "is damaged, or is another one. Copy or prepare the data set again."
                )


def _statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, float32, from exact counts of the 256 values."""
    counts = np.stack([np.bincount(x.ravel(), minlength=256) for x in np.moveaxis(images, -1, 0)])
    share = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = share @ values
    variance = share @ values**2 - mean**2
    std = np.sqrt(np.maximum(variance, 1 / 255**2))
    return mean.astype(np.float32), std.astype(np.float32)
