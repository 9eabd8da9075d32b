"""Reward, and loss of the agent (Eqs. 2–3).

    R_i = α·[correct_i] − β·C_i − λ·n_i·C_i        L = CE − γ·E_p[R]

C_i is the cost of an action beyond the straight pass, as a share of the model's budget (every layer
iterated for `max_steps`). The paper can also be read as multiples of the straight pass. Then at
β = 0.3 a solve of a few evaluations costs more than a correct answer earns, and the agent never
iterates. With several rounds R is the return: α if the final answer is correct, minus the costs of
all decisions.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dynalay_jax.adaptive.agent import prices
from dynalay_jax.adaptive.estimators import ESTIMATORS, Policy
from dynalay_jax.adaptive.inspect import call, check_model
from dynalay_jax.adaptive.losses import check_labels
from dynalay_jax.adaptive.macs import Costs, budget, check_costs, spent
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.adaptive.routers import as_mask
from dynalay_jax.adaptive.state import State
from dynalay_jax.layers import validate

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
        alpha: reward of a right answer, α of Eq. 2.
        beta: weight of the cost, β of Eq. 2.
        gamma: weight of the expected reward in the loss, γ of Eq. 3.
        estimator: name in `ESTIMATORS`.
        fraction: share of a batch for which actions are compared.
        temperature: of the gumbel estimator.
    """

    alpha: float = 0.5
    beta: float = 0.3
    gamma: float = 0.2
    estimator: str = "full_information"
    fraction: float = 0.25
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            validate.not_negative(name, getattr(self, name))
        validate.one_of("estimator", self.estimator, ESTIMATORS)
        validate.positive("fraction", self.fraction)
        validate.share("fraction", self.fraction)
        validate.positive("temperature", self.temperature)

    def reward(
        self, correct: jax.Array, cost: jax.Array, streak: jax.Array, price: jax.Array
    ) -> Reward:
        """Terms of Eq. 2 for [correct] (bool), C (`cost`), n (`streak`) and λ (`price`).

        The arguments are broadcast against each other.
        """
        cost = cost.astype(jnp.float32)
        return Reward(
            self.alpha * correct.astype(jnp.float32),
            self.beta * cost,
            price * streak.astype(jnp.float32) * cost,
        )


def floored(log_probs: jax.Array, floor: jax.Array | float) -> jax.Array:
    """log of (1 − A·floor)·p + floor, with A actions: no probability is below `floor`."""
    # In logarithms, so that a probability that underflows stays finite if floor is 0.
    kept = jnp.log1p(-log_probs.shape[-1] * jnp.asarray(floor, log_probs.dtype))
    return jnp.logaddexp(log_probs + kept, jnp.log(jnp.asarray(floor, log_probs.dtype)))


