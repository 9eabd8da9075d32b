"""The files of a run: whose a workdir is, and what stays in it."""

import json
import shutil
import subprocess
import sys

import pytest
from sample_records import SUMMARY
from short_run import begun, tiny

from train import loop
from train import workdir as workdirs
from train.errors import UserError
from train.run import Run

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, flax_promotion):
    return begun(tiny(), tmp_path_factory.mktemp("run"))


def test_a_start_without_a_checkpoint_binds_nobody(tmp_path):
    first, second = (Run.prepare(tiny(seed=seed), tmp_path) for seed in (0, 1))
    workdirs.claim(tmp_path, first.config, first.dataset)
    assert workdirs.summary_if_finished(tmp_path, second.config) is None
    workdirs.claim(tmp_path, second.config, second.dataset)
    assert workdirs.read_config(tmp_path)["seed"] == 1


def test_another_run_is_refused_with_both_values(trained):
    changes = {"seed": 5, "train.learning_rate": 0.5}
    with pytest.raises(UserError) as error:
        loop.train_and_evaluate(tiny(**changes), trained)
    assert str(error.value) == (
        f"{trained} holds a run where config.seed is 0, not 5, config.train.learning_rate is "
        "0.003, not 0.5. Give this run another --workdir, or repeat the options of that run."
    )
    many = tiny(**{"model.tol": 0.5, "model.gain": 0.5, "model.own": 0.5, **changes})
    with pytest.raises(UserError, match=r"and 1 more fields differ\. --mode=eval cannot change"):
        loop.evaluate_only(many, trained)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"eval_batch": 7, "checkpoint.keep": 1}, None),
        ({"price": 0.5}, "config.price is 0.03, not 0.5"),
        ({"router": "all"}, "config.router is agent, not all"),
        ({"seed": 1}, "config.seed is 0, not 1"),
    ],
)
def test_a_finished_run_is_never_changed_by_training(tmp_path, capsys, changes, said):
    begun(tiny(), tmp_path)
    for name in ("summary", "corruption", "eval_agent_0.1"):
        workdirs.write_record(tmp_path, name, SUMMARY)
    content = lambda: {p: p.read_text() for p in tmp_path.glob("*.json")}
    before = content()
    if said:
        with pytest.raises(UserError, match=said) as error:
            loop.train_and_evaluate(tiny(**changes), tmp_path)
        assert ("Did you mean --mode=eval?" in str(error.value)) == ("seed" not in said)
    else:
        assert loop.train_and_evaluate(tiny(**changes), tmp_path) == SUMMARY
        assert "is finished: nothing to train. --mode=eval" in capsys.readouterr().out
    assert content() == before


def test_runs_of_versions_with_fewer_fields_have_the_defaults(trained, tmp_path, capsys):
    for name in ("config", "data"):
        (tmp_path / f"{name}.json").write_text((trained / f"{name}.json").read_text())
    old = json.loads((tmp_path / "config.json").read_text())
    del old["model"]["own"], old["exploration"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert workdirs.differences(tmp_path, workdirs.trained_config(trained)) == {}
    workdirs.print_defaults(trained)
    workdirs.print_defaults(tmp_path)
    assert capsys.readouterr().out == (
        f"{tmp_path}/config.json lacks 5 of today's fields; their defaults are used: "
        "config.exploration.entropy is (0.01, 0.0), config.exploration.epsilon is (0.3, 0.02), "
        "config.exploration.floor is 0.02, config.exploration.share is 0.3, and 1 more.\n"
    )


HOLD = """
import pathlib, sys, time
from train.workdir import held
with held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_workdir_has_one_training_process(tmp_path):
    command = [sys.executable, "-c", HOLD, tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=r"Another process trains in .*run\. Wait for"):
            loop.train_and_evaluate(tiny(), tmp_path / "run")
        first.kill()
    with workdirs.held(tmp_path / "run"):
        assert (tmp_path / "run").exists()
    assert not (tmp_path / "run").exists(), "an empty folder does not stay"


def test_a_workdir_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for workdir, why in ((tmp_path / "file" / "run", "Not a directory"), (tmp_path, "it cannot")):
        monkeypatch.setattr(workdirs.os, "access", lambda *_: False)
        with pytest.raises(UserError, match=rf"Cannot use workdir .*: {why}"):
            loop.train_and_evaluate(tiny(), workdir)


@pytest.mark.parametrize("changed", [{"test_accuracy": float("nan")}, {"mean_cost": None}, None])
def test_a_damaged_summary_is_no_finished_run_and_nothing_is_measured_again(
    trained, tmp_path, changed
):
    workdir = shutil.copytree(trained, tmp_path / "run")
    workdirs.write_record(workdir, "summary", SUMMARY | changed if changed else {})
    before = {path: path.read_bytes() for path in workdir.rglob("*.json")}
    with pytest.raises(UserError, match=r"Cannot read .*summary.json: .* move summary.json away"):
        loop.train_and_evaluate(tiny(), workdir)
    assert {path: path.read_bytes() for path in workdir.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config", "[]", r"Cannot read .*config.json: expected a dictionary, got \[\]"),
        ("config", "{", r"Cannot read .*config.json: Expecting .*\. Put back a copy"),
        ("data", "{}", "data.json: mean is missing. Put back a copy of the file; only a new"),
        ("data", '{"mean": [1], "std": [0]}', "data.json: std.0: expected greater than 0, got 0"),
        ("data", '{"mean": [1], "std": [NaN]}', "data.json: std.0: expected a finite number"),
        ("data", '{"mean": [1, 2], "std": [1, 2]}', "data.json: expected mean and std of 1 chan"),
        ("data", None, "config.json or data.json is missing. Train first"),
        ("config", '{"model": 3}', "config.json: config.data.name: expected one of digits, "),
        ("config", '{"data": 3}', "config.json: config.data: expected a group of fields, got 3"),
        ("config", '{"data": {"name": "digits"}, "model": 3}', "config.model: expected a group"),
        ("config", '{"data": {"name": ["digits"]}}', "config.data.name: expected one of digits"),
    ],
)
def test_a_damaged_record_is_named(trained, tmp_path, name, text, said):
    for each in ("config", "data"):
        (tmp_path / f"{each}.json").write_text((trained / f"{each}.json").read_text())
    if text is None:
        (tmp_path / f"{name}.json").unlink()
    else:
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(UserError, match=said) as error:
        loop.evaluate_only(tiny(), tmp_path)
    assert "\n" not in str(error.value)


def test_what_was_not_measured_has_no_record(tmp_path):
    assert workdirs.read_record(tmp_path, "summary") is None
