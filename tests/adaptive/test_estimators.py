"""Estimators: which actions they try, and that their gradient is that of E_p[R]."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax.adaptive.estimators import ESTIMATORS, Policy

KEY = jax.random.key(0)


@pytest.mark.parametrize("name", ["reinforce", "gumbel"])
def test_estimators_agree_with_full_information_on_average(name):
    """On a fixed table of rewards, the mean gradient points where the exact one does."""
    logits = jnp.array([0.5, -0.2, 0.1, 0.3])
    rewards = jnp.array([0.4, 0.1, 0.5, -0.3])
    temperature = 0.1 if name == "gumbel" else 1.0

    def surrogate(estimator, logits, key):
        # Explores so much that reinforce would be biased without its correction.
        policy = Policy(key, jax.nn.log_softmax(logits)[None], 0.6, temperature)
        proposal = estimator.propose(policy)
        return estimator.surrogate(policy, proposal, rewards[proposal.actions], rewards[:1]).sum()

    exact = jax.grad(functools.partial(surrogate, ESTIMATORS["full_information"]))(logits, KEY)
    keys = jax.random.split(jax.random.key(5), 40_000)
    estimate = functools.partial(surrogate, ESTIMATORS[name])
    mean = jax.vmap(jax.grad(estimate), (None, 0))(logits, keys).mean(0)
    cosine = jnp.vdot(mean, exact) / jnp.linalg.norm(mean) / jnp.linalg.norm(exact)
    # Reinforce is unbiased; the straight-through estimator is not, but points the same way.
    if name == "reinforce":
        assert np.asarray(mean) == pytest.approx(np.asarray(exact), abs=0.01)
    assert float(cosine) > 0.9


def test_reinforce_learns_nothing_from_the_greedy_action():
    """Its reward is the baseline: no more, no less."""
    log_probs = jax.nn.log_softmax(jnp.array([[100.0, 0.0, 0.0]]))
    policy = Policy(KEY, log_probs, 0.0, 1.0)
    reinforce = ESTIMATORS["reinforce"]
    proposal = reinforce.propose(policy)
    rewards = jnp.array([0.7, 0.1, 0.2])[proposal.actions]
    assert float(reinforce.surrogate(policy, proposal, rewards, jnp.zeros(1))[0]) == 0.0
    better = rewards.at[0].add(0.1)
    grad = jax.grad(
        lambda log_probs: reinforce.surrogate(
            policy._replace(log_probs=log_probs), proposal, better, jnp.zeros(1)
        )[0]
    )(log_probs)
    assert float(grad[0, 0]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "tried"), [("full_information", 3), ("reinforce", 2), ("gumbel", 1)]
)
def test_proposals_are_actions_and_say_how_much_each_counts(name, tried):
    log_probs = jax.nn.log_softmax(jax.random.normal(KEY, (50, 4)))
    proposal = ESTIMATORS[name].propose(Policy(KEY, log_probs, 0.2, 1.0))
    assert proposal.actions.shape == proposal.weight.shape == (tried, 50)
    assert int(proposal.actions.min()) >= 0 and int(proposal.actions.max()) == 3
    total = proposal.weight.sum(0)
    expected = 1.0
    if name == "full_information":  # the rest is action 0's
        expected = 1 - (0.8 * np.exp(log_probs[:, 0]) + 0.2 / 4)
    assert np.asarray(total) == pytest.approx(np.broadcast_to(expected, 50), rel=1e-5)