def agent_loss(
    model: DynaLay,
    params: PyTree,
    x: jax.Array,
    labels: jax.Array,
    price: jax.Array | float,
    key: jax.Array,
    settings: Objective,
    costs: Costs,
    epsilon: jax.Array | float = 0.0,
    floor: jax.Array | float = 0.0,
    entropy: jax.Array | float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """−γ·E_p[R] − entropy bonus, with gradient for the agent alone.

    Args:
        model: the model.
        params: of `init`.
        x: inputs [b, ...].
        labels: int32 [b].
        price: λ, positive, scalar or [b].
        key: for exploration.
        settings: of reward and estimator.
        costs: of the model.
        epsilon: of the exploring policy, see `routers.behaviour`.
        floor: least probability of every action.
        entropy: weight of a bonus for the policy's entropy, added to γ·E_p[R].

    Returns:
        A scalar whose gradient is that of the loss (with several rounds its value is not the loss,
        because later returns count twice), and a dict of scalar means: the return and its terms,
        for the actions of the estimator; in the first round the entropy of the policy, and its
        probabilities `action_0` … `action_L`.
    """
    if not isinstance(settings, Objective):
        raise TypeError(f"settings: expected an Objective, got {validate.shown(settings)}.")
    check_model(model)
    actions = len(model.widths) + 1
    check_costs(costs, len(model.widths))
    validate.key("key", key)
    fits = lambda floor: (floor >= 0) & (floor * actions < 1)
    validate.number("floor", floor, f"a number from 0 to below 1/{actions}", fits)
    validate.not_negative("entropy", entropy)
    setup = _Setup(model, params, settings, costs, epsilon, floor, entropy)
    state = call(model, setup.frozen, DynaLay.begin, x)
    check_labels(labels, state.logits)
    price = prices(price, len(labels))
    expected, metrics = _expect(setup, state, labels, price, key, 0)
    for name in Reward._fields:
        metrics[f"reward_{name}"] = jnp.mean(getattr(expected.value, name))
    metrics["reward"] = jnp.mean(expected.value.total)
    return -jnp.mean(expected.objective), metrics


@dataclasses.dataclass(frozen=True)
class _Setup:
    """Arguments of `agent_loss` that do not change between the rounds."""

    model: DynaLay
    params: PyTree
    settings: Objective
    costs: Costs
    epsilon: jax.Array | float
    floor: jax.Array | float
    entropy: jax.Array | float

    @property
    def frozen(self) -> PyTree:
        return jax.lax.stop_gradient(self.params)


class _Expected(NamedTuple):
    """The expected return of each sample [b], and the objective to maximise."""

    value: Reward
    objective: jax.Array


def _expect(
    setup: _Setup, state: State, labels: jax.Array, price: jax.Array, key: jax.Array, i: int
) -> tuple[_Expected, dict[str, jax.Array]]:
    """Round i and, from the state after each proposed action, the rounds after it.

        Q(s, 0) = α·[correct(s)],    Q(s, a) = V(s') − β·C_a − λ·n·C_a,    V(s) = Σ_a q(a)·Q(s, a)

    Here s' is the state after a, q the exploring policy, and V = Q(·, 0) after the last round.
    """
    settings, estimator = setup.settings, ESTIMATORS[setup.settings.estimator]
    draw, later = jax.random.split(key)
    seen = call(setup.model, setup.params, DynaLay.observe, state, price, i)
    log_probs = floored(seen.log_probs, setup.floor)
    policy = Policy(draw, log_probs, setup.epsilon, settings.temperature)
    proposal = estimator.propose(policy)
    stop = _stop_reward(settings, state, labels, price)

    tries = len(proposal.actions)
    tile = lambda leaf: jnp.concatenate([leaf] * tries)
    tiled = jax.tree.map(tile, (state, labels, price))
    states, paid = _apply_actions(setup, tiled[0], proposal.actions.reshape(-1), tiled[2])
    ahead = _Expected(_stop_reward(settings, states, *tiled[1:]), jnp.zeros_like(tiled[2]))
    if i + 1 < setup.model.rounds:
        next_rounds, _ = _expect(setup, states, tiled[1], tiled[2], later, i + 1)
        stopped = states.action == 0
        ahead = jax.tree.map(lambda end, more: jnp.where(stopped, end, more), ahead, next_rounds)
    split = lambda leaf: leaf.reshape(tries, -1)
    values = jax.tree.map(lambda now, more: split(now + more), paid, ahead.value)

    surrogate = estimator.surrogate(policy, proposal, values.total, stop.total)
    uncertainty = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    objective = settings.gamma * surrogate + setup.entropy * uncertainty
    objective += jnp.sum(proposal.weight * split(ahead.objective), axis=0)
    rest = 1 - jnp.sum(proposal.weight, axis=0)
    mean = lambda end, each: rest * end + jnp.sum(proposal.weight * each, axis=0)
    p = jnp.mean(jnp.exp(log_probs), axis=0)
    metrics = {f"action_{action}": p[action] for action in range(len(p))}
    metrics["routing_entropy"] = jnp.mean(uncertainty)
    return _Expected(jax.tree.map(mean, stop, values), objective), metrics


def _stop_reward(settings: Objective, state: State, labels: jax.Array, price: jax.Array) -> Reward:
    """Reward [b] of action 0."""
    correct = jnp.argmax(state.logits, -1) == labels
    return settings.reward(correct, jnp.zeros_like(price), state.streak, price)


def _apply_actions(
    setup: _Setup, state: State, actions: jax.Array, price: jax.Array
) -> tuple[State, Reward]:
    """States after the actions [b], and the rewards [b] for their costs."""
    iterate = as_mask(actions, len(setup.model.widths))
    swept, sweep = call(setup.model, setup.frozen, DynaLay.sweep, state, iterate)
    macs = spent(setup.costs, sweep.iterate[None], sweep.steps[None])
    share = macs / budget(setup.costs, setup.model.most_steps())
    return swept, setup.settings.reward(jnp.zeros_like(iterate[:, 0]), share, swept.streak, price)
