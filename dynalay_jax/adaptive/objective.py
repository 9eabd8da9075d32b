"""Reward and loss (Eqs. 2–3).

    R_i = α·[correct_i] − β·C_i − λ·n_i·C_i        L = CE − γ·E_p[R]

C_i is what an action costs beyond the straight pass, as a share of the model's budget: every layer
iterated for `max_steps`. (In multiples of the straight pass, as the paper can also be read, a solve
of a few evaluations costs more at β = 0.3 than a right answer wins, and the agent never iterates.)
With several rounds R is the return: α for being right in the end, less what all decisions cost.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dynalay_jax.adaptive import macs as cost_lib
from dynalay_jax.adaptive.estimators import ESTIMATORS, Policy
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.model import DynaLay, State
from dynalay_jax.adaptive.routers import as_mask
from dynalay_jax.solve.solution import Stats

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
        Scalar whose gradient is that of the loss (with several rounds its value is not: later
        returns count in it twice), and a dict of scalar means: return and its terms, of what the
        estimator draws; in the first round the entropy of the policy, and `action_0` …
        `action_L`, its probabilities.
    """
    game = _Game(model, params, settings, costs, epsilon, floor, entropy)
    state = call(model, game.frozen, DynaLay.begin, x)
    outlook, metrics = _play(game, state, labels, price, key, 0)
    for name in Reward._fields:
        metrics[f"reward_{name}"] = jnp.mean(getattr(outlook.value, name))
    metrics["reward"] = jnp.mean(outlook.value.total)
    return -jnp.mean(outlook.objective), metrics


@dataclasses.dataclass(frozen=True)
class _Game:
    """What does not change between the rounds; fields as in `agent_loss`."""

    model: DynaLay
    params: PyTree
    settings: Objective
    costs: cost_lib.Costs
    epsilon: jax.Array | float
    floor: jax.Array | float
    entropy: jax.Array | float

    @property
    def frozen(self) -> PyTree:
        return jax.lax.stop_gradient(self.params)


class _Outlook(NamedTuple):
    """What lies ahead of each sample [b]: its expected return, and what to maximise."""

    value: Reward
    objective: jax.Array


def _play(
    game: _Game, state: State, labels: jax.Array, price: jax.Array, key: jax.Array, i: int
) -> tuple[_Outlook, dict[str, jax.Array]]:
    """Round i and, from the state of every action that is tried, the rounds after it.

        Q(s, 0) = α·[correct(s)],    Q(s, a) = V(s') − β·C_a − λ·n·C_a,    V(s) = Σ_a q(a)·Q(s, a)

    with s' the state after a, q the exploring policy, and V = Q(·, 0) after the last round.
    """
    settings, estimator = game.settings, ESTIMATORS[game.settings.estimator]
    draw, later = jax.random.split(key)
    seen = call(game.model, game.params, DynaLay.observe, state, price, i)
    log_probs = floored(seen.log_probs, game.floor)
    policy = Policy(draw, log_probs, game.epsilon, settings.temperature)
    proposal = estimator.propose(policy)
    stop = _stopping(settings, state, labels, price)

    tries = len(proposal.actions)
    tile = lambda leaf: jnp.concatenate([leaf] * tries)
    tiled = jax.tree.map(tile, (state, labels, price))
    states, paid = _outcomes(game, tiled[0], proposal.actions.reshape(-1), tiled[2])
    ahead = _Outlook(_stopping(settings, states, *tiled[1:]), jnp.zeros_like(tiled[2]))
    if i + 1 < game.model.rounds:
        goes_on, _ = _play(game, states, tiled[1], tiled[2], later, i + 1)
        stopped = states.action == 0
        ahead = jax.tree.map(lambda end, more: jnp.where(stopped, end, more), ahead, goes_on)
    split = lambda leaf: leaf.reshape(tries, -1)
    values = jax.tree.map(lambda now, more: split(now + more), paid, ahead.value)

    surrogate = estimator.surrogate(policy, proposal, values.total, stop.total)
    uncertainty = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    objective = settings.gamma * surrogate + game.entropy * uncertainty
    objective += jnp.sum(proposal.reach * split(ahead.objective), axis=0)
    rest = 1 - jnp.sum(proposal.reach, axis=0)
    expected = lambda end, each: rest * end + jnp.sum(proposal.reach * each, axis=0)
    p = jnp.mean(jnp.exp(log_probs), axis=0)
    metrics = {f"action_{action}": p[action] for action in range(len(p))}
    metrics["routing_entropy"] = jnp.mean(uncertainty)
    return _Outlook(jax.tree.map(expected, stop, values), objective), metrics


def _stopping(settings: Objective, state: State, labels: jax.Array, price: jax.Array) -> Reward:
    """Reward [b] of no operation."""
    correct = jnp.argmax(state.logits, -1) == labels
    return settings.reward(correct, jnp.zeros_like(price), state.streak, price)


def _outcomes(
    game: _Game, state: State, actions: jax.Array, price: jax.Array
) -> tuple[State, Reward]:
    """States after the actions [b], and rewards [b] for what they cost."""
    iterate = as_mask(actions, len(game.model.widths))
    swept, sweep = call(game.model, game.frozen, DynaLay.sweep, state, iterate)
    macs = cost_lib.spent(game.costs, iterate[None], sweep.steps[None])
    share = macs / cost_lib.budget(game.costs, game.model.max_steps)
    return swept, game.settings.reward(jnp.zeros_like(iterate[:, 0]), share, swept.streak, price)


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
