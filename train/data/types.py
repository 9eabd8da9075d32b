"""A data set in memory: its parts, and what is known about them."""

import dataclasses

import numpy as np

from train.errors import UserError


@dataclasses.dataclass(frozen=True)
class Split:
    """Some examples of a data set.

    Attributes:
        images: [n, height, width, channels] uint8; of text [n, 1, words, 1] uint16, its tokens.
        labels: [n] int32.
        difficulty: [n] int32 if the task knows it, else None; negative if an example has none.
    """

    images: np.ndarray
    labels: np.ndarray
    difficulty: np.ndarray | None = None

    def take(self, which: np.ndarray | slice) -> "Split":
        """The examples at these places, an index array or a slice."""
        difficulty = None if self.difficulty is None else self.difficulty[which]
        return Split(self.images[which], self.labels[which], difficulty)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What `load(config)` of each data set returns.

    Attributes:
        train, validation, test: examples; none is in two of them.
        classes: name of each label.
        difficulty: meaning and unit of the splits' difficulty; "" if it is not known.
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    difficulty: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(Parts):
    """A data set, ready for training.

    Attributes:
        name: as in the config.
        mean, std: [channels] float32, of the training images as numbers from 0 to 1. std is at
            least one grey level, so that dividing by it is safe. 0 and 1 for text.
        vocabulary: number of tokens of text; 0 for images.
    """

    name: str
    mean: np.ndarray
    std: np.ndarray
    vocabulary: int


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """All examples except the last `count`, and the last `count`.

    Raises:
        UserError: none would be left.
    """
    kept = len(split.labels) - count
    if kept < 1:
        raise UserError(
            f"config.data.validation: expected fewer than the {len(split.labels)} training "
            f"examples, got {count}."
        )
    return split.take(slice(kept)), split.take(slice(kept, None))
