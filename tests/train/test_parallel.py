"""The mapped calls: every device learns from all examples, draws for itself, and traces once."""

import chex
import jax
import numpy as np
import pytest
from short_run import PER_CALL, tiny

from train import parallel, step
from train.data import batches
from train.run import Run
from train.state import fingerprint

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.fixture(scope="module")
def run(flax_promotion):
    return Run.prepare(tiny(), None)


@pytest.fixture(scope="module")
def calls(run):
    """For each phase the states after two calls from the start, and the shapes that were augmented.

    Augmenting is traced whenever a step is.
    """
    data, found, original = parallel.Resident(run.dataset.train), {}, step.augment
    for phase in run.task.phases:
        traced = []

        def augment(key, images, config, traced=traced):
            assert config == run.config.augment
            traced.append(images.shape)
            return original(key, images, config)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step, "augment", augment)
            call = parallel.train_steps(run.task, run.transforms, phase)
            state, states = parallel.replicate(run.initial()), []
            for first in range(0, 2 * PER_CALL, PER_CALL):
                order = batches.batch_indices(data.count, 128, 0, first, PER_CALL)
                state, _ = call(state, data, order)
                states.append(jax.device_get(state.params))
        found[phase] = states, traced
    return found


def test_phases_train_what_they_say(run, calls):
    before = jax.device_get(run.initial().params)
    for phase, (states, _) in calls.items():
        after = jax.tree.map(lambda leaf: leaf[0], states[-1])
        changed = {g for g in before if fingerprint(before[g]) != fingerprint(after[g])}
        assert changed == set(phase.trains)


def test_devices_share_the_batch_and_agree(calls):
    share = 128 // jax.local_device_count()
    for states, traced in calls.values():
        assert traced == [(share, 8, 8, 1)], "and a phase is traced once"
        for leaf in jax.tree.leaves(states[-1]):
            assert (leaf == leaf[:1]).all()


def test_every_step_and_device_draws_for_itself(run, monkeypatch):
    resident = parallel.Resident(run.dataset.train)

    def drawn(task, transforms, phase, state, images, labels, key):
        del task, transforms, phase, images, labels
        return state._replace(step=state.step + 1), {"draw": jax.random.uniform(key)}

    monkeypatch.setattr(parallel, "train_step", drawn)
    call = parallel.train_steps(run.task, run.transforms, run.task.phases[0])
    order = batches.batch_indices(resident.count, 128, 0, 0, 3)
    _, parts = call(parallel.replicate(run.initial()), resident, order)
    draws = np.concatenate([part["draw"] for part in parts])
    assert len(draws) == 3 * jax.local_device_count() == len(np.unique(draws))


def test_steps_of_a_call_are_scanned_where_there_is_no_cpu(run, monkeypatch):
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
    chex.assert_trees_all_close((each, each_loss), (scanned, scanned_loss), atol=1e-4)


def test_measured_has_one_value_a_step():
    parts = [{"loss": np.float32(1.0)}, {"loss": np.float32(2.0)}]
    replicated = [parallel.replicate(part) for part in parts]
    assert parallel.measured(replicated)["loss"].tolist() == [1.0, 2.0]
