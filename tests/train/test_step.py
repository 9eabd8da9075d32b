"""Training and evaluation steps: what they change, and that they are those of each example."""

import dataclasses
import itertools

import chex
import jax
import numpy as np
import optax
import pytest
from short_run import tiny

import dynalay_jax
from dynalay_jax.adaptive import macs as cost
from dynalay_jax.adaptive import routers
from train import parallel, step
from train import state as state_lib
from train.data import batches
from train.run import Run
from train.state import fingerprint

pytestmark = pytest.mark.usefixtures("flax_promotion")


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


def test_updates_are_accumulated_and_the_average_follows_them():
    run = Run.prepare(tiny(**{"train.ema": 0.9, "train.accumulate": 2}), None)
    resident, state = parallel.Resident(run.dataset.train), parallel.replicate(run.initial())
    call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
    states = [parallel.unreplicate(state)]
    for first in range(6):
        order = batches.batch_indices(resident.count, 128, 0, first, 1)
        state, _ = call(state, resident, order)
        states.append(parallel.unreplicate(state))
    prints = [fingerprint(each.params) for each in states]
    # The learning rate rises from 0: the first update changes nothing.
    assert prints[2] == prints[3] != prints[4] == prints[5] != prints[6]
    for i, (before, after) in enumerate(itertools.pairwise(states)):
        assert after.evaluated is after.average
        decay = min(0.9, (1 + i) / (10 + i))
        mixed = optax.incremental_update(after.params, before.average, 1 - decay)
        chex.assert_trees_all_close(mixed, after.average, atol=1e-6)


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
