"""Evaluation of a run on other test data: what may change, and that it does."""

import dataclasses

import pytest
from short_run import begun, tiny

from train.errors import UserError
from train.run import reopen
from train.studies import extrapolate

pytestmark = pytest.mark.usefixtures("flax_promotion")

DATA = {"name": "connectivity", "grid": 8, "open_fraction": 0.6, "blocks": (1,), "train": 300}
DATA |= {"validation": 100, "test": 200, "seed": 0}


@pytest.fixture(scope="module")
def own(tmp_path_factory, flax_promotion):
    """A run whose weights are those it began with, and its parameters."""
    config = tiny()
    config.augment.update(crop=0, cutout=0)
    config.data = DATA
    config.model.update(cell="concave", widths=(4,), strides=(1,), windows=(), agent_hidden=4)
    run = reopen(begun(config, tmp_path_factory.mktemp("run")))
    return run, run.restored()[1]


@pytest.mark.slow
def test_every_value_makes_a_test_split_of_its_own(own):
    run, params = own
    record = extrapolate.measure(run, params, ("test", [200, 150]))
    same, other = record["rows"]
    assert (record["field"], record["trained"]) == ("test", 200)
    assert (same["value"], same["test_examples"]) == (200, 200)
    assert (other["value"], other["test_examples"]) == (150, 150)
    assert same["straight_steps"] == same["straight_cost"] == 0
    assert same["all_layers_steps"] > 0 and sum(same["actions"]) == pytest.approx(1)
    assert same["agent_accuracy"] == run.evaluate(params, "test").accuracy
    shown = extrapolate.table(record)
    assert shown.title == "Trained with test=200" and len(shown.columns) == len(shown.rows[0])


@pytest.mark.slow
def test_a_static_net_is_evaluated_on_the_straight_pass_alone(tmp_path):
    config = tiny(router="none")
    config.data = DATA
    config.model.update(cell="residual", widths=(4, 4), windows=(), strides=(1, 1))
    config.train.epochs.update(agent=0.0, joint=0.0)
    run = reopen(begun(config, tmp_path), without_agent=True)
    record = extrapolate.measure(run, run.restored()[1], ("grid", [9]))
    named = {key.rpartition("_")[0] for key in record["rows"][0] if key.endswith("_accuracy")}
    assert named == {"straight"} and "actions" not in record["rows"][0]


def test_scales_are_written_as_tuples(own, monkeypatch):
    evaluated = []
    monkeypatch.setattr(extrapolate, "_row", lambda run, *_: evaluated.append(run) or {})
    extrapolate.measure(*own, ("blocks", [(1,), (2,)]))
    pixels = [run.dataset.test.images for run in evaluated]
    coarse = [(x[:, ::2, ::2] == x[:, 1::2, 1::2]).all() for x in pixels]
    assert coarse == [False, True]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        (
            "train",
            [10],
            "train: expected a field of connectivity that makes the test split: one of test, grid",
        ),
        ("grid", ["large"], "grid: expected values like the run's own, 8, got 'large'"),
    ],
)
def test_what_cannot_change_is_refused(own, field, values, message):
    with pytest.raises(UserError, match=message):
        extrapolate.measure(*own, (field, values))


def test_runs_of_the_first_layers_are_refused(own):
    run = dataclasses.replace(own[0], config=tiny(router="first_1", data=DATA))
    with pytest.raises(UserError, match="expected a run with an agent, or with none or all"):
        extrapolate.measure(run, own[1], ("grid", [9]))
