"""The agent: what it sees, that it does not pull at the model, and its two-level softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax.adaptive import agent

pytestmark = pytest.mark.usefixtures("flax_promotion")
HS = (jnp.ones((2, 4, 4, 8)), jnp.ones((2, 2, 2, 6)))
LOGITS = jnp.log(jnp.array([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]]))


def phi(hs=HS, logits=LOGITS, price=(0.1, 1.0), action=(0, 2), residuals=None):
    residuals = jnp.zeros((2, 0)) if residuals is None else residuals
    return agent.features(
        hs, logits, residuals, jnp.array(price), jnp.array(action), jnp.float32(0)
    )


def test_features_hold_pools_uncertainty_price_and_history():
    assert phi().activations.shape == (2, 2 * (8 + 6))
    entropy, margin, odds, price, *history = np.asarray(phi().metrics).T
    assert entropy == pytest.approx([0.8018, np.log(3)], abs=1e-3)
    assert margin == pytest.approx([0.5, 0.0], abs=1e-5)
    assert odds == pytest.approx(np.log([0.7 / 0.3, 0.5]), abs=1e-5)
    assert price == pytest.approx(np.log([0.1, 1.0]))
    assert np.stack(history).T.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert phi(residuals=jnp.ones((2, 2))).metrics.shape[1] == phi().metrics.shape[1] + 2


def test_features_are_finite_where_the_model_is_certain():
    certain = phi(logits=jnp.array([[100.0, 0.0, 0.0], [0.0, 1000.0, 0.0]]))
    assert np.isfinite(certain.metrics).all()


def test_pool_is_mean_and_maximum():
    h = jnp.arange(2 * 4 * 3, dtype=jnp.float32).reshape(1, 4, 2, 3)
    assert agent.pool(h)[0].tolist() == [*h.mean((1, 2))[0].tolist(), *h.max((1, 2))[0].tolist()]
    assert agent.pool(jnp.ones((2, 5), jnp.bfloat16)).dtype == jnp.float32
    assert agent.pool(h, last=True).tolist() == h[:, -1, -1].tolist()


def test_no_gradient_flows_to_what_the_agent_sees():
    net = agent.AgentNet(3)
    params = net.init(jax.random.key(0), phi())
    loss = lambda hs, logits: net.apply(params, phi(hs, logits))[:, 0].sum()
    grads = jax.grad(loss, argnums=(0, 1))(HS, LOGITS)
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("actions", [2, 4])
def test_probabilities_of_all_actions_sum_to_one(actions):
    net = agent.AgentNet(actions)
    log_probs = net.apply(net.init(jax.random.key(0), phi()), phi())
    assert log_probs.shape == (2, actions)
    assert jnp.exp(log_probs).sum(-1) == pytest.approx([1, 1], abs=1e-6)


def test_tail_depends_on_the_state_through_its_narrow_projection_only():
    net = agent.AgentNet(4, tail=5)
    params = net.init(jax.random.key(0), phi())["params"]
    assert params["project"]["kernel"].shape == (128, 5)
    muted = jax.tree.map(lambda leaf: leaf, params) | {
        "project": {"kernel": jnp.zeros_like(params["project"]["kernel"])}
    }
    tail = jnp.exp(net.apply({"params": muted}, phi()))[:, 1:]
    shares = tail / tail.sum(-1, keepdims=True)
    assert jnp.allclose(shares[0], shares[1], atol=1e-6)
    full = jnp.exp(net.apply({"params": params}, phi()))[:, 1:]
    assert not jnp.allclose(full[0] / full[0].sum(), full[1] / full[1].sum(), atol=1e-4)


def test_size_stays_within_its_bound():
    net = agent.AgentNet(4)
    shape = lambda size: jax.ShapeDtypeStruct((1, size), jnp.float32)
    seen = agent.Phi(shape(2 * (64 + 128 + 256)), shape(8))
    params = jax.eval_shape(net.init, jax.random.key(0), seen)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) < 300_000
