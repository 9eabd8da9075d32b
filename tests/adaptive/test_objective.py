"""Reward and loss: Eqs. 2–3 by hand, whom the gradient reaches, what the policy learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynalay_jax.adaptive import losses, objective, routers
from dynalay_jax.adaptive import macs as cost
from dynalay_jax.adaptive.estimators import ESTIMATORS
from dynalay_jax.adaptive.inspect import costs, init
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.adaptive.objective import Objective
import problems

pytestmark = pytest.mark.usefixtures("flax_promotion")

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (32, 5))
LABELS = jax.random.randint(jax.random.key(2), (32,), 0, 3)
PRICE = jnp.full(32, 0.1)


@functools.cache
def built(rounds=1):
    """A small dense model: what these tests check does not depend on the cell."""
    model = DynaLay(
        classes=3, widths=(8, 8), strides=(1, 1), cell="dense", rounds=rounds, max_steps=50
    )
    return model, init(model, jax.random.key(3), (5,)), costs(model, (5,))


SETTINGS = {name: Objective(beta=2.0, estimator=name) for name in ESTIMATORS}
FULL = SETTINGS["full_information"]


@functools.cache
def differentiated(settings, rounds=1):
    """Compiled ((loss, metrics), gradient) of the agent's loss."""
    model, _, counted = built(rounds)

    def loss(params, epsilon, entropy):
        explore = {"epsilon": epsilon, "entropy": entropy}
        return objective.agent_loss(
            model, params, X, LABELS, PRICE, KEY, settings, counted, **explore
        )

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def agent_loss(params, settings=FULL, rounds=1, epsilon=0.0, entropy=0.0):
    return differentiated(settings, rounds)(params, epsilon, entropy)


def test_reward_is_equation_2():
    reward = Objective().reward(
        jnp.array([True, True, False]), jnp.array([0.0, 0.2, 0.2]), jnp.array([0, 1, 3]),
        jnp.array([0.1, 0.1, 0.5]),
    )  # fmt: skip
    expected = [0.5, 0.5 - 0.3 * 0.2 - 0.1 * 0.2, -0.3 * 0.2 - 0.5 * 3 * 0.2]
    assert reward.total == pytest.approx(expected)


def test_full_information_is_the_expected_reward():
    model, params, counted = built()
    (loss, metrics), _ = agent_loss(params)
    log_probs, table = None, []
    routed = jax.jit(lambda actions: model.apply(params, X, problems.route(actions), PRICE, KEY))
    for action in range(3):
        logits, trace = routed(jnp.full(32, action))
        macs = cost.spent(counted, trace.sweeps.iterate, trace.sweeps.steps)
        share = macs / cost.budget(counted, model.max_steps)
        right = jnp.argmax(logits, -1) == LABELS
        table.append(FULL.alpha * right - (FULL.beta + PRICE) * share)
        log_probs = trace.log_probs[0]
    expected = jnp.sum(jnp.exp(log_probs) * jnp.stack(table, -1), -1).mean()
    assert loss == pytest.approx(-0.2 * float(expected), rel=1e-4)
    probabilities = [float(metrics[f"action_{a}"]) for a in range(3)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    terms = metrics["reward_correct"] - metrics["reward_cost"] - metrics["reward_penalty"]
    assert terms == pytest.approx(float(metrics["reward"]), abs=1e-6)


@pytest.mark.slow
def test_with_two_rounds_the_gradient_is_that_of_the_expected_return():
    """By hand, over all nine paths: right in the end, and every decision paid."""
    model, params, counted = built(2)
    budget = cost.budget(counted, model.max_steps)

    def value(params, state, i):
        right = FULL.alpha * (state.logits.argmax(-1) == LABELS)
        if i == model.rounds:
            return right
        p = jnp.exp(model.apply(params, state, PRICE, i, method="observe").log_probs)
        total = p[:, 0] * right
        for action in (1, 2):
            iterate = routers.as_mask(jnp.full(32, action), 2)
            after, sweep = model.apply(params, state, iterate, method="sweep")
            paid = cost.spent(counted, iterate[None], sweep.steps[None]) / budget
            paid *= FULL.beta + PRICE * after.streak
            total += p[:, action] * (value(params, after, i + 1) - paid)
        return total

    def exact(params):
        return -FULL.gamma * value(params, model.apply(params, X, method="begin"), 0).mean()

    (_, metrics), gradient = agent_loss(params, rounds=2)
    by_hand, expected = jax.jit(jax.value_and_grad(exact))(params)
    assert -FULL.gamma * metrics["reward"] == pytest.approx(float(by_hand), rel=1e-5)
    agents = [tree["params"]["agent"] for tree in (gradient, expected)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=1e-4), *agents)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(agents[0])) > 1e-3


