"""Evaluation of a run on other test data: what may change, and that it does."""

import json

import pytest
from short_run import begun, tiny

from train import loop
from train import workdir as workdirs
from train.errors import UserError
from train.plots import records
from train.studies import extrapolate

pytestmark = pytest.mark.usefixtures("flax_promotion")

DATA = {"name": "connectivity", "grid": 8, "open_fraction": 0.6, "train": 300}
DATA |= {"validation": 100, "test": 200, "seed": 0}


@pytest.fixture
def run(tmp_path):
    """Workdir of a run whose weights are those it began with."""
    config = tiny()
    config.augment.update(crop=0, cutout=0)
    config.data = DATA
    config.model.update(cell="concave", widths=(4,), strides=(1,), windows=(), agent_hidden=4)
    return begun(config, tmp_path)


def test_every_value_makes_a_test_split_of_its_own(run, capsys):
    record = extrapolate.extrapolate(run, "test", [200, 150])
    assert json.loads((run / "extrapolation_test.json").read_text()) == record
    same, other = record["rows"]
    assert (record["trained"], same["value"], other["value"]) == (200, 200, 150)
    assert (same["test_examples"], other["test_examples"]) == (200, 150)
    assert same["straight_steps"] == other["straight_cost"] == 0
    assert same["all_layers_steps"] > 0 and sum(same["actions"]) == pytest.approx(1)
    assert (
        same["agent_accuracy"] == loop.evaluate_only(workdirs.trained_config(run), run)["accuracy"]
    )
    assert "Trained with test=200" in capsys.readouterr().out
    figure = records.extrapolation(record)
    assert len(figure.axes[0].lines) == 3 and len(figure.axes[2].patches) == 2 * 2
    # The run itself is as it was.
    assert workdirs.trained_config(run).data.test == 200


def baseline(router):
    config = tiny(router=router)
    config.data = DATA
    config.model.update(cell="residual", widths=(4, 4), windows=(), strides=(1, 1))
    config.train.epochs.update(agent=0.0, joint=0.0)
    return config


@pytest.mark.parametrize(
    ("router", "message"),
    [
        ("first_1", "expected a run with an agent, or with none or all of its layers"),
        ("agent", "expected a run with an agent, got a baseline's"),
    ],
)
def test_agents_that_were_not_trained_are_refused(tmp_path, router, message):
    workdir = begun(baseline("none"), tmp_path)
    (workdir / "config.json").write_text(baseline(router).to_json_best_effort())
    with pytest.raises(UserError, match=message):
        extrapolate.extrapolate(workdir, "grid", [9])


def test_of_a_static_net_there_is_the_straight_pass_alone(tmp_path):
    config = baseline("none")
    record = extrapolate.extrapolate(begun(config, tmp_path), "grid", [8, 9])
    assert [row["value"] for row in record["rows"]] == [8, 9]
    named = {key.rpartition("_")[0] for key in record["rows"][0] if key.endswith("_accuracy")}
    assert named == {"straight"} and "actions" not in record["rows"][0]
    assert len(records.extrapolation(record).axes[0].lines) == 1


def test_static_nets_stand_beside_the_agent(run):
    record = extrapolate.extrapolate(run, "test", [200])
    figure = records.extrapolation(record, {"residual_2.5x": [0.5], "deep_2.5x": [0.6]})
    assert [line.get_label() for line in figure.axes[0].lines[3:]] == ["residual_2.5x", "deep_2.5x"]


def test_scales_are_written_as_tuples(run, monkeypatch):
    config = workdirs.trained_config(run)
    config.data = {**DATA, "blocks": (1,)}
    (run / "config.json").write_text(config.to_json_best_effort())
    evaluated = []
    monkeypatch.setattr(extrapolate, "_measure", lambda run, _: evaluated.append(run) or {})
    monkeypatch.setattr(extrapolate, "_say", lambda record: None)
    extrapolate.extrapolate(run, "blocks", [(1,), (2,)])
    pixels = [run.dataset.test.images for run in evaluated]
    coarse = [(x[:, ::2, ::2] == x[:, 1::2, 1::2]).all() for x in pixels]
    assert coarse == [False, True]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("train", [10], "train: expected a field that makes the test split: test, grid, open"),
        ("grid", ["large"], "grid: expected values like the run's own, 8, got 'large'"),
    ],
)
def test_what_cannot_change_is_refused(run, field, values, message):
    with pytest.raises(UserError, match=message):
        extrapolate.extrapolate(run, field, values)


def test_values_that_cannot_be_read_are_told(run, monkeypatch):
    monkeypatch.setattr("sys.argv", ["extrapolate", str(run), "grid=8,,"])
    with pytest.raises(UserError, match="expected FIELD=VALUE"):
        extrapolate.main()
