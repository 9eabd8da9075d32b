"""The tasks that are made here, from a config: which of its fields make which examples."""

from collections.abc import Callable
from types import ModuleType

import ml_collections

from train.data import connectivity, mazes, parity
from train.data.types import Split

# Makes the examples of a part, "train" or "test", with that seed.
_Maker = Callable[[ml_collections.ConfigDict, str, tuple[int, int]], Split]


def load(config: ml_collections.ConfigDict) -> tuple[Split, Split, tuple[str, ...], str]:
    """Makes the examples of a task.

    Args:
        config: see `data.load`.

    Returns:
        Training examples with those held out for validation, test examples from a stream of their
        own, classes, and what their difficulty is.
    """
    task, make = _TASKS[config.name]
    train, test = (
        make(config, part, (config.seed, stream)) for stream, part in enumerate(("train", "test"))
    )
    return train, test, task.CLASSES, task.DIFFICULTY


def _connectivity(config: ml_collections.ConfigDict, part: str, seed: tuple[int, int]) -> Split:
    scale = config.grid, config.open_fraction
    if "blocks" in config:
        return connectivity.make_scaled(config[part], *scale, config.blocks, seed)
    return connectivity.make(config[part], *scale, seed)


def _mazes(config: ml_collections.ConfigDict, part: str, seed: tuple[int, int]) -> Split:
    return mazes.make(config[part], config.side, seed)


def _parity(config: ml_collections.ConfigDict, part: str, seed: tuple[int, int]) -> Split:
    least, most = ("least", "most") if part == "train" else ("test_least", "test_most")
    return parity.make(config[part], config.length, config[least], config[most], seed)


_TASKS: dict[str, tuple[ModuleType, _Maker]] = {
    "connectivity": (connectivity, _connectivity),
    "mazes": (mazes, _mazes),
    "parity": (parity, _parity),
}
