"""Every field of a config: its type, its range, its meaning and its default, in one place.

    _base.base()              a config with these defaults, to change in configs/NAME.py
    train.config.check        refuses a config with a field that is out of range
    python -m train.config    the reference page, made from these fields

The fields of each group are in `_groups`, those of each data set in `_datasets`. A new field needs
a name with its type, a default and a docstring.
"""

from collections.abc import Mapping
import math
from typing import Annotated, Any

import pydantic
from pydantic import Field

from configs._datasets import DATA, Cifar10, Imdb, Named, Wikitext2
from configs._groups import (
    Augment,
    Checkpoint,
    Exploration,
    Group,
    Model,
    Objective,
    Train,
)

_Price = Annotated[float, Field(ge=1e-6, le=1_000_000)]


class Config(Group):
    """A whole config."""

    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the initial parameters, the order of the data and all random numbers."""
    data: Annotated[Named, Field(discriminator="name")] = Cifar10()
    augment: Augment = Augment()
    model: Model = Model()
    objective: Objective = Objective()
    exploration: Exploration = Exploration()
    price_range: tuple[_Price, _Price] = (0.01, 10.0)
    """Lowest and highest price λ in training; drawn log-uniformly for each sample."""
    price: _Price = 0.1
    """Price λ at evaluation."""
    prices: tuple[_Price, ...] = Field((0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), min_length=1)
    """Prices λ of the cost curve."""
    router: str = "agent"
    """Router that is evaluated, as agent, none, all, first_1, random:0.5 or confidence:0.9."""
    train: Train = Train()
    eval_batch: int = Field(512, ge=1)
    """Examples of a batch in evaluation."""
    eval_every: float = Field(1.0, gt=0)
    """Epochs between two evaluations on the validation examples."""
    checkpoint: Checkpoint = Checkpoint()

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> "Config":
        for checked in (_check_layers, _check_images, _check_training):
            checked(self)
        return self


# Routes of several layers, all of which an evaluation compiles.
_MOST_ROUTES = 200


def _refuse(field: str, expected: str, got: Any) -> None:
    raise ValueError(f"config.{field}: expected {expected}, got {got}.")


def _check_layers(config: Config) -> None:
    """What has to fit the number of layers."""
    model, layers = config.model, len(config.model.widths)
    for name in ("strides", "windows", "blocks", "pool_first"):
        values = getattr(model, name)
        if len(values) != layers and (values or name == "strides"):
            many = "1 number" if layers == 1 else f"{layers} numbers"
            _refuse(f"model.{name}", f"{many}, as many as model.widths={model.widths} has", values)
    routes = lambda rounds: sum(math.comb(layers, r) for r in range(2, min(rounds + 1, layers)))
    if routes(model.rounds) > _MOST_ROUTES:
        most = max(rounds for rounds in range(1, model.rounds) if routes(rounds) <= _MOST_ROUTES)
        _refuse("model.rounds", f"at most {most} with {layers} layers", model.rounds)
    if model.cell == "stage" and model.rounds > 1:
        _refuse("model.rounds", "1 for stage cells", model.rounds)
    if model.cell == "stage" and config.train.everything_layers:
        expected = "0 for stage cells, which iterate all layers above an iterated one"
        _refuse("train.everything_layers", expected, config.train.everything_layers)
    if config.train.everything_layers > layers:
        expected = f"at most the {layers} layers of model.widths"
        _refuse("train.everything_layers", expected, config.train.everything_layers)
    if config.exploration.floor * (layers + 1) >= 1:
        expected = f"less than 1/{layers + 1}, one over the number of actions"
        _refuse("exploration.floor", expected, config.exploration.floor)


def _check_images(config: Config) -> None:
    """What has to fit the size of an example."""
    (height, width, _), _ = config.data.sizes()
    size = f"the image's {height}×{width} pixels"
    for name in ("strides", "windows"):
        if max(values := getattr(config.model, name), default=1) > max(height, width):
            _refuse(f"model.{name}", f"numbers that fit {size}", values)
    if config.augment.crop >= min(height, width) and config.augment.crop:
        expected = f"less than {min(height, width)} for {size}"
        _refuse("augment.crop", expected, config.augment.crop)
    if config.augment.cutout > max(height, width):
        _refuse("augment.cutout", f"at most {max(height, width)} for {size}", config.augment.cutout)
    if config.augment.symmetries and height != width:
        _refuse("augment.symmetries", f"False, as images of {height}×{width} are not square", True)
    if (side := config.model.whitening) > min(height, width):
        _refuse("model.whitening", f"at most {min(height, width)} for {size}", side)
    if side and config.model.stem:
        _refuse("model.stem", f"0 with model.whitening={side}, another stem", config.model.stem)
    if isinstance(config.data, Imdb | Wikitext2):
        if not config.model.stem:
            _refuse("model.stem", "1 or more for text, the size of its embedding", 0)
        if config.augment.flip:
            _refuse("augment.flip", "False for text, whose words have an order", True)


def _check_training(config: Config) -> None:
    """Shares, epochs and prices."""
    low, high = config.price_range
    if low > high:
        _refuse("price_range", "the lower price first", config.price_range)
    shares = config.train.straight, config.train.everything
    if sum(shares) > 1:
        _refuse("train.straight", f"at most 1 with train.everything={shares[1]}", shares[0])
    if not any(config.train.epochs.model_dump().values()):
        _refuse("train.epochs", "some epochs in main, agent or joint", 0)
    if config.model.adjoint == "unrolled" and config.model.compact:
        _refuse("model.compact", "0 with model.adjoint=unrolled", config.model.compact)


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config, with defaults for those that it lacks.

    A config written by an older version may lack fields, and its data may have a `seed` and a
    `data_dir` that this data set does not read: these are left out.
    """
    data = fields.get("data")
    kind = DATA.get(str(data.get("name"))) if isinstance(data, Mapping) else None
    defaults = Config().model_dump() | {"data": kind().model_dump() if kind else {}}
    found = _filled(fields, defaults)
    for name in {"seed", "data_dir"} - set(kind.model_fields) if kind else ():
        found["data"].pop(name, None)
    return found


def _filled(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: _filled(fields[key], value)
        for key, value in defaults.items()
        if isinstance(value, dict) and isinstance(fields.get(key), Mapping)
    }
    return {**defaults, **fields, **inner}
