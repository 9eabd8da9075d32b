"""One training step, one evaluation step: pure functions, and the one place that maps them.

`pmap` runs them on all local devices; nothing outside this file knows. The data set lives on the
devices and a call takes several steps, each gathering its examples by index, so that the host only
sends indices and reads a few means.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from dynalay_jax.adaptive import macs, objective, routers
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.model import DynaLay, probes
from dynalay_jax.solve.solution import Stats, Status
from train import state as state_lib
from train.data.augment import augment
from train.data.types import Split
from train.schedule import Phase
from train.state import TrainState

PyTree = Any
AXIS = "devices"


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything that a step needs and that does not change: model, objective, costs, data scale.

    Attributes:
        model: DynaLay.
        objective: reward, loss, estimator.
        costs: MACs of the model's parts.
        mean, std: of the images, per channel, as in `Dataset`.
        config: of the run.
        phases: of the run.
    """

    model: DynaLay
    objective: objective.Objective
    costs: macs.Costs
    mean: np.ndarray
    std: np.ndarray
    config: ml_collections.FrozenConfigDict
    phases: tuple[Phase, ...]

    def normalise(self, images: jax.Array) -> jax.Array:
        """uint8 [..., channels] → float32 of mean 0 and standard deviation 1; tokens stay."""
        if self.model.vocabulary:
            return images.astype(jnp.float32)
        return (images.astype(jnp.float32) / 255.0 - self.mean) / self.std


