"""Variants of a config: configs/NAME.py:VARIANT is the config with one thing changed.

    python -m train.main --config=configs/digits.py:model_0

Some variants keep the agent. The others have none: all epochs go to the main model, and every
sample takes one route, which `config.router` names and summary.json reports. `described` lists
them.

A matched variant has within 5 % of the parameters or MACs that its name says, or is refused. They
are those of the config in the file; --config.x=y comes later. model_0 and the variants made from it
have no kernels to iterate if the config's cells are `cascade`, `concave` or `separable`. Other
cells keep their kernels, unused, and `parameters` counts them. So do models 1 … L for layers that
are not iterated.
"""

from collections.abc import Callable
import dataclasses
import difflib
import functools
import math
import re

from ml_collections import ConfigDict

from configs import _sizing

# Cells with the same straight pass and nothing to iterate.
_STATIC = {"cascade": "plain", "concave": "gated", "separable": "gated"}
# Times the MACs of a config that a variant may have.
_LARGEST = 100


@dataclasses.dataclass(frozen=True)
class Variant:
    """A change of a config, in place, and what it is for."""

    change: Callable[[ConfigDict], None]
    meaning: str


def vary(config: ConfigDict, name: str) -> ConfigDict:
    """The config, changed in place to the variant of that name; "" is the config as it is.

    Raises:
        ValueError: there is no such variant, or no model of that size.
    """
    if not name:
        return config
    if name in WITH_AGENT:
        WITH_AGENT[name].change(config)
        return config
    model, matched = re.fullmatch(r"model_(\d+)", name), re.fullmatch(_MATCHED, name)
    stages = re.fullmatch(_STAGES, name) if config.model.cell == "stage" else None
    known = described(config)
    if not (matched or stages) and name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"--config: no variant {name!r}.{hint} The variants are {', '.join(known)}; other "
            "numbers may stand in place of 2.5."
        )
    _without_agent(config)
    if model:
        _iterate(config, int(model[1]))
    elif matched:
        _match(config, matched[1], matched[2])
    elif stages:
        _match_stages(config, stages[1])
    else:
        WITHOUT_AGENT[name].change(config)
    return config


def described(config: ConfigDict) -> dict[str, str]:
    """Meaning of each variant of this config, by name."""
    layers, stages = len(config.model.widths), config.model.cell == "stage"
    models = {"model_0": "Straight pass alone: the paper's plain CNN."}
    for layer in [layers] if stages else range(1, layers + 1):
        some = "Layer 1" if layer == 1 else f"Layers 1 to {layer}"
        models[f"model_{layer}"] = f"{some} iterated for every sample (Fig. 6)."
    hows = {
        "wide": "model_0 with wider layers",
        "deep": "model_0 with every layer repeated",
        "residual": "Repeated residual blocks with group normalisation",
    }
    matched = {}
    for name in MATCHED:
        how, _, size = name.partition("_")
        same = "as many parameters as the config" if size == "parameters" else "2.5 times its MACs"
        matched[name] = f"{hows[how]}; {same}."
    if stages:
        matched["all_2.5x"] = f"model_{layers}, wider or narrower; 2.5 times the config's MACs."
    singles = {name: one.meaning for name, one in (WITHOUT_AGENT | WITH_AGENT).items()}
    return {**models, **matched, **singles}


def split(label: str) -> tuple[str, str]:
    """NAME and VARIANT of a run called NAME_VARIANT; VARIANT is "" for a config as it is."""
    ends = "|".join([r"model_\d+", _MATCHED, _STAGES, *WITHOUT_AGENT, *WITH_AGENT])
    found = re.fullmatch(rf"(?P<name>.+)_(?P<variant>{ends})", label)
    return (found["name"], found["variant"]) if found else (label, "")


def _without_agent(config: ConfigDict) -> None:
    epochs = config.train.epochs
    # The main model gets as many epochs as in the config.
    epochs.main, epochs.agent, epochs.joint = epochs.main + epochs.joint, 0.0, 0.0
    config.model.rounds = 1


