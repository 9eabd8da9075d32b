"""Estimators of the gradient of E_p[R] (Eq. 3): the reward is not differentiable in the action.

policy → propose: which actions to try → their rewards → surrogate, whose gradient it is
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from dynalay_jax.adaptive.routers import behaviour, explore


class Policy(NamedTuple):
    """The agent's policy in a round.

    Attributes:
        key: for what is drawn from it.
        log_probs: log p(action), [b, L + 1].
        epsilon: of ε-greedy exploring.
        temperature: of the gumbel estimator.
    """

    key: jax.Array
    log_probs: jax.Array
    epsilon: jax.Array | float
    temperature: float


class Proposal(NamedTuple):
    """Actions whose outcomes an estimator wants to know.

    Attributes:
        actions: int32 [K, b].
        reach: float32 [K, b], how much each of them counts in what is expected of this round and
            learnt in the next, without gradient; what is missing to 1 is no operation's.
    """

    actions: jax.Array
    reach: jax.Array


class Estimator(Protocol):
    """How E_p[R] becomes something to differentiate.

    `propose` says which actions to evaluate. `surrogate` gives [b] whose gradient in the policy's
    log p estimates that of E_p[R], from the actions' rewards [K, b] and the reward `stay` [b] of no
    operation.
    """

    @staticmethod
    def propose(policy: Policy) -> Proposal: ...

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stay: jax.Array
    ) -> jax.Array: ...


class FullInformation:
    """E_p[R] = Σ_a p(a)·R(a), exactly: all L + 1 actions are evaluated."""

    @staticmethod
    def propose(policy: Policy) -> Proposal:
        batch, actions = policy.log_probs.shape
        every = jnp.tile(jnp.arange(1, actions)[:, None], (1, batch))
        reach = behaviour(jax.lax.stop_gradient(policy.log_probs), policy.epsilon)
        return Proposal(every, reach[:, 1:].T)

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stay: jax.Array
    ) -> jax.Array:
        del proposal
        table = jnp.concatenate([stay[None], rewards])
        return jnp.sum(jnp.exp(policy.log_probs) * table.T, axis=-1)


class Reinforce:
    """Policy gradient with the greedy action's reward as baseline, as in self-critical training.

    The action comes from the exploring policy; its probability there corrects the weight.

    References:
        Williams, Machine Learning 8, 1992; Wu et al., BlockDrop, CVPR 2018.
    """

    @staticmethod
    def propose(policy: Policy) -> Proposal:
        drawn = explore(policy.key, policy.log_probs, policy.epsilon)
        greedy = jnp.argmax(policy.log_probs, axis=-1)
        reach = jnp.ones_like(policy.log_probs[:, 0])
        return Proposal(jnp.stack([drawn, greedy]), jnp.stack([reach, jnp.zeros_like(reach)]))

    @staticmethod
    def surrogate(
        policy: Policy, proposal: Proposal, rewards: jax.Array, stay: jax.Array
    ) -> jax.Array:
        del stay
        drawn = proposal.actions[0][:, None]
        pick = lambda table: jnp.take_along_axis(table, drawn, axis=-1)[:, 0]
        log_p = pick(policy.log_probs)
        explored = pick(behaviour(policy.log_probs, policy.epsilon))
        weight = jax.lax.stop_gradient(jnp.exp(log_p) / explored)
        return weight * log_p * (rewards[0] - rewards[1])


class Gumbel:
    """Straight-through Gumbel-softmax: Σ_a y_a·R(a), y one-hot forward, soft backward.

    Only the drawn action and no operation are evaluated; the others count as no operation.

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
        policy: Policy, proposal: Proposal, rewards: jax.Array, stay: jax.Array
    ) -> jax.Array:
        soft = Gumbel._soft(policy)
        chosen = jax.nn.one_hot(proposal.actions[0], soft.shape[-1], dtype=soft.dtype)
        y = chosen + soft - jax.lax.stop_gradient(soft)
        return stay + jnp.sum(y * chosen, axis=-1) * (rewards[0] - stay)


ESTIMATORS: dict[str, type[Estimator]] = {
    "full_information": FullInformation,
    "reinforce": Reinforce,
    "gumbel": Gumbel,
}
