"""Halting distributions and losses against numbers worked out by hand, and networks that learn."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax.adaptive import agent
from train.studies import halting_nets
from train.studies.exits import Exits

pytestmark = pytest.mark.usefixtures("flax_promotion")


def logit(*probabilities):
    return jnp.log(jnp.array(probabilities)) - jnp.log1p(-jnp.array(probabilities))


def test_ponder_loss():
    log_probs, spent = -jnp.array([[2.0, 1.0, 0.0]]), jnp.zeros((1, 3))
    loss = lambda *halt, prior: halting_nets.ponder_loss(logit(halt), log_probs, spent, prior)
    # At the prior itself only the cross-entropy is left: 0.5 · 2 + 0.25 · 1.
    np.testing.assert_allclose(loss(0.5, 0.5, prior=0.5), 1.25, rtol=1e-5)
    p, geometric = np.array([0.5, 0.1, 0.4]), np.array([0.9, 0.09, 0.01])
    divergence = np.sum(p * np.log(p / geometric))
    np.testing.assert_allclose(
        loss(0.5, 0.2, prior=0.9), 1.1 + halting_nets._BETA * divergence, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("halt", "p", "at"),
    [
        ((0.3, 0.5), [0.3, 0.5, 0.2], 2),
        ((0.6, 0.6), [0.6, 0.4, 0.0], 1),
        ((0.995, 0.6), [1.0, 0.0, 0.0], 0),
        ((0.5, 0.495), [0.5, 0.5, 0.0], 1),
    ],
)
def test_act_halts_where_the_sum_is_one_but_for_epsilon(halt, p, at):
    weights, halts = halting_nets.act_weights(logit(*halt))
    np.testing.assert_allclose(weights, p, atol=1e-6)
    np.testing.assert_array_equal(halts, np.arange(3) == at)


def test_the_network_is_charged_at_every_exit_but_the_last():
    task = SimpleNamespace(
        costs=SimpleNamespace(straight=50.0), model=SimpleNamespace(widths=(4, 4))
    )
    phi = agent.Phi(np.zeros((2, 3, 7), np.float32), np.zeros((2, 3, 4), np.float32))
    cost = np.array([[0.1, 2.0, 5.0], [0.1, 3.0, 6.0]])
    seen = Exits(phi, np.zeros((2, 3, 3)), cost, np.zeros(2, np.int32))
    charged = halting_nets.charged(halting_nets.HaltingNet(5), task, seen)
    one = ((7 + 4) * 5 + 5 * 5 + 5) / 50
    np.testing.assert_allclose(charged.cost - cost, np.tile([one, 2 * one, 2 * one], (2, 1)))


def test_act_loss():
    log_probs, spent = jnp.log(jnp.array([[0.2, 0.6, 0.9]])), jnp.array([[0.1, 3.0, 7.0]])
    loss = lambda h, tau: halting_nets.act_loss(logit(*h)[None], log_probs, spent, tau)
    slope_at = jax.jit(jax.grad(loss))
    # It halts at exit 1 with the remainder 0.4: the step there cost 2.9.
    mixture, ponder = 0.6 * 0.2 + 0.4 * 0.6, 3.0 + 0.4 * 2.9
    h = jnp.array([0.6, 0.7])
    np.testing.assert_allclose(loss(h, 0.5), -np.log(mixture) + 0.5 * ponder, rtol=1e-5)
    # As Graves has it, what was halted before N shortens the remainder, and N has no gradient.
    slope = slope_at(h, 0.5) - slope_at(h, 0.0)
    np.testing.assert_allclose(slope, [-0.5 * 2.9, 0.0], atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "setting"), [(halting_nets.ponder_loss, 0.9), (halting_nets.act_loss, 0.05)]
)
def test_networks_learn_who_needs_the_next_exit(loss, setting, monkeypatch):
    monkeypatch.setattr(halting_nets, "_STEPS", 100)
    hard = np.arange(64) % 2 == 0
    sides = np.where(hard, 1.0, -1.0).astype(np.float32)
    sides = np.stack([sides, -sides, np.ones(64, np.float32)], -1)[:, None].repeat(2, 1)
    phi = agent.Phi(sides, sides)
    right = np.stack([np.where(hard, 0.01, 0.99), np.full(64, 0.99)], -1)
    log_probs = np.log(np.stack([right, 1 - right], -1)).astype(np.float32)
    cost = np.tile(np.array([0.0, 2.0], np.float32), (64, 1))
    seen = Exits(phi, log_probs, cost, np.zeros(64, np.int32))
    net = halting_nets.HaltingNet(8)
    params = halting_nets.fit(net, loss, seen, [setting, setting], seed=0)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(2))
    before = agent.Phi(sides[:, :1], sides[:, :1])
    halt = jax.nn.sigmoid(net.apply(first, before))[:, 0]
    assert np.all(halt[hard] < 0.3) and np.all(halt[~hard] > 0.6)
    again = jax.nn.sigmoid(net.apply(second, before))[:, 0]
    np.testing.assert_allclose(again, halt, rtol=1e-3)
