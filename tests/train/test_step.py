"""Training and evaluation steps: what they change, and that they are those of each example."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from short_run import PER_CALL, tiny

import dynalay_jax
from dynalay_jax.adaptive import macs as cost
from dynalay_jax.adaptive import routers
from train import parallel, step
from train import state as state_lib
from train.data import batches
from train.run import Run
from train.state import fingerprint

pytestmark = pytest.mark.usefixtures("flax_promotion")


def test_phases_train_what_they_say():
    config = tiny()
    run = Run.prepare(config, None)
    before = run.initial().params
    resident = parallel.Resident(run.dataset.train)
    for phase in run.task.phases:
        call = parallel.train_steps(run.task, run.transforms, phase)
        order = batches.batch_indices(resident.count, 128, 0, 0, PER_CALL)
        state, _ = call(parallel.replicate(run.initial()), resident, order)
        after = parallel.unreplicate(state).params
        changed = {
            group
            for group in before
            if fingerprint(jax.device_get(before[group])) != fingerprint(after[group])
        }
        assert changed == set(phase.trains)


def main_steps(count=4, **changes):
    """States before and after each of the first steps of the main phase."""
    run = Run.prepare(tiny(**changes), None)
    resident, state = parallel.Resident(run.dataset.train), parallel.replicate(run.initial())
    call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
    states = [parallel.unreplicate(state)]
    for first in range(count):
        order = batches.batch_indices(resident.count, 128, 0, first, 1)
        state, _ = call(state, resident, order)
        states.append(parallel.unreplicate(state))
    return states


def close(a, b, atol):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.allclose(x, y, atol=atol) for x, y in pairs)


def test_every_step_and_device_draws_for_itself(monkeypatch):
    run = Run.prepare(tiny(), None)
    resident = parallel.Resident(run.dataset.train)

    def drawn(task, transforms, phase, state, images, labels, key):
        del task, transforms, phase, images, labels
        return state._replace(step=state.step + 1), {"draw": jax.random.uniform(key)}

    monkeypatch.setattr(step, "train_step", drawn)
    call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
    order = batches.batch_indices(resident.count, 128, 0, 0, 3)
    _, parts = call(parallel.replicate(run.initial()), resident, order)
    draws = np.concatenate([part["draw"] for part in parts])
    assert len(draws) == 3 * jax.local_device_count() == len(np.unique(draws))


def test_devices_learn_from_each_others_examples(monkeypatch):
    run = Run.prepare(tiny(), None)
    resident, augmented = parallel.Resident(run.dataset.train), []
    original = step.augment

    def augment(key, images, config):
        augmented.append((images.shape, config))
        return original(key, images, config)

    monkeypatch.setattr(step, "augment", augment)
    call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
    # The learning rate of the first step is 0.
    order = batches.batch_indices(resident.count, 128, 0, 0, 2)
    state, _ = call(parallel.replicate(run.initial()), resident, order)
    for leaf in jax.tree.leaves(state.params):
        assert (np.asarray(leaf) == np.asarray(leaf)[:1]).all()
    share = 128 // jax.local_device_count()
    assert augmented == [((share, 8, 8, 1), run.config.augment)]


@pytest.mark.parametrize(("max_steps", "share"), [(100, 0.0), (1, 1.0)])
def test_backward_solves_that_fail_are_counted(max_steps, share):
    run = Run.prepare(tiny(), None)
    adjoint = dynalay_jax.Implicit(max_steps=max_steps, on_failure="jacobian_free")
    task = dataclasses.replace(run.task, model=run.task.model.clone(adjoint=adjoint))
    resident = parallel.Resident(run.dataset.train)
    call = parallel.train_steps(task, run.transforms, task.phases[0])
    order = batches.batch_indices(resident.count, 128, 0, 0, 1)
    _, metrics = call(parallel.replicate(run.initial()), resident, order)
    assert parallel.measured(metrics)["backward_unconverged"] == share


def test_average_follows_the_parameters_and_is_what_is_evaluated():
    for i, (before, after) in enumerate(itertools.pairwise(main_steps(**{"train.ema": 0.9}))):
        assert after.evaluated is after.average
        decay = min(0.9, (1 + i) / (10 + i))
        mix = lambda a, p, d=decay: d * a + (1 - d) * p
        assert close(jax.tree.map(mix, before.average, after.params), after.average, 1e-6)


def test_accumulation_updates_every_so_many_steps():
    prints = [fingerprint(s.params) for s in main_steps(6, **{"train.accumulate": 2})]
    # The learning rate rises from 0, so that the first update changes nothing.
    assert prints[2] == prints[3] != prints[4] == prints[5] != prints[6]


def test_exploration_falls_and_the_floor_ends():
    run = Run.prepare(tiny(**{"exploration.entropy": (0.01, 0.001)}), None)
    agent, joint = run.task.phases[1:]
    over = agent.first + round(0.3 * (joint.last - agent.first))
    start, late, end = (
        {k: float(v) for k, v in step.exploration(run.task, np.int32(at)).items()}
        for at in (agent.first, over + 1, joint.last)
    )
    assert start == pytest.approx({"epsilon": 0.3, "entropy": 0.01, "floor": 0.02})
    assert late == end == pytest.approx({"epsilon": 0.02, "entropy": 0.001, "floor": 0.0})


def test_steps_of_a_call_are_scanned_where_there_is_no_cpu(monkeypatch):
    run = Run.prepare(tiny(), None)
    resident = parallel.Resident(run.dataset.train)
    order = batches.batch_indices(resident.count, 128, 0, 0, 3)
    found = []
    for backend in ("cpu", "gpu"):
        with monkeypatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda name=backend: name)
            call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
            state, metrics = call(parallel.replicate(run.initial()), resident, order)
        found.append(
            (parallel.unreplicate(state).params, parallel.measured(metrics)["loss"], len(metrics))
        )
    (each, each_loss, calls), (scanned, scanned_loss, scans) = found
    assert (calls, scans) == (3, 1) and each_loss.shape == scanned_loss.shape == (3,)
    assert close((each, each_loss), (scanned, scanned_loss), 1e-4)


def test_evaluation_is_that_of_each_example_by_itself():
    """In several padded batches on several devices, in the order of the split."""
    run = Run.prepare(tiny(eval_batch=96), None)
    params, test, task = run.initial().params, run.dataset.test, run.task
    report = run.evaluate(parallel.replicate(params), "test", "agent", 0.3)
    variables, key = state_lib.join(params), jax.random.key(0)
    apply = jax.jit(lambda x: task.model.apply(variables, x, routers.Agent(), 0.3, key))
    logits, trace = apply(task.normalise(test.images))
    iterate, steps = trace.sweeps.iterate, trace.sweeps.steps
    assert report.each["correct"].tolist() == (np.argmax(logits, -1) == test.labels).tolist()
    assert report.each["iterated"].tolist() == iterate[0].tolist()
    assert report.each["steps"].tolist() == np.where(iterate, steps, 0).sum((0, 2)).tolist()
    macs = np.asarray(cost.spent(task.costs, iterate, steps, decisions=1))
    assert report.each["cost"] == pytest.approx(macs / task.costs.straight, rel=1e-4)


def test_a_solve_stands_until_a_layer_below_is_iterated():
    """Samples: layer 2 twice, 1 then 2, 2 then 1, 1 then nothing."""
    first, then = ([[0, 1], [1, 0], [0, 1], [1, 0]], [[0, 1], [0, 1], [1, 0], [0, 0]])

    def script(key, seen):
        return np.array(then if seen.round else first, bool)

    run = Run.prepare(tiny(**{"model.rounds": 2}), None)
    images, labels = run.dataset.test.images[:4], run.dataset.test.labels[:4]
    params, key = run.initial().params, jax.random.key(0)
    out = step.evaluation_step(run.task, params, images, labels, script, 0.1, key)
    assert out["iterated"].tolist() == [[False, True], [True, True], [True, True], [True, False]]
    assert out["standing"].tolist() == [[False, True], [True, True], [True, False], [True, False]]
    assert out["decisions"].tolist() == [2] * 4


def test_further_rounds_are_the_agents():
    task = Run.prepare(tiny(**{"model.rounds": 2}), None).task
    rounds = {phase.name: step.trained_model(task, phase).rounds for phase in task.phases}
    assert rounds == {"main": 1, "agent": 2, "joint": 2}


def test_training_call_is_traced_once_a_phase():
    run = Run.prepare(tiny(), None)
    resident = parallel.Resident(run.dataset.train)
    traces = []
    task = run.task

    def counted(*args, original=step.train_step):
        traces.append(1)
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "train_step", counted)
        call = parallel.train_steps(task, run.transforms, task.phases[0])
        state = parallel.replicate(run.initial())
        for first in range(0, 3 * PER_CALL, PER_CALL):
            order = batches.batch_indices(resident.count, 128, 0, first, PER_CALL)
            state, _ = call(state, resident, order)
    assert len(traces) == 1


def test_measured_has_one_value_a_step():
    parts = [{"loss": np.float32(1.0)}, {"loss": np.float32(2.0)}]
    replicated = [parallel.replicate(part) for part in parts]
    assert parallel.measured(replicated)["loss"].tolist() == [1.0, 2.0]
