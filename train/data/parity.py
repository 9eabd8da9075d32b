"""Parity: is the number of ones among zeros, ones and minus ones odd?

The task of PonderNet (Banino et al. 2021, arXiv 2107.05407, Sec. 4), after Graves 2016 (arXiv
1603.08983). A random number of a vector's entries, drawn uniformly, are 1 or -1; the others are 0.
The sign of every such entry can change the label, so none can be left out. The difficulty is their
number. PonderNet interpolates on 64 entries, of which 1 to 64 are not 0. It extrapolates on 96
entries, from 1 to 48 in training to 49 to 96 in the test set.

Few vectors have only one or two such entries, so any large training set contains those of the test
set as well: one in fifty examples of PonderNet's interpolation.
"""

import ml_collections
import numpy as np

from train.data import generated
from train.data.types import Parts, Split

CLASSES = ("even", "odd")
DIFFICULTY = "entries that are not 0"


def load(config: ml_collections.ConfigDict) -> Parts:
    """Parts as `config.data` asks for."""

    def make_part(part: str, seed: tuple[int, int]) -> Split:
        prefix = "" if part == "train" else "test_"
        least, most = config[f"{prefix}least"], config[f"{prefix}most"]
        return make(config[part], config.length, least, most, seed)

    return generated.parts(config, make_part, CLASSES, DIFFICULTY)


def make(count: int, length: int, least: int, most: int, seed: int | tuple[int, ...]) -> Split:
    """Vectors of zeros, ones and minus ones.

    Args:
        count: of vectors.
        length: entries of each.
        least, most: range from which the number of entries that are not 0 is drawn uniformly.
        seed: of all random numbers.

    Returns:
        Split of `count` examples. images: [count, 1, length, 2] uint8, the channels being the
        ones and the minus ones, each 0 or 255. labels: `balanced`, parity of the number of ones.
        difficulty: number of entries that are not 0.
    """
    rng = np.random.default_rng(seed)
    labels = generated.balanced(count)
    difficulty = rng.integers(least, most, count, dtype=np.int32, endpoint=True)
    rank = rng.permuted(np.tile(np.arange(length), (count, 1)), axis=1)
    used = rank < difficulty[:, None]
    ones = used & (rng.random((count, length)) < 0.5)
    # All signs are free except one, which makes the parity equal to the label.
    ones ^= (rank == 0) & (ones.sum(axis=1) % 2 != labels)[:, None]
    images = 255 * np.stack([ones, used & ~ones], axis=-1).astype(np.uint8)
    return Split(images[:, None], labels, difficulty)
