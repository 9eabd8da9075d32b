"""What all studies share: the command, the record, the table, mistakes in one line."""

import json

import pytest
from sample_records import write
from short_run import begun, tiny

from train import workdir as workdirs
from train.errors import UserError
from train.studies import (
    calibrate,
    corruption,
    difficulty_judge,
    early_exit,
    extrapolate,
    fixed_points,
)
from train.studies.__main__ import questions
from train.studies.runner import Study, Table

pytestmark = pytest.mark.usefixtures("flax_promotion")

STUDIES = {
    module.STUDY.name: module.STUDY
    for module in (
        calibrate, corruption, difficulty_judge, early_exit, extrapolate, fixed_points
    )
}  # fmt: skip


def measure(run, params, number):
    assert params.keys() == {"main", "agent"}
    return {"examples": len(run.dataset.test.labels), "twice": 2 * number, "kind": "some"}


def table(record):
    return Table("Title", ["twice"], [[str(record["twice"])]], ["A remark."])


NUMBER = {"--number": dict(type=int, default=1)}
STUDY = Study("counting", "Question?\n\nText.", measure, table, NUMBER, ending="kind")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, flax_promotion):
    """Of a run whose weights are those it began with."""
    return write(begun(tiny(), tmp_path_factory.mktemp("run")))


def test_a_study_writes_its_record_draws_the_figures_and_prints(workdir, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["counting", str(workdir), "--number=21"])
    STUDY.main()
    record = json.loads((workdir / "counting_some.json").read_text())
    settings = {"step": 1, "router": "agent", "price": 0.03}
    assert record == {**settings, "examples": 500, "twice": 42, "kind": "some"}
    assert (workdir / "figures" / "price_curve.png").exists()
    said = capsys.readouterr().out
    assert said.startswith("Title") and "42" in said and said.endswith("A remark.\n")


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        *((name, [], "expected the workdir of a run") for name in STUDIES if name[0] != "d"),
        ("calibrate", ["--risk=0"], "--risk: expected a number between 0 and 1, got 0"),
        ("calibrate", ["--delta=1.5"], "--delta: expected a number between 0 and 1, got 1.5"),
        ("calibrate", ["--risk=nan"], "--risk: expected a number between 0 and 1, got nan"),
        ("calibrate", ["--risk=some"], "--risk: invalid"),
        ("calibrate", ["--rsk=0.1"], "unrecognized arguments: --rsk=0.1"),
        ("extrapolate", ["grid=8,,"], "expected FIELD=VALUE,VALUE,..., got grid=8,,"),
        ("difficulty_judge", [], "required: judge"),
    ],
)
def test_mistakes_are_answered_in_one_line(tmp_path, monkeypatch, capsys, name, args, said):
    args = args or (["grid=8"] if name == "extrapolate" else [])
    monkeypatch.setattr("sys.argv", [name, str(tmp_path), *args])
    with pytest.raises(SystemExit) as exit:
        STUDIES[name].main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    assert said in error


def test_runs_without_an_agent_or_a_checkpoint_are_refused(workdir, tmp_path, monkeypatch):
    for name in ("config", "data"):
        (tmp_path / f"{name}.json").write_text((workdir / f"{name}.json").read_text())
    with pytest.raises(UserError, match=r"No checkpoint in .*: train first"):
        STUDY.run(tmp_path, number=1)
    monkeypatch.setattr(workdirs, "trained_config", lambda workdir: tiny(router="all"))
    with pytest.raises(UserError, match=r"expected a run with an agent"):
        STUDY.run(workdir, number=1)


def test_the_list_has_every_study():
    listed = {command.split()[0].rpartition(".")[2]: text for command, text in questions().items()}
    assert listed == {name: study.doc.split("\n")[0] for name, study in STUDIES.items()}
    assert all(question.endswith("?") for question in listed.values())
