"""Routed passes: each program does what its name says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from short_run import SMALL, tiny

from benchmarks.support import passes
from dynalay_jax.adaptive import routers
from train.run import Run

pytestmark = pytest.mark.usefixtures("flax_promotion")
SUMMARY = {"confidence_route": "constant_2"}


def test_threshold_cuts_off_a_share():
    confidence = np.array([0.9, 0.5, 0.7, 0.6])
    below = [np.sum(confidence < passes.threshold(confidence, s)) for s in (0, 0.25, 0.5, 1)]
    assert below == [0, 1, 2, 4]


def test_random_and_confidence_have_the_macs_of_the_agent():
    run = Run.prepare(tiny(), None)
    straight, layers = run.task.costs.straight, len(run.task.model.widths)
    logits = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
    done = {
        # Layers take 1, 2, …; a quarter of the samples can take layer 2 for what the agent spends.
        "agent": {"macs": np.full(400, straight + 0.5)},
        "all layers": {"macs": np.full(400, straight + 10.0)},
        passes.STRAIGHT: {"macs": np.full(400, straight), "logits": logits},
        **{f"layer {i}": {"macs": np.full(400, straight + i)} for i in range(1, layers + 1)},
    }
    arms = passes.matched(run.task, None, done, SUMMARY)
    # The program's router, made of the arm's setting.
    router = lambda arm: arm.program.args[1](arm.params[1])
    random, unsure = (
        {name: router(arm) for name, arm in arms.items() if arm.kind == kind}
        for kind in ("random", "confidence")
    )
    rate = 0.5 / ((layers + 1) / 2)
    assert {name: router.rate for name, router in random.items()} == {
        f"random at the agent's MACs, {rate:.2f} layers": pytest.approx(rate),
        "random, 0.25 layers": 0.25,
        "random, 0.50 layers": 0.5,
        "random, 0.75 layers": 0.75,
    }
    seen = routers.Observation(jnp.asarray(logits), jnp.zeros((400, layers + 1)), 0)
    masks = [router(jax.random.key(0), seen).sum(0).tolist() for router in unsure.values()]
    # The agent's share, and the others.
    assert [mask[1] for mask in masks] == [sum(mask) for mask in masks] == [100, 100, 200, 300]
    assert "unsure at the agent's MACs, 25% to layer 2" in unsure
    # As sure as each other are all or none of them.
    done[passes.STRAIGHT]["logits"] = np.repeat(logits[:2], (40, 360), axis=0)
    first = np.argmin(jax.nn.softmax(logits[:2]).max(-1))
    name = list(passes.matched(run.task, None, done, SUMMARY))[1]
    assert name == f"unsure at the agent's MACs, {0 if first else 10}% to layer 2"
    # Beyond one layer each, up to all: half of the way for half of the MACs.
    one = (layers + 1) / 2
    done["agent"] = {"macs": np.full(400, straight + (one + 10) / 2)}
    name = next(iter(passes.matched(run.task, None, done, SUMMARY)))
    assert name == f"random at the agent's MACs, {(1 + layers) / 2:.2f} layers"


def test_agents_are_told_their_price(monkeypatch):
    run, told = Run.prepare(tiny(**SMALL, prices=(0.1, 0.5, 1.0)), None), []

    def call(model, variables, method, x, router, price, key):
        told.append(price)
        raise StopIteration

    monkeypatch.setattr(passes, "call", call)
    arms = passes.fixed(run.task, run.initial().params)
    agents = {name: arm for name, arm in arms.items() if arm.kind == "agent"}
    for arm in agents.values():
        with pytest.raises(StopIteration):
            arm.program(arm.params, jnp.zeros((4, 8, 8, 1), jnp.uint8), None)
    prices = [arm.price for arm in agents.values()]
    assert prices == [run.config.price, 0.1, 1.0]
    assert told == [np.float32(price) for price in prices]
    assert list(agents)[1:] == ["agent, λ = 0.1", "agent, λ = 1"]


def test_further_rounds_are_the_agents_and_each_of_its_decisions_is_charged():
    """Every solve takes one evaluation; the agent prefers layer 1 always."""
    steps = {"model.rounds": 2, "model.max_steps": 1, "model.tol": 0.0}
    run = Run.prepare(tiny(**SMALL, **steps), None)
    params = run.initial().params
    to_the_first = lambda layer: {**layer, "bias": layer["bias"].at[0].add(100.0)}
    agent = {name: to_the_first(params["agent"][name]) for name in ("head", "tail")}
    params = {**params, "agent": {**params["agent"], **agent}}
    arms, costs = passes.fixed(run.task, params), run.task.costs
    images, key = run.dataset.test.images[:4], jax.random.key(0)
    spent = lambda name: jax.jit(arms[name].program)(arms[name].params, images, key)["macs"]
    sweep = costs.step[0] + costs.inject[1] + costs.head
    assert spent("layer 1") == pytest.approx(costs.straight + sweep)
    assert spent("agent") == pytest.approx(costs.straight + 2 * sweep + 2 * costs.agent)
