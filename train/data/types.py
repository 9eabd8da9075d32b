"""A data set in memory: its splits, and what is known about them."""

import dataclasses

import numpy as np

from train.errors import UserError


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


# What a loader returns: train, validation, test, classes, what the difficulty is.
Parts = tuple[Split, Split, Split, tuple[str, ...], str]


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """All but the last `count` examples, and these."""
    total = len(split.labels)
    check_count("validation", count, 0, total - 1)
    return split.take(slice(total - count)), split.take(slice(total - count, None))


def check_count(name: str, value: int, least: int, most: int) -> None:
    """Raises UserError unless config.data.`name` is in the range."""
    if not least <= value <= most:
        raise UserError(f"config.data.{name}: expected {least} to {most} examples, got {value}.")