def train_step(
    task: Task,
    transforms: dict[str, optax.GradientTransformation],
    phase: Phase,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
    key: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step of gradient descent on a device's share of a batch, inside `pmap`.

    Args:
        task, transforms, phase: static.
        state: before; the same on all devices.
        images: [b, height, width, channels], as the split has them.
        labels: int32 [b].
        key: of this step and device.

    Returns:
        The state after, and scalar means over all devices.
    """
    augment_key, loss_key = jax.random.split(key)
    x = augment(augment_key, task.normalise(images), task.config.augment)
    loss = functools.partial(phase_loss, task, phase)
    probe = probes(trained_model(task, phase), len(labels)) if "main" in phase.trains else None
    (_, metrics), (grads, backward) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        state.params, probe, x, labels, loss_key, state.step
    )
    if backward is not None:
        # Such samples contributed the Jacobian-free gradient instead.
        solved = backward.status != Status.SKIPPED
        failed = jnp.sum(solved & (backward.status != Status.CONVERGED))
        metrics["backward_unconverged"] = failed / jnp.maximum(jnp.sum(solved), 1)
    grads, metrics = jax.lax.pmean((grads, metrics), AXIS)

    params, opt_states = dict(state.params), dict(state.optimizers)
    for group in phase.trains:
        updates, opt_states[group] = transforms[group].update(
            grads[group], opt_states[group], params[group]
        )
        params[group] = optax.apply_updates(params[group], updates)
    average = state.average
    if average is not None:
        # A short memory at first, so that the average is of use from the start.
        step = state.step.astype(jnp.float32)
        decay = jnp.minimum(task.config.train.ema, (1 + step) / (10 + step))
        average = optax.incremental_update(params, average, 1 - decay)
    metrics["gradient_norm"] = optax.tree.norm(grads)
    return TrainState(state.step + 1, params, average, opt_states), metrics


def trained_model(task: Task, phase: Phase) -> DynaLay:
    """Without an agent nobody looks at what came of the first round."""
    return task.model if "agent" in phase.trains else task.model.clone(rounds=1)


def phase_loss(
    task: Task,
    phase: Phase,
    params: PyTree,
    probe: Stats | None,
    x: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    step: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Eq. 3 for the networks that the phase trains: scalar loss, and a dict of scalar means.

    Arguments are as in `train_step`; x is the augmented images, probe is of `model.probes`.
    """
    settings, train = task.objective, task.config.train
    price_key, main_key, agent_key = jax.random.split(key, 3)
    low, high = task.config.price_range
    draw = jax.random.uniform(price_key, labels.shape, jnp.float32, np.log(low), np.log(high))
    price = jnp.exp(draw)
    variables = state_lib.join(params)
    loss, metrics = jnp.float32(0), dict[str, jax.Array]()
    if "agent" in phase.trains:
        explore = exploration(task, step)
    if "main" in phase.trains:
        shares = train.straight, train.everything, train.everything_layers
        router: routers.Router = routers.Warmup(*shares)
        if "agent" in phase.trains:
            router = routers.Either(train.exploring, router, routers.Agent(explore["epsilon"]))
        loss, metrics = objective.main_loss(
            trained_model(task, phase),
            variables,
            x,
            labels,
            router,
            price,
            main_key,
            task.costs,
            train.smoothing,
            probe,
        )
    if "agent" in phase.trains:
        some = max(1, round(settings.fraction * labels.shape[0]))
        agent_loss, agent_metrics = objective.agent_loss(
            task.model,
            variables,
            x[:some],
            labels[:some],
            price[:some],
            agent_key,
            settings,
            task.costs,
            **explore,
        )
        loss, metrics = loss + agent_loss, {**metrics, **agent_metrics}
    return loss, {**metrics, "loss": loss}


def exploration(task: Task, step: jax.Array) -> dict[str, jax.Array]:
    """At this step: `epsilon` and `entropy` bonus, falling linearly; `floor`, ending."""
    settings = task.config.exploration
    agent_phases = [phase for phase in task.phases if "agent" in phase.trains]
    first, last = agent_phases[0].first, agent_phases[-1].last
    over = (step - first).astype(jnp.float32) / (settings.share * (last - first))
    left = 1 - jnp.clip(over, 0.0, 1.0)
    falling = lambda start, end: end + (start - end) * left
    return {
        "epsilon": falling(*settings.epsilon),
        "entropy": falling(*settings.entropy),
        "floor": jnp.where(left > 0, settings.floor, 0.0),
    }


def train_steps(
    task: Task, transforms: dict[str, optax.GradientTransformation], phase: Phase
) -> Callable[[TrainState, "Resident", np.ndarray], tuple[TrainState, list[PyTree]]]:
    """The mapped training call of a phase.

    Returns:
        Function of (replicated state, donated; training data; indices int32 [steps, batch]) →
        (state, metrics for `measured`). The batch is cut into one share a device.
    """
    # An argument, not a constant: one compiled program serves all seeds.
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
        # XLA's gradients of convolutions are many times slower inside loops on CPU, and a call
        # costs little there.
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


def evaluation_step(
    task: Task,
    params: PyTree,
    images: jax.Array,
    labels: jax.Array,
    router: routers.Router,
    price: jax.Array,
    key: jax.Array,
) -> dict[str, jax.Array]:
    """What one routed pass does with each example.

    Returns:
        Arrays [b]: `correct` bool, `loss` float32 (cross-entropy), `macs` float32 beyond the
        straight pass and without the agent, `steps` int32 (evaluations of cells), `decisions`
        int32 (rounds in which the agent was asked), `residual` float32 (worst of the solves, NaN
        if none), `converged` bool (all solves), `confidence` and `straight_confidence` float32
        (largest class probability, in the end and of the straight pass), and bool [b, L] `iterated`
        (in any round) and `standing` (and not lost since, as a solve is when a layer below is
        iterated in a later round).
    """
    variables = state_lib.join(params)
    logits, trace = call(
        task.model, variables, DynaLay.__call__, task.normalise(images), router, price, key
    )
    sweeps = trace.sweeps
    iterated = sweeps.iterate
    worst = jnp.max(jnp.where(iterated, sweeps.residual, -1.0), axis=(0, 2))
    asked = 1 + jnp.sum(jnp.any(iterated, -1)[:-1], axis=0)
    return {
        "correct": jnp.argmax(logits, -1) == labels,
        "loss": optax.softmax_cross_entropy_with_integer_labels(logits, labels),
        "macs": macs.spent(task.costs, iterated, sweeps.steps),
        "steps": jnp.sum(jnp.where(iterated, sweeps.steps, 0), axis=(0, 2)),
        "decisions": asked.astype(jnp.int32),
        "residual": jnp.where(worst < 0, jnp.nan, worst),
        "converged": jnp.all(~iterated | (sweeps.status == 0), axis=(0, 2)),
        "confidence": jnp.max(jax.nn.softmax(logits), axis=-1),
        "straight_confidence": jnp.max(jax.nn.softmax(trace.straight_logits), axis=-1),
        "iterated": jnp.any(iterated, axis=0),
        "standing": _standing(iterated),
    }


def _standing(iterate: jax.Array) -> jax.Array:
    """Whose solves stand after all rounds, bool [rounds, b, L] → [b, L]."""
    standing = jnp.zeros_like(iterate[0])
    for now in iterate:
        standing = now | (standing & ~macs.run_again(now))
    return standing


def evaluation(task: Task) -> Callable[..., dict[str, np.ndarray]]:
    """The mapped evaluation call, one program for all routers.

    Returns:
        Function of (replicated params, data, indices int32 [batch], router's place in
        `routers.everyone`, its setting, price, integer seed) → arrays as of `evaluation_step`.
    """

    def evaluate(params: PyTree, images: Any, labels: Any, index: Any, *rest: jax.Array) -> Any:
        kind, setting, price, seed = rest
        key = jax.random.fold_in(jax.random.key(seed), jax.lax.axis_index(AXIS))
        everyone = routers.everyone(setting, len(task.model.widths), task.model.rounds)
        router = routers.Switch(kind, tuple(everyone.values()))
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


class Resident:
    """A split on every device: images and labels as in `Split`, with a leading device axis."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = replicate((split.images, split.labels))
        self.count = len(split.labels)


def replicate(tree: PyTree) -> PyTree:
    """A copy of every leaf on each local device, along a new leading axis."""
    devices = jax.local_device_count()
    # The axis has the steps' name: with another, they would compile once more for its arrays.
    copy = jax.pmap(lambda _, leaves: leaves, AXIS, in_axes=(0, None))
    return copy(np.arange(devices), tree)


def unreplicate(tree: PyTree) -> PyTree:
    """The first device's copy, as NumPy arrays."""
    first = jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, tree)
    return jax.tree.map(lambda leaf: leaf[0], jax.device_get(first))
