"""One training step and one evaluation step: pure functions, mapped by `train.parallel`."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from dynalay_jax.adaptive import losses, macs, objective, routers
from dynalay_jax.adaptive.inspect import call, probes
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.layers.base import STATISTICS
from dynalay_jax.solve.solution import BackwardStats, Status
from train.data.augment import augment
from train.schedule import Phase
from train.state import TrainState, join

PyTree = Any
AXIS = "devices"


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything that a step needs and that does not change during a run.

    Attributes:
        costs: MACs of the model's parts.
        mean, std: of the images, per channel, as in `Dataset`.
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
    probe = probes(trained_model(task, phase), len(labels)) if phase.trains_main else None
    (_, (metrics, measured)), (grads, backward) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        state.params, probe, x, labels, loss_key, state.step
    )
    if backward is not None:
        # The gradient of `probe` is the account of the backward solves, see `backward_probe`.
        # Samples whose backward solve was given up used the Jacobian-free gradient.
        solved = backward.status != Status.SKIPPED
        failed = jnp.sum(backward.given_up)
        metrics["backward_unconverged"] = failed / jnp.maximum(jnp.sum(solved), 1)
    grads, metrics, measured = jax.lax.pmean((grads, metrics, measured), AXIS)

    params, opt_states = {**state.params, **measured}, dict(state.optimizers)
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
    """The model with one round if the phase does not train the agent, which alone uses more."""
    return task.model if phase.trains_agent else task.model.clone(rounds=1)


def phase_loss(
    task: Task,
    phase: Phase,
    params: PyTree,
    probe: BackwardStats | None,
    x: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    step: jax.Array,
) -> tuple[jax.Array, tuple[dict[str, jax.Array], PyTree]]:
    """Eq. 3 for the networks that the phase trains; x is augmented.

    Returns:
        The loss; scalar means; {"statistics": ...} as newly measured, or {}.
    """
    train = task.config.train
    price_key, main_key, agent_key = jax.random.split(key, 3)
    low, high = task.config.price_range
    draw = jax.random.uniform(price_key, labels.shape, jnp.float32, np.log(low), np.log(high))
    price = jnp.exp(draw)
    variables = join(params)
    loss, metrics, measured = jnp.float32(0), dict[str, jax.Array](), {}
    explore = exploration(task, step) if phase.trains_agent else {}
    if phase.trains_main and task.model.by_route():
        weights = routers.Warmup(train.straight, train.everything).weights(len(task.model.widths))
        about = x, labels, weights, train.smoothing, train.distillation
        loss, (metrics, new) = losses.all_routes_loss(task.model, variables, *about)
        measured = {STATISTICS: new}
    elif phase.trains_main:
        shares = train.straight, train.everything, train.everything_layers
        router: routers.Router = routers.Warmup(*shares)
        if phase.trains_agent:
            router = routers.Mixture(train.exploring, router, routers.Agent(explore["epsilon"]))
        loss, metrics = losses.main_loss(
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
    if phase.trains_agent:
        some = max(1, round(task.objective.fraction * labels.shape[0]))
        agent_loss, agent_metrics = objective.agent_loss(
            task.model,
            variables,
            x[:some],
            labels[:some],
            price[:some],
            agent_key,
            task.objective,
            task.costs,
            **explore,
        )
        loss, metrics = loss + agent_loss, {**metrics, **agent_metrics}
    return loss, ({**metrics, "loss": loss}, measured)


def exploration(task: Task, step: jax.Array) -> dict[str, jax.Array]:
    """`epsilon` and `entropy` bonus, which fall linearly; `floor`, which is 0 after the fall."""
    settings = task.config.exploration
    agent_phases = [phase for phase in task.phases if phase.trains_agent]
    first, last = agent_phases[0].first, agent_phases[-1].last
    over = (step - first).astype(jnp.float32) / (settings.share * (last - first))
    left = 1 - jnp.clip(over, 0.0, 1.0)
    falling = lambda start, end: end + (start - end) * left
    return {
        "epsilon": falling(*settings.epsilon),
        "entropy": falling(*settings.entropy),
        "floor": jnp.where(left > 0, settings.floor, 0.0),
    }


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
        Arrays [b]: `predicted` int32 (class), `correct` bool, `loss` float32 (cross-entropy),
        `macs` float32 beyond the straight pass and without the agent, `steps` int32 (evaluations of
        cells), `decisions` int32 (rounds in which the agent was asked), `residual` float32 (worst
        of the solves, NaN if none), `converged` bool (all solves), `confidence` and
        `straight_confidence` float32 (largest class probability, in the end and of the straight
        pass), and bool [b, L] `iterated`
        (in any round) and `standing` (the solve holds at the end: iterating a lower layer in a
        later round undoes it).
    """
    variables = join(params)
    logits, trace = call(
        task.model, variables, DynaLay.__call__, task.normalise(images), router, price, key
    )
    sweeps = trace.sweeps
    iterated = sweeps.iterate
    worst = jnp.max(jnp.where(iterated, sweeps.residual, -1.0), axis=(0, 2))
    asked = 1 + jnp.sum(jnp.any(iterated, -1)[:-1], axis=0)
    predicted = jnp.argmax(logits, -1)
    return {
        "predicted": predicted,
        "correct": predicted == labels,
        "loss": optax.softmax_cross_entropy_with_integer_labels(logits, labels),
        "macs": macs.spent(task.costs, iterated, sweeps.steps),
        "steps": jnp.sum(jnp.where(iterated, sweeps.steps, 0), axis=(0, 2)),
        "decisions": asked.astype(jnp.int32),
        "residual": jnp.where(worst < 0, jnp.nan, worst),
        "converged": jnp.all(~iterated | (sweeps.status == Status.CONVERGED), axis=(0, 2)),
        "confidence": jnp.max(jax.nn.softmax(logits), axis=-1),
        "straight_confidence": jnp.max(jax.nn.softmax(trace.straight_logits), axis=-1),
        "iterated": jnp.any(iterated, axis=0),
        "standing": _standing(iterated),
    }


def _standing(iterate: jax.Array) -> jax.Array:
    """Whose solves stand after all rounds, bool [rounds, b, L] → [b, L]."""
    standing = jnp.zeros_like(iterate[0])
    for now in iterate:
        standing = now | (standing & ~macs.above_lowest(now))
    return standing
