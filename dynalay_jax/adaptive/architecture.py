"""The fields of a DynaLay model: their checks, and the modules that they describe."""

import functools
from typing import TYPE_CHECKING, Any

from flax import linen as nn
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.layers.base import Cell
from dynalay_jax.layers.concave import ConcaveConv
from dynalay_jax.layers.convolution import fast_convolution
from dynalay_jax.layers.registry import CELLS, STATIC
from dynalay_jax.layers.stage import RouteHead, StageConv
from dynalay_jax.layers.whitening import Whitening
from dynalay_jax.solve.validate import flag

if TYPE_CHECKING:
    from dynalay_jax.adaptive.model import DynaLay

CLASSES: dict[str, type[Cell]] = CELLS | STATIC


def check(model: "DynaLay") -> None:
    """Raises TypeError or ValueError unless the fields are possible and fit each other."""
    for name in ("classes", "rounds", "max_steps", "agent_hidden"):
        validate.integer(name, getattr(model, name), 1)
    for name in ("stem", "whitening", "vocabulary", "compact"):
        validate.integer(name, getattr(model, name), 0)
    for name in ("last", "hard_gates", "norm", "residual_features"):
        flag(name, getattr(model, name))
    validate.one_of("cell", model.cell, CLASSES)
    validate.floating("dtype", model.dtype)
    validate.integers("widths", model.widths)
    layers = len(model.widths)
    for name in ("strides", "windows", "blocks", "pool_first"):
        values = each(model, name)
        if name != "pool_first":
            validate.integers(name, values)
        if len(values) != layers:
            raise ValueError(
                f"{name}: expected one for each of the {layers} widths, got {len(values)}."
            )
    if model.vocabulary and not model.stem:
        raise ValueError("stem: expected 1 or more, the width of the embedding, got 0.")
    if model.whitening and model.stem:
        raise ValueError(f"stem: expected 0 with whitening={model.whitening}, got {model.stem}.")
    if by_route(model) and model.rounds > 1:
        raise ValueError(f"rounds: expected 1 for {model.cell} cells, got {model.rounds}.")


def each(model: "DynaLay", name: str) -> tuple:
    """A field with one value for each layer; () stands for the usual ones."""
    layers = len(model.widths)
    usual = {
        "windows": (3,) * layers,
        "blocks": (1,) * layers,
        "pool_first": tuple(j > 0 for j in range(layers)),
    }
    return getattr(model, name) or usual.get(name, ())


def by_route(model: "DynaLay") -> bool:
    """See `DynaLay.by_route`."""
    return issubclass(CLASSES[model.cell], StageConv)


def stem(model: "DynaLay") -> Any:
    """The module before the layers, or None."""
    if model.whitening:
        return Whitening(model.whitening)
    if model.vocabulary:
        return nn.Embed(model.vocabulary, model.stem, dtype=model.dtype)
    if not model.stem:
        return None
    window, fast = (3, 3), fast_convolution
    return nn.Conv(model.stem, window, dtype=model.dtype, conv_general_dilated=fast)


def layers(model: "DynaLay") -> list[Cell]:
    """The L layers."""
    cell = functools.partial(CLASSES[model.cell], norm=model.norm, dtype=model.dtype)
    if issubclass(CLASSES[model.cell], ConcaveConv):
        names = ("gain", "own", "offset", "hard_gates")
        cell = functools.partial(cell, **{name: getattr(model, name) for name in names})

    def layer(j: int) -> Cell:
        names = {"features": "widths", "stride": "strides", "window": "windows"}
        fields: dict[str, Any] = {}
        if by_route(model):
            names |= {"blocks": "blocks", "pool_first": "pool_first"}
            # Of the layers below, none was iterated, or one of them was the lowest.
            fields = {"routes": j + 1, "factors": model.factors}
        return cell(**{key: each(model, name)[j] for key, name in names.items()}, **fields)

    return [layer(j) for j in range(len(model.widths))]


def classifier(model: "DynaLay") -> nn.Module:
    """The module that makes logits of the pooled activations."""
    if by_route(model):
        return RouteHead(model.classes, len(model.widths) + 1)
    return nn.Dense(model.classes, dtype=jnp.float32)
