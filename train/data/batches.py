"""Which examples each step and each evaluation see: indices, as a function of seed and step."""

from collections.abc import Iterator
import functools

import numpy as np


def batch_indices(
    count: int, batch_size: int, seed: int, first_step: int, steps: int
) -> np.ndarray:
    """Which examples the given training steps see.

    Every epoch goes through the examples in a new random order and drops the last, incomplete
    batch. A pure function of seed and step: a resumed run continues with the same batches.

    Args:
        count: of training examples.
        batch_size: examples of a step, at most `count`.
        seed: of the order.
        first_step: counted from 0 over all epochs.
        steps: how many.

    Returns:
        [steps, batch_size] int32.
    """
    steps_per_epoch = count // batch_size
    indices = np.empty((steps, batch_size), np.int32)
    for row, step in enumerate(range(first_step, first_step + steps)):
        epoch, place = divmod(step, steps_per_epoch)
        indices[row] = _permutation(count, seed, epoch)[place * batch_size :][:batch_size]
    return indices


@functools.lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)
    order.flags.writeable = False  # the cache shares it
    return order


def evaluation_batches(count: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of one size that cover every example once.

    Args:
        count: of examples.
        batch_size: of every batch; the last batch is padded.

    Yields:
        indices: [batch_size] int32, padded with 0.
        mask: [batch_size] bool, False where padded.
    """
    for start in range(0, count, batch_size):
        places = np.arange(start, start + batch_size, dtype=np.int32)
        mask = places < count
        yield np.where(mask, places, np.int32(0)), mask
