"""Arms of the training benchmark: what each of them differentiates, and what the table says."""

import jax
import numpy as np
import pytest
from short_run import SMALL, tiny

from benchmarks import train_step
from configs import digits
from dynalay_jax import Anderson, Broyden, Stats, Unrolled
from dynalay_jax.adaptive import routers
from train.errors import UserError
from train.run import Run

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.fixture(scope="module")
def run():
    return Run.prepare(tiny(**SMALL), None)


@pytest.fixture(scope="module")
def arms(run, flax_promotion):
    return train_step.arms(run)


def gradients(run, arm, batch=4):
    """Loss, means, gradient and account of the first examples."""
    split = run.dataset.train
    params, _ = train_step.weights(run, arm, run.initial().params)
    x = run.task.normalise(split.images[:batch])
    probe = train_step.inspect.probes(arm.task.model, batch)
    args = params, probe, x, split.labels[:batch], jax.random.key(0)
    _, gradient = train_step.functions(arm)
    (loss, means), (grads, backward) = jax.jit(gradient)(*args)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(grads)]
    assert all(np.isfinite(leaf).all() for leaf in leaves) and any(leaf.any() for leaf in leaves)
    assert set(grads) == set(arm.trains)
    return loss, train_step.account(means, backward), grads


def test_where_nobody_iterates_it_is_the_plain_cnn(run, arms):
    loss, account, grads = gradients(run, arms[train_step.PLAIN])
    routed_loss, routed_account, routed_grads = gradients(run, arms["nobody iterates"])
    assert loss == pytest.approx(float(routed_loss), rel=1e-5)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(routed_grads), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5)
    for done in account, routed_account:
        assert done["macs"] == pytest.approx(run.task.costs.straight)
        assert done["steps"] == 0 and done["backward_steps"] is None


def test_all_layers_iterates_every_sample(run, arms):
    _, account, _ = gradients(run, arms["all layers"])
    costs = run.task.costs
    assert account["steps"] >= 1 and account["backward_steps"] >= 1
    evaluations = (account["macs"] - costs.straight - costs.inject[1] - costs.head) / costs.step[0]
    # Both layers have one size.
    assert evaluations == pytest.approx(2 * account["steps"], rel=1e-4)


def test_the_joint_phase_trains_both_networks(run, arms):
    _, _, grads = gradients(run, arms["DynaLay, joint"])
    assert set(grads) == {"main", "agent"}
    assert all(any(np.any(leaf) for leaf in jax.tree.leaves(grads[group])) for group in grads)


def test_a_deq_in_all_layers_is_as_large_as_dynalay(run, arms):
    before = run.task.model
    for name, solver in {"Anderson": Anderson(), "Broyden": Broyden()}.items():
        model = arms[f"DEQ, all layers, {name}"].task.model
        assert (model.cell, model.solver, model.tol) == ("free", solver, before.tol)
        assert (model.widths, model.strides) == (before.widths, before.strides)


def test_the_rest_are_what_they_are_called(run, arms):
    for arm in arms.values():
        assert arm.task.model.tol == (0 if arm is arms["unrolled"] else run.task.model.tol)
    assert arms["unrolled"].task.model.adjoint == Unrolled()
    assert len(arms["DEQ, one layer, Broyden"].task.model.widths) == 1
    routed = "DynaLay, agent's routes"
    for name, price in {routed: run.config.price, f"{routed}, λ = 1": 1.0}.items():
        assert arms[name].loss.args == (routers.Agent(), price)
    params = run.initial().params
    for name, given in {"unrolled": True, "DEQ, one layer, Anderson": False}.items():
        assert train_step.weights(run, arms[name], params)[1] == given


def test_account_counts_the_backward_solves_that_were_made():
    backward = Stats(np.array([4.0, 0.0, 8.0]), np.zeros(3), np.array([0.0, 3.0, 1.0]))
    account = train_step.account({"macs": 10.0, "steps": 3.0}, backward)
    assert account == {"macs": 10.0, "steps": 3.0, "backward_steps": 6.0}


def test_table_has_ratios_to_the_plain_cnn():
    part = lambda ms: {"median_ms": ms, "p10_ms": ms, "p90_ms": ms, "samples_ms": [ms, ms]}
    row = lambda name, given, backward: {
        "arm": name, "given": given, "macs": 1e5, "steps": 2.0,
        "backward_steps": None, "forward": part(1.0),
        "backward": part(backward), "gradient": part(1.0 + backward),
    }  # fmt: skip
    rows = [row(train_step.PLAIN, True, 2), row("DEQ", False, 8)]
    text = train_step.table({"config": "digits", "weights": "trained, step 7", "rows": rows})
    deq = [cell.strip() for cell in text.splitlines()[3].split("|")[1:-1]]
    assert deq == [
        "DEQ *", "100 k", "2.0 / —", "1", "8", "4.00 (4.00–4.00)", "3.00 (3.00–3.00)",
    ]  # fmt: skip
    assert "Weights: trained, step 7; initial ones where the arm has a star." in text


def test_a_baseline_is_refused(monkeypatch):
    config = tiny(**SMALL)
    config.train.epochs.update(agent=0.0, joint=0.0)
    monkeypatch.setattr(digits, "get_config", lambda: config)
    with pytest.raises(UserError, match="phases main and joint, got main;"):
        train_step.prepare("digits", None)
