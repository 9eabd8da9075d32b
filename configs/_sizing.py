"""Finds the widths and depths at which a model has a given number of parameters or MACs.

    widen(config, macs, 2.5 * macs(config))

Parameters and multiply-accumulates (MACs) are counted from shapes: no data are loaded and nothing
is computed.
"""

import bisect
from collections.abc import Callable
import copy
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from configs import _datasets
from dynalay_jax.adaptive import macs as cost
from dynalay_jax.adaptive.inspect import call, shapes
from dynalay_jax.adaptive.model import DynaLay

Measure = Callable[[ConfigDict], float]
# Widths are multiples of this number, which every cell accepts.
_UNIT = 4
# Largest relative distance to the target.
_TOLERANCE = 0.05


def parameters(config: ConfigDict) -> int:
    """Parameters of the config's main model, as in summary.json."""
    return _parameters(*_model(config))


def macs(config: ConfigDict) -> float:
    """MACs of the straight pass of the config's model, for one example."""
    return _macs(*_model(config))


def all_macs(config: ConfigDict) -> float:
    """MACs of the config's model with all layers iterated, known for cells of one evaluation."""
    return _macs(*_model(config), all_layers=True)


def widen(config: ConfigDict, measure: Measure, target: float) -> None:
    """Scales the widths, the stem's too, until the measure is nearest to the target.

    Args:
        config: changed in place.
        measure: `parameters` or `macs`.
        target: its value after the change.

    Raises:
        ValueError: no width comes within 5 % of the target.
    """
    widths = lambda percent: _scaled(config, percent / 100)
    count = lambda percent: measure(widths(percent))
    # Apart from rounding, measures grow with a power from 1 to 2 of the scale.
    ends = target / measure(config), math.sqrt(target / measure(config))
    percents = range(1 + int(90 * min(ends)), 2 + int(110 * max(ends)))
    above = bisect.bisect_left(percents, target, key=count)
    beside = percents[max(above - 1, 0) : above + 1]
    best = min(beside, key=lambda percent: abs(count(percent) - target))
    if abs(count(best) - target) > _TOLERANCE * target:
        raise ValueError(
            f"--config: expected a variant that exists within 5 % of {target:.3g} "
            f"{measure.__name__}; the nearest has {count(best):.3g}. Choose another number."
        )
    config.model = widths(best).model


def deepen(config: ConfigDict, measure: Measure, target: float) -> None:
    """Repeats every layer k ≥ 1 times, with its width and window, then scales the widths.

    At the config's own widths, k comes nearest to the target. Arguments and errors are those of
    `widen`.
    """
    # Each repetition adds the same.
    base, more = measure(config), measure(_lengthened(config, 1)) - measure(config)
    config.model = _lengthened(config, max(1, round((target - base) / more))).model
    widen(config, measure, target)


def _scaled(config: ConfigDict, scale: float) -> ConfigDict:
    """Scaled widths, rounded to multiples of the unit; later ones are rounded up sooner.

    Layers of equal width may then differ by one unit, which makes more totals possible.
    """
    new = copy.deepcopy(config)
    sizes = (config.model.stem, *config.model.widths)
    units = (scale * size / _UNIT + (i + 0.5) / len(sizes) for i, size in enumerate(sizes))
    stem, *widths = (_UNIT * max(1, int(unit)) for unit in units)
    new.model.update(stem=stem if config.model.stem else 0, widths=tuple(widths))
    return new


def _lengthened(config: ConfigDict, more: int) -> ConfigDict:
    new, model = copy.deepcopy(config), config.model
    repeated = lambda values: tuple(value for value in values for _ in range(1 + more))
    new.model.update(
        widths=repeated(model.widths),
        windows=repeated(model.windows or (3,) * len(model.widths)),
        strides=tuple(s for stride in model.strides for s in (stride, *(1,) * more)),
    )
    return new


def _model(config: ConfigDict) -> tuple[DynaLay, tuple[int, ...]]:
    """The model, as far as its straight pass needs, and the shape of an example."""
    data = _datasets.DATA[config.data.name].model_validate(config.data.to_dict())
    shape, classes = data.sizes()
    sizes = ("widths", "strides", "windows", "blocks", "pool_first", "stem", "whitening")
    fields = (*sizes, "cell", "norm")
    text = {"vocabulary": config.data.get("vocabulary", 0)}
    return DynaLay(classes=classes, **text, **{name: config.model[name] for name in fields}), shape


@functools.cache
def _parameters(model: DynaLay, shape: tuple[int, ...]) -> int:
    params = shapes(model, shape)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params | {"agent": {}}))


@functools.cache
def _macs(model: DynaLay, shape: tuple[int, ...], all_layers: bool = False) -> float:
    # `costs(model, shape)`, five times as fast.
    params = shapes(model, shape)

    def run(params: Any, x: jax.Array) -> Any:
        if not all_layers:
            return call(model, params, DynaLay.begin, x)
        return model.apply(params, x, (1,), method=DynaLay.every_action, mutable=True)

    count = lambda batch: cost.macs(run, params, jax.ShapeDtypeStruct((batch, *shape), jnp.float32))
    # The difference leaves out what is computed once for a whole batch.
    return count(2) - count(1)
