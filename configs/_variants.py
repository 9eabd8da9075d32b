"""What else could be trained with the same data, recipe and harness: configs/NAME.py:BASELINE.

    python -m train.main --config=configs/digits.py:model_0

Variants have an agent and change one thing:

    no_warmup           all epochs joint, none for the main model or the agent alone (Fig. 4)
    cell_concave, cell_separable, cell_orthogonal, cell_bounded, cell_free   other cells in all
                        layers, the free ones solved by Anderson's method
    loose               solves to ten times the tolerance

Baselines have none: all epochs go to the main model, on one route for every sample, which
`config.router` names and summary.json reports.

    model_0             the paper's plain CNN, trained by itself: the straight pass of the config
    model_1 … model_L   layers 1 … l iterated (Fig. 6)
    wide_parameters     model_0, wider: as many parameters as the config's main model has
    deep_parameters     model_0 with every layer followed by more of its width and window, to the
                        same number of parameters
    residual_parameters deep_parameters, of residual blocks with group normalisation
    wide_2.5x, deep_2.5x, residual_2.5x   the same to so many times the MACs of model_0; any number
    resnet20            of He et al. (2016) for CIFAR, with group normalisation
    unrolled            every layer iterated 4 times, gradients through all iterations
    deq_anderson, deq_broyden   one layer of free cells, as wide and as small as the middle one,
                        solved by that method

Matched models come within 5 % of what they are to have, or are refused; what they are matched to is
the config as its file has it, whatever --config.x=y say. model_0 and those made from it have no
kernels to iterate where the config's cells are `cascade`, `concave` or `separable`, nor have
residual nets; those of other cells stay, unused, and count in `parameters`, as in models 1 … L do
those of the layers that are not iterated.
"""

from collections.abc import Callable
import math
import re

from ml_collections import ConfigDict

# Cells with the straight pass of these, and no more.
_STATIC = {"cascade": "plain", "concave": "gated", "separable": "gated"}


def vary(config: ConfigDict, name: str) -> ConfigDict:
    """The config, or the baseline of that name; ValueError if there is none."""
    if not name:
        return config
    if name in _VARIANTS:
        _VARIANTS[name](config)
        return config
    _without_agent(config)
    model = re.fullmatch(r"model_(\d+)", name)
    matched = re.fullmatch(_MATCHED, name)
    layers = len(config.model.widths)
    if model and int(model[1]) <= layers:
        _iterate(config, int(model[1]))
    elif matched:
        _match(config, matched[1], matched[2])
    elif name in BASELINES:
        BASELINES[name](config)
    else:
        models = (f"model_{n}" for n in range(layers + 1))
        known = ", ".join([*models, *MATCHED, *BASELINES, *_VARIANTS])
        raise ValueError(f"expected one of the baselines {known} after the colon, got {name!r}.")
    return config


def split(label: str) -> tuple[str, str]:
    """NAME and BASELINE of a run called NAME_BASELINE; BASELINE is "" for a config as it is."""
    ends = "|".join([r"model_\d+", _MATCHED, *BASELINES, *_VARIANTS])
    found = re.fullmatch(rf"(?P<name>.+)_(?P<baseline>{ends})", label)
    return (found["name"], found["baseline"]) if found else (label, "")


def _without_agent(config: ConfigDict) -> None:
    epochs = config.train.epochs
    # As often as the main model of the full config is trained.
    epochs.main, epochs.agent, epochs.joint = epochs.main + epochs.joint, 0.0, 0.0
    config.model.rounds = 1


def _iterate(config: ConfigDict, layers: int) -> None:
    """The first so many layers for every sample."""
    every = len(config.model.widths)
    config.router = {0: "none", every: "all"}.get(layers, f"first_{layers}")
    config.train.update(
        straight=float(layers == 0), everything=float(layers > 0), everything_layers=layers
    )
    if layers == 0:
        static = _STATIC.get(config.model.cell, config.model.cell)
        # Nothing spreads in them, so that nothing leaks: small offsets would only be small
        # activations, and of gates that shut wholly a deep net passes on no gradient.
        config.model.update(cell=static, compact=0, offset=1.0, hard_gates=False)


def _match(config: ConfigDict, direction: str, times: str | None) -> None:
    """To so many times the MACs of the straight pass; None for as many parameters as now."""
    from configs import _sizing

    measure: _sizing.Measure = _sizing.macs if times else _sizing.parameters
    target = float(times or 1) * measure(config)
    _iterate(config, 0)
    if direction == "residual":
        config.model.update(cell="residual", norm=True)
    match = _sizing.widen if direction == "wide" else _sizing.deepen
    match(config, measure, target)


def _resnet20(config: ConfigDict) -> None:
    widths, strides = (16,) * 3 + (32,) * 3 + (64,) * 3, (1, 1, 1, 2, 1, 1, 2, 1, 1)
    config.model.update(cell="residual", stem=16, widths=widths, strides=strides)
    config.model.update(windows=(), norm=True)
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


def _no_warmup(config: ConfigDict) -> None:
    epochs = config.train.epochs
    epochs.joint += epochs.main + epochs.agent
    epochs.main = epochs.agent = 0.0


def _cell(name: str, **changes: str) -> Callable[[ConfigDict], None]:
    return lambda config: config.model.update(cell=name, **changes)


def _loose(config: ConfigDict) -> None:
    config.model.tol *= 10


_MATCHED = r"(wide|deep|residual)_(?:parameters|(\d+(?:\.\d+)?)x)"
# Some of the names: any number may stand before the x.
MATCHED = tuple(
    f"{how}_{size}" for size in ("parameters", "2.5x") for how in ("wide", "deep", "residual")
)
BASELINES: dict[str, Callable[[ConfigDict], None]] = {
    "resnet20": _resnet20,
    "unrolled": _unrolled,
    "deq_anderson": _deq("anderson"),
    "deq_broyden": _deq("broyden"),
}
_VARIANTS: dict[str, Callable[[ConfigDict], None]] = {
    "no_warmup": _no_warmup,
    "loose": _loose,
    "cell_concave": _cell("concave"),
    "cell_separable": _cell("separable"),
    "cell_orthogonal": _cell("orthogonal"),
    "cell_bounded": _cell("bounded"),
    "cell_free": _cell("free", solver="anderson"),
}
