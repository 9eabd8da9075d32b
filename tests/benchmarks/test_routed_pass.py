"""The routers benchmark: what is counted is what was done, and savings are those of its row."""

import dataclasses

import jax
import numpy as np
import pytest
from short_run import SMALL, begun, tiny

from benchmarks import routed_pass
from benchmarks.support import passes
from benchmarks.support.trained import Trained
from train.errors import UserError
from train.parallel import replicate
from train.run import Run

pytestmark = [pytest.mark.usefixtures("flax_promotion"), pytest.mark.slow]


@pytest.fixture(scope="module")
def static(tmp_path_factory, flax_promotion):
    """Workdir of a net with nothing to iterate."""
    workdir = tmp_path_factory.mktemp("static") / "digits_wide_2x"
    return begun(tiny(router="none", **SMALL), workdir)


@pytest.fixture(scope="module")
def measured(flax_promotion):
    """A run, the rows of its routers by name, what was timed, and the programs compiled.

    One layer, and every solve takes one step, so that all costs are known. Of two batches of test
    examples one is timed.
    """
    one = {"model.widths": (8,), "model.strides": (1,), "model.max_steps": 1, "model.tol": 0.0}
    run, calls, programs = Run.prepare(tiny(prices=(0.1, 0.5, 1.0), **one), None), [], []
    half = len(run.dataset.test.labels) // 2
    compile_function = routed_pass.timing.compile_function
    times = lambda arms, seconds: calls.append(arms) or {name: [half, 3 * half] for name in arms}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routed_pass.timing, "interleave", times)
        count = lambda program, *args: programs.append(program) or compile_function(program, *args)
        patch.setattr(routed_pass.timing, "compile_function", count)
        of = Trained("digits", run, 0, run.initial().params)
        summary = {"confidence_route": "all"}
        rows = routed_pass.measure_routers(of, summary, {}, half, 1, 0.0)
    return run, {row["router"]: row for row in rows}, calls[0], programs


def test_programs_do_what_they_are_called(measured):
    run, rows, _, _ = measured
    agents = [row["price"] for row in rows.values() if row["kind"] == "agent"]
    assert agents == [run.config.price, 0.1, 1.0]
    costs = run.task.costs
    solve = costs.step[0] + costs.head
    for name, iterated, macs in (
        (passes.STRAIGHT, 0, 0),
        ("none: agent asked", 0, costs.agent),
        ("none: routed", 0, 0),
        ("layer 1", 1, solve),
        (passes.ALL, 1, solve),
    ):
        assert rows[name]["iterated"] == iterated
        assert rows[name]["macs"] == pytest.approx(costs.straight + macs)
    none, everything = ([r for r in rows.values() if r["iterated"] == share] for share in (0, 1))
    for alike in none, everything:
        assert len({row["accuracy"] for row in alike}) == 1
    assert none[0]["accuracy"] != everything[0]["accuracy"]


def test_the_first_examples_are_timed_and_their_macs_counted(measured):
    run, rows, calls, _ = measured
    each = run.evaluate(replicate(run.initial()).params, "test").each
    half, agent = len(each["correct"]) // 2, rows["agent"]
    assert agent["samples_ms"] == [1, 3] and agent["timed"] == half and len(calls["agent"]()) == 1
    assert agent["accuracy"] == pytest.approx(each["correct"].mean())
    assert agent["iterated"] == pytest.approx(each["iterated"].any(-1).mean())
    macs = (1 + each["cost"]) * run.task.costs.straight
    assert agent["macs"] == pytest.approx(macs[:half].mean())
    assert macs[:half].mean() != pytest.approx(macs.mean())


def test_arms_of_a_kind_share_a_program(measured):
    """A program is compiled once: nothing of a setting is in it."""
    _, rows, _, programs = measured
    kinds = [row["kind"] for row in rows.values()]
    assert kinds.count("agent") == 3 and kinds.count("random") == kinds.count("confidence") == 4
    # Straight, asked, constant, agent, all layers, random, confidence.
    assert len(programs) == len({*programs}) == 7


def test_static_nets_are_arms_of_their_own_weights(static):
    run = Run.prepare(tiny(seed=1, **SMALL), None)
    name, arm = routed_pass.static_arm(static, run)
    assert name == arm.kind == "wide_2x"
    images = run.dataset.test.images
    out = jax.jit(arm.program)(arm.params, images, jax.random.key(0))
    own = Run.to_evaluate(tiny(router="none", **SMALL), static)
    expected = own.evaluate(own.restored()[1], "test")
    right = out["logits"].argmax(-1) == run.dataset.test.labels
    assert np.mean(right) == pytest.approx(expected.accuracy, abs=0.004)  # rounding
    assert np.all(out["macs"] == own.task.costs.straight) and not out["iterated"].any()


@pytest.mark.parametrize(("router", "darker"), [("all", 0), ("none", 1)])
def test_what_is_no_static_net_of_the_same_data_is_refused(router, darker, monkeypatch):
    run = Run.prepare(tiny(router=router, **SMALL), None)
    net = Trained("digits_wide_2x", run, 0, None)
    monkeypatch.setattr(routed_pass, "trained", lambda *_, **__: net)
    test = dataclasses.replace(run.dataset.test, images=run.dataset.test.images // (1 + darker))
    like = dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, test=test))
    with pytest.raises(UserError, match=r"expected a run of the same data whose router is none"):
        routed_pass.static_arm("digits_wide_2x", like)


def row(name, macs, times, kind=""):
    p10, median, p90 = np.percentile(times, (10, 50, 90))
    return {
        "router": name, "accuracy": 0.9, "iterated": 0.25, "macs": macs, "median_ms": median,
        "p10_ms": p10, "p90_ms": p90, "samples_ms": list(times), "kind": kind,
    }  # fmt: skip


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_compares_savings():
    rows = [row("agent", 2e3, [0.004] * 7), row(passes.ALL, 1e4, [0.01] * 7)]
    _, _, agent, everything = routed_pass.table({"rows": rows}).splitlines()
    assert cells(agent)[3:] == ["2.00 k", "4", "80%", "60% (60% to 60%)"]
    assert cells(everything)[-2:] == ["—"] * 2


def test_savings_are_those_of_the_agent_at_each_price():
    rng = np.random.default_rng(0)
    noisy = rng.normal(0.01, 0.002, 20)
    rows = [
        row(passes.STRAIGHT, 1e3, [0.002] * 20, "none"),
        row("none: agent asked", 1e3, [0.003] * 20),
        row("agent", 2e3, [0.004] * 20, "agent"),
        row(passes.ALL, 1e4, noisy, passes.ALL),
        row("agent, λ = 0.01", 9.95e3, rng.normal(0.01, 0.002, 20), "agent"),
    ]
    lines = [
        cells(line)
        for line in routed_pass.saved([{"config": "digits", "rows": rows}]).splitlines()[2:]
    ]
    assert [line[1] for line in lines] == [
        passes.STRAIGHT, "agent", "agent, λ = 0.01", passes.ALL
    ]  # fmt: skip
    assert lines[1][:6] == ["digits", "agent", "90.0 %", "2.00 k", "4", "80%"]
    low, high = (float(end.rstrip("%)")) for end in lines[2][6].partition("(")[2].split(" to "))
    assert low < 0 < high, "as noisy, it saves nothing for sure"
    assert lines[3][-2:] == ["—"] * 2
