"""The one place that maps steps over devices: `pmap` over all that are local.

The data set lives on the devices, and a call takes several steps. Each step gathers its examples by
index, so that the host only sends indices and reads a few means.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from dynalay_jax.adaptive import routers
from train.data.types import Split
from train.schedule import Phase
from train.state import TrainState
from train.step import AXIS, PyTree, Task, evaluation_step, train_step


class Resident:
    """A split on every device: as `Split`, with a leading axis of devices."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = replicate((split.images, split.labels))
        self.count = len(split.labels)


def replicate(tree: PyTree) -> PyTree:
    """A copy of every leaf on each local device, along a new leading axis."""
    devices = jax.local_device_count()
    # Under another name of the axis, the steps would compile again.
    copy = jax.pmap(lambda _, leaves: leaves, AXIS, in_axes=(0, None))
    return copy(np.arange(devices), tree)


def unreplicate(tree: PyTree) -> PyTree:
    """The first device's copy, as NumPy arrays."""
    first = jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, tree)
    return jax.tree.map(lambda leaf: leaf[0], jax.device_get(first))


def train_steps(
    task: Task, transforms: dict[str, optax.GradientTransformation], phase: Phase
) -> Callable[[TrainState, "Resident", np.ndarray], tuple[TrainState, list[PyTree]]]:
    """The mapped training call of a phase.

    Returns:
        Function of (replicated state, donated; training data; indices int32 [steps, batch]) →
        (state, metrics for `measured`). The batch is cut into one share a device.
    """
    # Not a constant of the program, which serves all seeds.
    seed = np.uint32(task.config.seed)

    def steps(state: TrainState, images: Any, labels: Any, indices: Any, seed: jax.Array) -> Any:
        def body(state: TrainState, index: jax.Array) -> Any:
            key = jax.random.fold_in(jax.random.key(seed), state.step)
            key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
            return train_step(task, transforms, phase, state, images[index], labels[index], key)

        if indices.ndim == 1:
            return body(state, indices)
        return jax.lax.scan(body, state, indices)

    mapped = jax.pmap(steps, AXIS, in_axes=(0, 0, 0, 0, None), donate_argnums=0)

    def run(state: TrainState, data: "Resident", indices: np.ndarray) -> Any:
        count, batch = indices.shape
        devices = jax.local_device_count()
        shares = indices.reshape(count, devices, batch // devices).swapaxes(0, 1)
        if jax.default_backend() != "cpu":
            state, metrics = mapped(state, data.images, data.labels, shares, seed)
            return state, [metrics]
        # On CPU, XLA's gradients of convolutions are many times slower inside loops.
        parts = []
        for i in range(count):
            state, metrics = mapped(state, data.images, data.labels, shares[:, i], seed)
            parts.append(metrics)
        return state, parts

    return run


def measured(parts: list[PyTree]) -> dict[str, np.ndarray]:
    """Metrics of a training call by name, float32 [steps], on the host."""
    host = [jax.tree.map(np.atleast_1d, unreplicate(part)) for part in parts]
    return {name: np.concatenate([part[name] for part in host]) for name in host[0]}


def evaluation(task: Task) -> Callable[..., dict[str, np.ndarray]]:
    """The mapped evaluation call, one program for all routers.

    Returns:
        Function of (replicated params, data, indices int32 [batch], router's place in
        `routers.by_name`, its setting, price, integer seed) → arrays as of `evaluation_step`.
    """

    def evaluate(params: PyTree, images: Any, labels: Any, index: Any, *rest: jax.Array) -> Any:
        kind, setting, price, seed = rest
        key = jax.random.fold_in(jax.random.key(seed), jax.lax.axis_index(AXIS))
        named = routers.by_name(setting, len(task.model.widths), task.model.rounds)
        router = routers.Switch(kind, tuple(named.values()))
        return evaluation_step(task, params, images[index], labels[index], router, price, key)

    mapped = jax.pmap(evaluate, AXIS, in_axes=(0, 0, 0, 0, None, None, None, None))

    def run(
        params: PyTree,
        data: "Resident",
        indices: np.ndarray,
        kind: int,
        setting: float,
        price: float,
        seed: int,
    ) -> dict[str, np.ndarray]:
        shares = indices.reshape(jax.local_device_count(), -1)
        scalars = (np.int32(kind), np.float32(setting), np.float32(price), np.uint32(seed))
        out = mapped(params, data.images, data.labels, shares, *scalars)
        return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), out)

    return run