@pytest.mark.parametrize("name", ESTIMATORS)
def test_samples_that_have_stopped_earn_nothing_in_later_rounds(name):
    params = jax.tree.map(lambda leaf: leaf, built()[1])
    agent = params["params"]["agent"]
    # Surely action 0 in the first round, and surely another in the second: by progress alone.
    trunk = agent["trunk"] = jax.tree.map(jnp.zeros_like, agent["trunk"])
    trunk["metrics"]["kernel"] = trunk["metrics"]["kernel"].at[-1, 0].set(1.0)
    trunk["Dense_0"]["kernel"] = trunk["Dense_0"]["kernel"].at[0, 0].set(1.0)
    agent["head"] = {
        "kernel": jnp.full_like(agent["head"]["kernel"], 1e3),
        "bias": jnp.full_like(agent["head"]["bias"], -100.0),
    }
    one, two = (agent_loss(params, SETTINGS[name], rounds)[0][1]["reward"] for rounds in (1, 2))
    assert float(one) == pytest.approx(float(two), rel=1e-5) and float(one) > 0


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rounds", [1, 2])
def test_only_the_agent_gets_a_gradient(name, rounds):
    _, params, _ = built(rounds)
    grads = agent_loss(params, SETTINGS[name], rounds, epsilon=0.3)[1]["params"]
    size = lambda tree: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
    assert size(grads.pop("agent")) > 0
    assert size(grads) == 0


def test_a_trained_agent_finds_the_best_action():
    """Rewards that one action always wins: the agent must come to take it."""
    _, params, _ = built()
    settings = Objective(alpha=0.0, beta=1.0)
    for _ in range(60):
        _, grads = agent_loss(params, settings)
        params = jax.tree.map(lambda p, g: p - 20.0 * g, params, grads)
    assert float(agent_loss(params, settings)[0][1]["action_0"]) > 0.9


def test_entropy_bonus_and_floor_hold_the_policy_open():
    _, params, _ = built()
    (plain, metrics), _ = agent_loss(params)
    (held, _), _ = agent_loss(params, entropy=0.5)
    entropy = float(metrics["routing_entropy"])
    assert float(plain - held) == pytest.approx(0.5 * entropy, rel=1e-4)
    log_probs = jnp.log(jnp.array([[1 - 2e-6, 1e-6, 1e-6]]))
    floored = jnp.exp(objective.floored(log_probs, 0.02))
    assert floored.min() == pytest.approx(0.02, abs=1e-4)
    assert floored.sum() == pytest.approx(1.0)


def test_probabilities_that_underflow_keep_loss_and_gradient_finite():
    log_probs = jnp.array([[0.0, -300.0, -400.0]])

    def entropy(log_probs):
        floored = objective.floored(log_probs, 0.0)
        return -jnp.sum(jnp.exp(floored) * floored)

    value, gradient = jax.value_and_grad(entropy)(log_probs)
    assert value == pytest.approx(0.0, abs=1e-6)
    assert bool(jnp.isfinite(gradient).all())


def test_main_loss_is_the_routed_cross_entropy():
    model, params, counted = built()
    router = routers.Constant((0,))
    logits, _ = jax.jit(lambda params: model.apply(params, X, router, PRICE, KEY))(params)
    loss, metrics = jax.jit(
        lambda params: losses.main_loss(model, params, X, LABELS, router, PRICE, KEY, counted)
    )(params)
    log_p = jax.nn.log_softmax(logits)[jnp.arange(32), LABELS]
    assert loss == pytest.approx(-float(log_p.mean()), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(float((logits.argmax(-1) == LABELS).mean()))
    assert float(metrics["macs"]) > counted.straight
    assert metrics["unconverged"] == 0