def _iterate(config: ConfigDict, layers: int) -> None:
    """Every sample iterates the first so many layers."""
    every = len(config.model.widths)
    if config.model.cell == "stage":
        # An action iterates all layers from its own up.
        layers = every if layers else 0
    config.router = {0: "none", every: "all"}.get(layers, f"first_{layers}")
    config.train.update(
        straight=float(layers == 0),
        everything=float(layers > 0),
        everything_layers=0 if config.model.cell == "stage" else layers,
    )
    if layers == 0:
        static = _STATIC.get(config.model.cell, config.model.cell)
        # Small offsets and hard gates keep iterated activity from spreading. Nothing spreads here:
        # they would only make activations small and stop the gradient of a deep net.
        config.model.update(cell=static, compact=0, offset=1.0, hard_gates=False)


def _match(config: ConfigDict, how: str, times: str | None) -> None:
    """To so many times the MACs of the straight pass; None: to the config's parameters."""
    if times:
        _check_times(how, times)
    measure: _sizing.Measure = _sizing.macs if times else _sizing.parameters
    target = float(times or 1) * measure(config)
    _iterate(config, 0)
    if how == "residual":
        config.model.update(cell="residual", norm=True)
    match = _sizing.widen if how == "wide" else _sizing.deepen
    match(config, measure, target)


def _match_stages(config: ConfigDict, times: str) -> None:
    """A static net that iterates all layers, with `times` the MACs of the straight pass."""
    _check_times("all", times)
    target = float(times) * _sizing.macs(config)
    _iterate(config, len(config.model.widths))
    _sizing.widen(config, _sizing.all_macs, target)


def _check_times(how: str, times: str) -> None:
    if not 0 < float(times) <= _LARGEST:
        raise ValueError(
            f"--config: expected a variant of more than 0 and at most {_LARGEST} times the MACs, "
            f"got {how}_{times}x."
        )


def _resnet20(config: ConfigDict) -> None:
    widths, strides = (16,) * 3 + (32,) * 3 + (64,) * 3, (1, 1, 1, 2, 1, 1, 2, 1, 1)
    config.model.update(cell="residual", stem=16, widths=widths, strides=strides)
    config.model.update(windows=(), norm=True, whitening=0, blocks=(), pool_first=())
    _iterate(config, 0)


def _unrolled(config: ConfigDict) -> None:
    config.model.update(adjoint="unrolled", compact=0, max_steps=4, tol=0.0)
    _iterate(config, len(config.model.widths))


def _deq(config: ConfigDict, solver: str) -> None:
    model, middle = config.model, len(config.model.widths) // 2
    stride = math.prod(model.strides[: middle + 1])
    model.update(cell="free", solver=solver, max_steps=30, windows=(max(3, stride),))
    model.update(widths=(model.widths[middle],), strides=(stride,))
    _iterate(config, 1)


def _no_warmup(config: ConfigDict) -> None:
    epochs = config.train.epochs
    epochs.joint += epochs.main + epochs.agent
    epochs.main = epochs.agent = 0.0


def _loose(config: ConfigDict) -> None:
    config.model.tol *= 10


def _with_cell(cell: str, **changes: str) -> Variant:
    change = lambda config: config.model.update(cell=cell, **changes)
    return Variant(change, f"Cells `{cell}` in all layers.")


def _deq_of(solver: str) -> Variant:
    change = functools.partial(_deq, solver=solver)
    return Variant(
        change, f"One layer of free cells, sized like the middle one, solved by {solver.title()}."
    )


_MATCHED = r"(wide|deep|residual)_(?:parameters|(\d+(?:\.\d+)?)x)"
_STAGES = r"all_(\d+(?:\.\d+)?)x"
# Examples: any number may stand before the x.
MATCHED = tuple(
    f"{how}_{size}" for size in ("parameters", "2.5x") for how in ("wide", "deep", "residual")
)
WITHOUT_AGENT = {
    "resnet20": Variant(_resnet20, "ResNet-20 of He et al. (2016), with group normalisation."),
    "unrolled": Variant(_unrolled, "All layers iterated 4 times, gradients through each step."),
    "deq_anderson": _deq_of("anderson"),
    "deq_broyden": _deq_of("broyden"),
}
WITH_AGENT = {
    "no_warmup": Variant(_no_warmup, "All epochs joint, no warm-up (Fig. 4)."),
    "loose": Variant(_loose, "Tolerance of the solves ten times larger."),
    "cell_concave": _with_cell("concave"),
    "cell_separable": _with_cell("separable"),
    "cell_orthogonal": _with_cell("orthogonal"),
    "cell_bounded": _with_cell("bounded"),
    "cell_free": _with_cell("free", solver="anderson"),
}
