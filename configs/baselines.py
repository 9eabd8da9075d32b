"""What else could be trained with the same data, recipe and harness: configs/NAME.py:BASELINE.

    python -m train.main --config=configs/digits.py:model_0

None of them has an agent: all epochs go to the main model, on one route for every sample, which
`config.router` names and summary.json reports.

    model_0 … model_L   layers 1 … l iterated (Fig. 6); model_0 is the paper's plain CNN
    wide                the plain CNN with half as many channels again, about twice the MACs
    deep                the plain CNN with every layer followed by another of its width
    unrolled            every layer iterated 4 times, gradients through all iterations
    deq_anderson, deq_broyden   one layer of free cells, as wide and as small as the middle one,
                        solved by that method
"""

from collections.abc import Callable
import math
import re

from ml_collections import ConfigDict


def vary(config: ConfigDict, name: str) -> ConfigDict:
    """The config, or the baseline of that name; ValueError if there is none."""
    if not name:
        return config
    _without_agent(config)
    model = re.fullmatch(r"model_(\d+)", name)
    layers = len(config.model.widths)
    if model and int(model[1]) <= layers:
        _iterate(config, int(model[1]))
    elif name in _BASELINES:
        _BASELINES[name](config)
    else:
        known = ", ".join([*(f"model_{n}" for n in range(layers + 1)), *_BASELINES])
        raise ValueError(f"expected one of the baselines {known} after the colon, got {name!r}.")
    return config


def _without_agent(config: ConfigDict) -> None:
    epochs = config.train.epochs
    # As often as the main model of the full config is trained.
    epochs.main, epochs.agent, epochs.joint = epochs.main + epochs.joint, 0.0, 0.0


def _iterate(config: ConfigDict, layers: int) -> None:
    """The first so many layers for every sample."""
    every = len(config.model.widths)
    config.router = {0: "none", every: "all"}.get(layers, f"first_{layers}")
    config.train.update(
        straight=float(layers == 0), everything=float(layers > 0), everything_layers=layers
    )


def _wide(config: ConfigDict) -> None:
    config.model.widths = tuple(3 * width // 2 for width in config.model.widths)
    _iterate(config, 0)


def _deep(config: ConfigDict) -> None:
    model = config.model
    twice = lambda values, second: tuple(x for value in values for x in (value, second(value)))
    model.strides = twice(model.strides, lambda _: 1)
    model.windows = twice(model.windows or (3,) * len(model.widths), lambda window: window)
    model.widths = twice(model.widths, lambda width: width)
    _iterate(config, 0)


def _unrolled(config: ConfigDict) -> None:
    config.model.update(adjoint="unrolled", compact=0, max_steps=4, tol=0.0)
    _iterate(config, len(config.model.widths))


def _deq(solver: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        model, middle = config.model, len(config.model.widths) // 2
        stride = math.prod(model.strides[: middle + 1])
        model.update(cell="free", solver=solver, max_steps=30, windows=(max(3, stride),))
        model.update(widths=(model.widths[middle],), strides=(stride,))
        _iterate(config, 1)

    return change


_BASELINES: dict[str, Callable[[ConfigDict], None]] = {
    "wide": _wide,
    "deep": _deep,
    "unrolled": _unrolled,
    "deq_anderson": _deq("anderson"),
    "deq_broyden": _deq("broyden"),
}
