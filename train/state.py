"""The state that a training step changes, and its optimisers."""

import hashlib
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from train.schedule import Phase

PyTree = Any
GROUPS = ("main", "agent")


class TrainState(NamedTuple):
    """Arrays that training changes. Everything else follows from the config and `step`.

    Attributes:
        step: int32, training steps done.
        params: {"main": ..., "agent": ...}, the parameters of the two networks, and "statistics",
            measured and without gradient, of models that have them.
        average: exponential moving average of params, or None if off.
        optimizers: {"main": ..., "agent": ...}, optax states.
    """

    step: jax.Array
    params: PyTree
    average: PyTree
    optimizers: dict[str, optax.OptState]

    @property
    def evaluated(self) -> PyTree:
        """The parameters to evaluate: the average where there is one."""
        return self.params if self.average is None else self.average


def split(variables: PyTree) -> PyTree:
    """Flax variables {"params": {..., "agent": ...}, ...} as {"main": ..., "agent": ..., ...}."""
    params = dict(variables["params"])
    measured = {name: tree for name, tree in variables.items() if name != "params"}
    return {"agent": params.pop("agent"), "main": params, **measured}


def join(params: PyTree) -> PyTree:
    """Undoes `split`."""
    measured = {name: tree for name, tree in params.items() if name not in GROUPS}
    return {"params": {**params["main"], "agent": params["agent"]}, **measured}


def optimizers(
    config: ml_collections.ConfigDict, phases: list[Phase]
) -> dict[str, optax.GradientTransformation]:
    """Clipping, linear warm-up and cosine decay for each of the two networks.

    The agent is trained by AdamW, the main model by `config.train.optimizer`.
    Each network's schedule counts the updates of the phases that train it. With
    `config.train.accumulate` = k > 1, an update is made every k steps from the mean gradient.
    """
    train = config.train
    peaks = {"main": train.learning_rate, "agent": train.agent_learning_rate}
    transforms = {}
    for group in GROUPS:
        steps = sum(phase.steps for phase in phases if group in phase.trains)
        updates = max(steps // train.accumulate, 1)
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=peaks[group],
            warmup_steps=min(int(train.warmup * updates) + 1, updates - 1) if updates > 1 else 0,
            decay_steps=updates,
        )
        if group == "main" and train.optimizer == "sgd":
            method = _sgd(schedule, train)
        else:
            method = optax.adamw(schedule, weight_decay=train.weight_decay, mask=_kernels)
        transform = optax.chain(optax.clip_by_global_norm(train.clip), method)
        if train.accumulate > 1:
            transform = optax.MultiSteps(transform, train.accumulate)
        transforms[group] = transform
    return transforms


def _sgd(
    schedule: optax.Schedule, train: ml_collections.ConfigDict
) -> optax.GradientTransformation:
    """Nesterov's momentum; biases learn `train.bias_rate` times as fast."""
    biases = lambda params: jax.tree.map(operator.not_, _kernels(params))
    return optax.chain(
        optax.add_decayed_weights(train.weight_decay, _kernels),
        optax.sgd(schedule, train.momentum, nesterov=True),
        optax.masked(optax.scale(train.bias_rate), biases),
    )


def _kernels(params: PyTree) -> PyTree:
    """Which leaves get weight decay: all but scales and biases."""

    def kernel(path: Any, leaf: jax.Array) -> bool:
        return leaf.ndim > 1 and path[-1].key != "bias"

    return jax.tree.map_with_path(kernel, params)


def create(
    variables: PyTree, transforms: dict[str, optax.GradientTransformation], average: bool
) -> TrainState:
    """The state before the first step."""
    params = split(variables)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        average=jax.tree.map(jnp.copy, params) if average else None,
        optimizers={group: transforms[group].init(params[group]) for group in GROUPS},
    )


def fingerprint(tree: PyTree) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all leaves, in the order of the tree."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
