"""Parity: is the number of ones among zeros, ones and minus ones odd?

PonderNet's task (Banino et al. 2021, arXiv 2107.05407, Sec. 4), after Graves 2016 (arXiv
1603.08983): of a vector's entries a random number, drawn uniformly, are 1 or -1, and the others 0.
The sign of any one of these decides the label, so none can be left out: the difficulty is how many
there are. PonderNet interpolates on 64 entries, of which 1 to 64 are not 0, and extrapolates on 96,
from 1 to 48 in training to 49 to 96 in testing.

Vectors with one or two such entries are few, so those of a test set are in any large training set,
too: in PonderNet's interpolation, one in fifty examples.
"""

import numpy as np

from train.data.types import Split
from train.errors import UserError

CLASSES = ("even", "odd")
DIFFICULTY = "entries that are not 0"


def make(count: int, length: int, least: int, most: int, seed: int | tuple[int, ...]) -> Split:
    """Vectors of zeros, ones and minus ones.

    Args:
        count: of vectors.
        length: entries of each.
        least, most: entries that are not 0; their number is drawn uniformly from this range.
        seed: of everything drawn.

    Returns:
        Split of `count` examples. images: [count, 1, length, 2] uint8, the channels being the
        ones and the minus ones, each 0 or 255. labels: parity of the number of ones, 1 at odd
        places, so that every even stretch is balanced. difficulty: entries that are not 0.

    Raises:
        UserError: arguments out of range.
    """
    if count < 1 or not 1 <= least <= most <= length:
        raise UserError(
            "parity: expected count >= 1 and 1 <= least <= most <= length, got "
            f"count={count}, least={least}, most={most}, length={length}."
        )
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 2
    difficulty = rng.integers(least, most, count, dtype=np.int32, endpoint=True)
    rank = rng.permuted(np.tile(np.arange(length), (count, 1)), axis=1)
    used = rank < difficulty[:, None]
    ones = used & (rng.random((count, length)) < 0.5)
    # The others' signs are free; that of the first makes the parity the label's.
    ones ^= (rank == 0) & (ones.sum(axis=1) % 2 != labels)[:, None]
    images = 255 * np.stack([ones, used & ~ones], axis=-1).astype(np.uint8)
    return Split(images[:, None], labels, difficulty)
