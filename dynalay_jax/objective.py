"""Reward and loss (Eqs. 2–3).

    R_i = α·[correct_i] − β·C_i − λ·n_i·C_i        L = CE − γ·E_p[R]

C_i is what an action costs beyond the straight pass, as a share of the model's budget: every layer
iterated for `max_steps`. (In multiples of the straight pass, as the paper can also be read, a solve
of a few evaluations costs more at β = 0.3 than a right answer wins, and the agent never iterates.)
With several rounds each decision is rewarded as if it were the last.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dynalay_jax import cost as cost_lib
from dynalay_jax.estimators import ESTIMATORS, Policy, Proposal
from dynalay_jax.model import DynaLay, State, call
from dynalay_jax.routers import as_mask
from dynalay_jax.solution import Stats

PyTree = Any


class Reward(NamedTuple):
    """The terms of Eq. 2; float32 of one shape, samples on the last axis."""

    correct: jax.Array
    cost: jax.Array
    penalty: jax.Array

    @property
    def total(self) -> jax.Array:
        """R = correct − cost − penalty."""
        return self.correct - self.cost - self.penalty


@dataclasses.dataclass(frozen=True)
class Objective:
    """Settings of reward, loss and estimator.

    Attributes:
        alpha, beta, gamma: of Eqs. 2 and 3.
        estimator: name in `ESTIMATORS`.
        fraction: share of a batch on which actions are compared.
        temperature: of the gumbel estimator.
    """

    alpha: float = 0.5
    beta: float = 0.3
    gamma: float = 0.2
    estimator: str = "full_information"
    fraction: float = 0.25
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            known = ", ".join(ESTIMATORS)
            raise ValueError(f"estimator: expected one of {known}, got {self.estimator!r}.")

    def reward(
        self, correct: jax.Array, cost: jax.Array, streak: jax.Array, price: jax.Array
    ) -> Reward:
        """Terms of Eq. 2 for [correct] (bool), C, n (int) and λ, broadcast against each other."""
        cost = cost.astype(jnp.float32)
        return Reward(
            self.alpha * correct.astype(jnp.float32),
            self.beta * cost,
            price * streak.astype(jnp.float32) * cost,
        )


def floored(log_probs: jax.Array, floor: jax.Array | float) -> jax.Array:
    """log of (1 − A·floor)·p + floor: no action of A falls below `floor`."""
    # In logarithms: a probability that underflows must not make them infinite where floor is 0.
    kept = jnp.log1p(-log_probs.shape[-1] * jnp.asarray(floor, log_probs.dtype))
    return jnp.logaddexp(log_probs + kept, jnp.log(jnp.asarray(floor, log_probs.dtype)))


def agent_loss(
    model: DynaLay,
    params: PyTree,
    x: jax.Array,
    labels: jax.Array,
    price: jax.Array,
    key: jax.Array,
    settings: Objective,
    costs: cost_lib.Costs,
    epsilon: jax.Array | float = 0.0,
    floor: jax.Array | float = 0.0,
    entropy: jax.Array | float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """−γ·E_p[R] − entropy bonus, with gradient for the agent alone.

    Args:
        model, params: the model.
        x: inputs [b, ...].
        labels: int32 [b].
        price: λ, float32 [b].
        key: for exploring.
        settings: of reward and estimator.
        costs: of the model.
        epsilon: of the exploring policy.
        floor: of every action's probability.
        entropy: weight of a bonus for the policy's entropy, beside γ·E_p[R].

    Returns:
        Scalar loss, and a dict of scalar means over the first round: reward and its terms, of an
        action of the exploring policy; the entropy of the policy; `action_0` … `action_L`, its
        probabilities.
    """
    estimator = ESTIMATORS[settings.estimator]
    unit = cost_lib.budget(costs, model.max_steps)
    frozen = jax.lax.stop_gradient(params)
    state = call(model, frozen, DynaLay.begin, x)
    going = jnp.ones(labels.shape, bool)
    objective = jnp.float32(0)
    metrics: dict[str, jax.Array] = {}
    for i in range(model.rounds):
        key, draw = jax.random.split(key)
        seen = call(model, params, DynaLay.observe, state, price, i)
        log_probs = floored(seen.log_probs, floor)
        policy = Policy(draw, log_probs, epsilon, settings.temperature)
        proposal = estimator.propose(policy)
        states, rewards = _outcomes(
            model, frozen, state, proposal.actions, labels, price, settings, costs, unit
        )
        right = jnp.argmax(state.logits, -1) == labels
        stay = settings.reward(right, jnp.zeros_like(price), state.streak, price)
        surrogate = estimator.surrogate(policy, proposal, rewards.total, stay.total)
        uncertainty = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
        per_sample = settings.gamma * surrogate + entropy * uncertainty
        objective += jnp.mean(jnp.where(going, per_sample, 0.0))
        if i == 0:
            metrics = _agent_metrics(log_probs, proposal, rewards, stay, uncertainty)
        if i + 1 < model.rounds:
            state = _follow(state, states, proposal.follow)
            going &= state.action > 0
    return -objective, metrics


def _outcomes(
    model: DynaLay,
    params: PyTree,
    state: State,
    actions: jax.Array,
    labels: jax.Array,
    price: jax.Array,
    settings: Objective,
    costs: cost_lib.Costs,
    unit: float,
) -> tuple[State, Reward]:
    """States and rewards [K, b, ...] of the actions [K, b], all swept as one batch of K·b."""
    tries, batch = actions.shape
    tile = lambda leaf: jnp.concatenate([leaf] * tries)
    split = lambda leaf: leaf.reshape(tries, batch, *leaf.shape[1:])
    iterate = as_mask(actions.reshape(-1), len(model.widths))
    swept, sweep = call(model, params, DynaLay.sweep, jax.tree.map(tile, state), iterate)
    macs = cost_lib.spent(costs, iterate[None], sweep.steps[None])
    states = jax.tree.map(split, swept)
    correct = jnp.argmax(states.logits, -1) == labels
    return states, settings.reward(correct, split(macs) / unit, states.streak, price)


def _follow(state: State, states: State, which: jax.Array) -> State:
    """For each sample the state itself (which = 0) or that of candidate `which`."""
    every = jax.tree.map(lambda old, new: jnp.concatenate([old[None], new]), state, states)
    stopped = which == 0
    chosen = jax.tree.map(lambda table: _pick(table, which), every)
    return chosen._replace(action=jnp.where(stopped, 0, chosen.action))


def _pick(table: jax.Array, which: jax.Array) -> jax.Array:
    """table[which[i], i] of a table [K, b, ...]: [b, ...]."""
    index = which.reshape(1, -1, *[1] * (table.ndim - 2))
    return jnp.take_along_axis(table, index, axis=0)[0]


def _agent_metrics(
    log_probs: jax.Array, proposal: Proposal, rewards: Reward, stay: Reward, entropy: jax.Array
) -> dict[str, jax.Array]:
    p = jnp.exp(log_probs)
    metrics = {"routing_entropy": jnp.mean(entropy)}
    table = jax.tree.map(lambda s, r: jnp.concatenate([s[None], r]), stay, rewards)
    followed = Reward(*(_pick(term, proposal.follow) for term in table))
    for name in Reward._fields:
        metrics[f"reward_{name}"] = jnp.mean(getattr(followed, name))
    metrics["reward"] = jnp.mean(followed.total)
    for action in range(p.shape[-1]):
        metrics[f"action_{action}"] = jnp.mean(p[:, action])
    return metrics


def main_loss(
    model: DynaLay,
    params: PyTree,
    x: jax.Array,
    labels: jax.Array,
    router: Callable,
    price: jax.Array,
    key: jax.Array,
    costs: cost_lib.Costs,
    label_smoothing: float = 0.0,
    probe: Stats | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of the routed pass; FPI gradients reach only the layers iterated (Eq. 4).

    Args:
        model, params, x, labels, price, key, costs: as in `agent_loss`.
        router: who decides.
        label_smoothing: in [0, 1).
        probe: see `model.probes`.

    Returns:
        Scalar loss, and a dict of scalar means: `cross_entropy`, `accuracy`, `macs` (of the whole
        pass, per sample), `steps` (of iterated samples), `unconverged` (share of solves).
    """
    logits, trace = call(model, params, DynaLay.__call__, x, router, price, key, probe)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    loss = jnp.mean(optax.softmax_cross_entropy(logits, targets))
    sweeps = trace.sweeps
    solves = jnp.maximum(jnp.sum(sweeps.iterate), 1).astype(jnp.float32)
    over = lambda value: jnp.sum(value).astype(jnp.float32) / solves
    macs = cost_lib.spent(costs, sweeps.iterate, sweeps.steps)
    return loss, {
        "cross_entropy": loss,
        "accuracy": jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32)),
        "macs": jnp.mean(macs) + costs.straight,
        "steps": over(jnp.where(sweeps.iterate, sweeps.steps, 0)),
        "unconverged": over(sweeps.iterate & (sweeps.status != 0)),
    }
