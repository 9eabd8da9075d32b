"""Estimators of the gradient of E_p[R] (Eq. 3); the reward is not differentiable in the action.

    ∇ E_p[R] ≈ ∇ surrogate(policy, proposal, rewards of the proposed actions)

`propose` selects actions from the policy; the rewards come from running them; the gradient of the
`surrogate` estimates that of E_p[R].
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dynalay_jax.adaptive.routers import behaviour, explore


class Policy(NamedTuple):
    """The agent's policy in a round.

    Attributes:
        key: for random draws.
        log_probs: log p(action), [b, L + 1].
        epsilon: probability of a uniform action, see `routers.behaviour`.
        temperature: of the gumbel estimator.
    """

    key: jax.Array
    log_probs: jax.Array
    epsilon: jax.Array | float
    temperature: float


class Proposal(NamedTuple):
    """Actions to run.

    Attributes:
        actions: int32 [K, b].
        weight: float32 [K, b], without gradient: the share of each action in the expected return,
            and in the loss of the next round. The rest to 1 is the share of action 0.
    """

    actions: jax.Array
    weight: jax.Array


class Estimator(Protocol):
    """A rule that makes E_p[R] differentiable.

    `propose` returns the actions to run. `surrogate` returns [b], from the rewards [K, b] of these
    actions and the reward `stop` [b] of action 0. Its gradient in the policy's log p estimates that
    of E_p[R].
    """

    @staticmethod
    def propose(policy: Policy) -> Proposal: ...

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stop: jax.Array
    ) -> jax.Array: ...


class FullInformation:
    """E_p[R] = Σ_a p(a)·R(a), exactly: all L + 1 actions are evaluated."""

    @staticmethod
    def propose(policy: Policy) -> Proposal:
        batch, actions = policy.log_probs.shape
        layers = jnp.tile(jnp.arange(1, actions)[:, None], (1, batch))
        weight = behaviour(jax.lax.stop_gradient(policy.log_probs), policy.epsilon)
        return Proposal(layers, weight[:, 1:].T)

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stop: jax.Array
    ) -> jax.Array:
        table = jnp.concatenate([stop[None], rewards])
        return jnp.sum(jnp.exp(policy.log_probs) * table.T, axis=-1)


class Reinforce:
    """Policy gradient with the greedy action's reward as baseline, as in self-critical training.

    The action is drawn from the exploring policy; an importance weight corrects for that.

    References:
        Williams, Machine Learning 8, 1992; Wu et al., BlockDrop, CVPR 2018.
    """

    @staticmethod
    def propose(policy: Policy) -> Proposal:
        drawn = explore(policy.key, policy.log_probs, policy.epsilon)
        greedy = jnp.argmax(policy.log_probs, axis=-1)
        weight = jnp.ones_like(policy.log_probs[:, 0])
        return Proposal(jnp.stack([drawn, greedy]), jnp.stack([weight, jnp.zeros_like(weight)]))

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stop: jax.Array
    ) -> jax.Array:
        drawn = proposal.actions[0][:, None]
        pick = lambda table: jnp.take_along_axis(table, drawn, axis=-1)[:, 0]
        log_p = pick(policy.log_probs)
        explored = pick(behaviour(policy.log_probs, policy.epsilon))
        weight = jax.lax.stop_gradient(jnp.exp(log_p) / explored)
        return weight * log_p * (rewards[0] - rewards[1])


class Gumbel:
    """Straight-through Gumbel-softmax: Σ_a y_a·R(a), y one-hot forward, soft backward.

    Only the drawn action and action 0 have rewards; the other actions count as action 0.

    References:
        Jang, Gu and Poole, Categorical Reparameterization with Gumbel-Softmax, ICLR 2017.
    """

    @staticmethod
    def _soft(policy: Policy) -> jax.Array:
        noise = jax.random.gumbel(policy.key, policy.log_probs.shape, policy.log_probs.dtype)
        return jax.nn.softmax((policy.log_probs + noise) / policy.temperature)

    @staticmethod
    def propose(policy: Policy) -> Proposal:
        drawn = jnp.argmax(Gumbel._soft(policy), axis=-1)
        return Proposal(drawn[None], jnp.ones(drawn[None].shape, policy.log_probs.dtype))

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stop: jax.Array
    ) -> jax.Array:
        soft = Gumbel._soft(policy)
        chosen = jax.nn.one_hot(proposal.actions[0], soft.shape[-1], dtype=soft.dtype)
        y = chosen + soft - jax.lax.stop_gradient(soft)
        return stop + jnp.sum(y * chosen, axis=-1) * (rewards[0] - stop)


ESTIMATORS: dict[str, type[Estimator]] = {
    "full_information": FullInformation,
    "reinforce": Reinforce,
    "gumbel": Gumbel,
}
