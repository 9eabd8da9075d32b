"""Routers' inference: each program does what its name says, and savings are those of its row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from short_run import tiny

from benchmarks import routers
from dynalay_jax import routers as library
from train import loop

pytestmark = pytest.mark.usefixtures("flax_promotion")


def test_threshold_cuts_off_a_share():
    confidence = np.array([0.9, 0.5, 0.7, 0.6])
    below = [np.sum(confidence < routers.threshold(confidence, s)) for s in (0, 0.25, 0.5, 1)]
    assert below == [0, 1, 2, 4]


def test_random_and_confidence_have_the_rates_of_the_agent():
    logits = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
    iterated = np.zeros((400, 3), bool)
    iterated[:100, 1], iterated[50:100, 2] = True, True
    arms = routers.matched(logits, iterated, "constant_2")
    random, unsure = (
        {name: arm.program.args[0] for name, arm in arms.items() if arm.kind == kind}
        for kind in ("random", "confidence")
    )
    assert {name: router.rate for name, router in random.items()} == {
        "random as the agent, 0.38 layers": 0.375,
        "random, 0.25 layers": 0.25,
        "random, 0.50 layers": 0.5,
        "random, 0.75 layers": 0.75,
    }
    seen = library.Observation(jnp.asarray(logits), jnp.zeros((400, 4)), 0)
    masks = [router(jax.random.key(0), seen).sum(0).tolist() for router in unsure.values()]
    # The agent's share, and the others.
    assert masks == [[0, n, 0] for n in (100, 100, 200, 300)]
    assert "unsure as the agent, 25% to layer 2" in unsure


def test_agents_are_told_their_price(monkeypatch):
    run, told = loop.Run.prepare(tiny(), None), []

    def call(model, variables, method, x, router, price, key):
        told.append(price)
        raise StopIteration

    monkeypatch.setattr(routers, "call", call)
    arms = routers.fixed(2, run.config.price, (0.1, 0.5, 1.0))
    agents = {name: arm for name, arm in arms.items() if arm.kind == "agent"}
    for arm in agents.values():
        with pytest.raises(StopIteration):
            arm.program(run.task, run.initial().params, jnp.zeros((4, 8, 8, 1), jnp.uint8), None)
    assert told == [arm.price for arm in agents.values()] == [run.config.price, 0.1, 1.0]
    assert list(agents)[1:] == ["agent, λ = 0.1", "agent, λ = 1"]


def test_programs_do_what_they_are_called():
    """Every solve takes one evaluation, so that all costs are known."""
    one = {"model.widths": (8,), "model.strides": (1,), "model.max_steps": 1, "model.tol": 0.0}
    run = loop.Run.prepare(tiny(**one), None)
    found = routers.measure_routers(run, run.initial().params, "all", 300, 0.0)
    rows = {row["router"]: row for row in found}
    agents = {row["price"]: row["macs"] for row in found if row["kind"] == "agent"}
    assert list(agents) == [run.config.price, 0.1]
    costs = run.task.costs
    solve = costs.step[0] + costs.head
    agent = rows["agent"]["iterated"]
    for name, iterated, macs in (
        (routers.STRAIGHT, 0, 0),
        ("none: agent asked", 0, costs.agent),
        ("none: routed", 0, 0),
        ("agent", agent, costs.agent + agent * solve),
        ("layer 1", 1, solve),
        (routers.ALL, 1, solve),
    ):
        assert rows[name]["iterated"] == iterated
        assert rows[name]["macs"] == pytest.approx(costs.straight + macs)
    none, everything = ([row for row in found if row["iterated"] == share] for share in (0, 1))
    for rows in none, everything:
        assert len({row["accuracy"] for row in rows}) == 1
    assert none[0]["accuracy"] != everything[0]["accuracy"]
    assert all(len(row["samples_ms"]) >= 5 and row["median_ms"] > 0 for row in found)


def test_table_compares_savings():
    time = lambda ms: {"median_ms": ms, "p10_ms": ms, "p90_ms": ms}
    row = lambda name, macs, ms: {
        "router": name, "accuracy": 0.9, "iterated": 0.25, "macs": macs, **time(ms)
    }  # fmt: skip
    record = {"rows": [row("agent", 2e3, 0.004), row(routers.ALL, 1e4, 0.01)]}
    _, _, agent, everything = routers.table(record).splitlines()
    cells = lambda line: [cell.strip() for cell in line.strip("|").split("|")]
    assert cells(agent)[3:] == ["2.00 k", "4", "4–4", "80%", "60%", "0.75"]
    assert cells(everything)[-3:] == ["—"] * 3
