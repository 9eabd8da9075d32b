"""TODO."""

import functools
import math

import jax
import ml_collections
import numpy as np

from train.errors import UserError, expect_one_of

# The least that makes sense of a field.
_LEAST = {
    "seed": 0,
    "data.validation": 1,  # prices and checkpoints are chosen on it
    "model.compact": 0,
    "model.max_steps": 1,
    "model.tol": 0,
    "train.steps_per_call": 1,
    "train.accumulate": 1,
    "eval_batch": 1,
    "checkpoint.keep": 1,
}


def check(config: ml_collections.FrozenConfigDict) -> None:
    """What can be wrong with a config as such; UserError in one line."""
    devices, batch = jax.local_device_count(), config.train.batch_size
    if batch < 1 or batch % devices:
        raise UserError(
            f"config.train.batch_size: expected a positive multiple of the {devices} devices, got "
            f"{batch}; the nearest is {max(1, round(batch / devices)) * devices}."
        )
    expect_one_of("config.checkpoint.evaluate", ("newest", "best"), config.checkpoint.evaluate)
    for name, least in _LEAST.items():
        value = functools.reduce(lambda node, key: node[key], name.split("."), config)
        if not value >= least:
            raise UserError(f"config.{name}: expected {least} or more, got {value}.")
    for name, bounds in {
        "price_range": config.price_range,
        "exploration.epsilon": config.exploration.epsilon,
        "exploration.entropy": config.exploration.entropy,
    }.items():
        if np.shape(bounds) != (2,):
            raise UserError(f"config.{name}: expected two numbers, got {bounds}.")
    low, high = config.price_range
    if not 0 < low <= high:
        raise UserError(f"config.price_range: expected 0 < low <= high, got {low}, {high}.")
    for name, prices in {"price": (config.price,), "prices": config.prices}.items():
        if not all(0 < price < math.inf for price in prices):
            raise UserError(f"config.{name}: expected positive numbers, got {prices}.")
    _check_routing(config)


def _check_routing(config: ml_collections.FrozenConfigDict) -> None:
    """The shares of routes in training, and the agent's exploration."""
    layers, train = len(config.model.widths), config.train
    shares = {name: train[name] for name in ("straight", "everything", "exploring")}
    if any(not 0 <= share <= 1 for share in shares.values()) or (
        train.straight + train.everything > 1
    ):
        raise UserError(
            "config.train: expected shares from 0 to 1, straight and everything together 1 at "
            f"most; got {', '.join(f'{name} {share}' for name, share in shares.items())}."
        )
    if not 0 <= train.everything_layers <= layers:
        raise UserError(
            f"config.train.everything_layers: expected 0 to {layers}, got "
            f"{train.everything_layers}."
        )
    most = 1 / (layers + 1)
    if not 0 <= config.exploration.floor < most or not config.exploration.share > 0:
        raise UserError(
            f"config.exploration: expected a floor from 0 to below {most:.3g}, one over the number "
            f"of actions, and a share above 0; got {config.exploration.floor} and "
            f"{config.exploration.share}."
        )
