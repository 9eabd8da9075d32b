"""A routed pass as a sequence of exits: the straight pass, then one more layer at each exit.

    exit 0   the straight pass
    exit e   layers 1 … e are iterated, the layers above run straight, and the head answers

Exit e gives the same answer as the router `first_e` (exit L: as `all`). One sweep leads from exit
e − 1 to exit e; earlier solves are kept. `macs.spent` charges each sweep like a round of its own:
evaluations of layer e's cell, the injections of the layers above, the head. An exit costs the sum
of the sweeps up to it. That is more than `first_e` costs, by the heads and the injections of the
exits that were passed.

An action of `stage` cells iterates the layers above as well. There exit e is the action L + 1 − e:
layers L + 1 − e … L are iterated. Each sweep begins at the straight pass.
"""

from collections.abc import Callable
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.adaptive import agent, macs, routers
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.adaptive.state import State, Sweep
from train.data.batches import evaluation_batches
from train.data.types import Split
from train.errors import UserError
from train.step import PyTree, Task

# Bytes of class probabilities held in memory, at most.
_MOST = 8e9


@dataclasses.dataclass(frozen=True)
class Exits:
    """The state, the answer and the cost of examples at each of their L + 1 exits.

    Attributes:
        phi: features of the state, leaves float32 [n, L + 1, ...]. The agent's own φ without
            residuals and price; the last action is the exit.
        log_probs: of the classes, float32 [n, L + 1, classes].
        cost: up to the exit, float32 [n, L + 1], in multiples of the straight pass beyond it.
        labels: int32 [n].
    """

    phi: agent.Phi
    log_probs: np.ndarray
    cost: np.ndarray
    labels: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether each exit's answer is right, bool [n, L + 1]."""
        return self.log_probs.argmax(-1) == self.labels[:, None]


def measurement(task: Task, variables: PyTree) -> Callable[[Split], Exits]:
    """One compiled program that takes every example of a split through all exits.

    It raises a UserError if the class probabilities do not fit into memory.
    """
    visit = jax.jit(lambda variables, x: sequence(task, variables, task.normalise(x)))

    def measure(split: Split) -> Exits:
        answers = len(task.model.widths) + 1
        size = 4 * len(split.labels) * answers * task.model.classes
        if size > _MOST:
            raise UserError(
                f"Expected class probabilities of at most {_MOST / 1e9:g} GB, got "
                f"{size / 1e9:.3g} GB: {answers} answers to {len(split.labels)} examples in "
                f"{task.model.classes} classes. Choose a run with fewer classes or examples."
            )
        parts = []
        for places, real in evaluation_batches(len(split.labels), task.config.eval_batch):
            images = split.images[places]
            part = visit(variables, images)
            parts.append(jax.tree.map(lambda leaf, real=real: np.asarray(leaf)[real], part))
        phi, log_probs, spent = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        return Exits(phi, log_probs, spent / np.float32(task.costs.straight), split.labels)

    return measure


def sequence(task: Task, variables: PyTree, x: jax.Array) -> tuple[agent.Phi, jax.Array, jax.Array]:
    """φ, class log-probabilities and MACs, as in `Exits`, of normalised inputs [b, ...]."""
    model, batch, layers = task.model, x.shape[0], len(task.model.widths)
    states = [call(model, variables, DynaLay.begin, x)]
    spent = [jnp.zeros((batch,), jnp.float32)]
    actions = range(1, layers + 1)
    for layer in reversed(actions) if model.by_route() else actions:
        before = states[0] if model.by_route() else states[-1]
        state, sweep = iterated(model, variables, before, layer)
        states.append(state)
        spent.append(spent[-1] + macs.spent(task.costs, sweep.iterate[None], sweep.steps[None]))
    # φ between sweeps, without residuals and price.
    none, one = jnp.zeros((batch, 0), jnp.float32), jnp.ones((batch,), jnp.float32)
    phis = (
        agent.features(s.hs[1:], s.logits, none, one, s.action, jnp.float32(0), model.last)
        for s in states
    )
    log_probs = jax.nn.log_softmax(jnp.stack([state.logits for state in states], 1))
    phi = jax.tree.map(lambda *leaves: jnp.stack(leaves, 1), *phis)
    return phi, log_probs, jnp.stack(spent, 1)


def iterated(
    model: DynaLay, variables: PyTree, state: State, layer: jax.Array | int
) -> tuple[State, Sweep]:
    """The sweep that iterates one layer, 1 … L, for every sample."""
    actions = jnp.full((state.logits.shape[0],), layer, jnp.int32)
    iterate = routers.as_mask(actions, len(model.widths))
    return call(model, variables, DynaLay.sweep, state, iterate)
