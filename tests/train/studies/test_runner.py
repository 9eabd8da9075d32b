"""What all studies share: the command, the record, the table, mistakes in one line."""

import json
import shutil

import pytest
from sample_records import SUMMARY, write
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
    runner,
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


def measure(run, params, number=1):
    assert params.keys() == {"main", "agent"}
    return {"examples": len(run.dataset.test.labels), "twice": 2 * number, "kind": "some"}


def table(record):
    return Table("Title", ["twice"], [[str(record["twice"])]], ["A remark."])


NUMBER = {"--number": dict(type=int, default=1)}
STUDY = Study("counting", "Question?\n\nText.", measure, table, NUMBER, ending="kind")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, flax_promotion):
    """Of a finished run whose weights are those it began with."""
    workdir = write(begun(tiny(), tmp_path_factory.mktemp("run")))
    (workdir / "summary.json").write_text(json.dumps(SUMMARY))
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def read(workdir, name):
    return json.loads((workdir / f"{name}.json").read_text())


def test_a_study_writes_its_record_draws_the_figures_and_prints(workdir, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["counting", str(workdir), "--number=21"])
    STUDY.main()
    settings = {"step": 1, "router": "agent", "price": 0.03, "options": {"number": 21}}
    wanted = settings | {"examples": 500, "twice": 42, "kind": "some"}
    assert read(workdir, "counting_some") == wanted
    assert (workdir / "figures" / "price_curve.png").exists()
    title, *_, remark, written = capsys.readouterr().out.splitlines()
    assert (title.rstrip(), remark) == ("Title", "A remark.")
    assert written == f"Written to {workdir}/counting_some.json."


def test_a_study_with_other_options_has_a_record_of_its_own(workdir, capsys):
    older = {"step": 1, "twice": 0, "kind": "some"}
    (workdir / "counting_some.json").write_text(json.dumps(older))
    (workdir / "counting_some_2.json").write_text("{damaged")
    for number in (1, 2, 1):
        STUDY.run(workdir, number=number)
    assert "counting_some.json, which has other settings, is kept." in (capsys.readouterr().out)
    assert read(workdir, "counting_some") == older
    assert (workdir / "counting_some_2.json").read_text() == "{damaged"
    assert [read(workdir, f"counting_some_{i}")["twice"] for i in (3, 4)] == [2, 4]
    assert not (workdir / "counting_some_5.json").exists()


def test_a_record_of_an_older_version_is_written_again_if_there_are_no_options(workdir):
    plain = Study("plain", "Question?", measure, table)
    (workdir / "plain.json").write_text('{"step": 1}')
    plain.run(workdir)
    assert read(workdir, "plain")["twice"] == 2


def test_the_table_is_printed_before_anything_is_written(workdir, monkeypatch, capsys):
    def refuse(*_):
        raise UserError("Read-only file system")

    monkeypatch.setattr(runner, "write_record", refuse)
    with pytest.raises(UserError, match="Read-only"):
        STUDY.run(workdir, number=21)
    assert "42" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        *((name, [], "expected the workdir of a run") for name in STUDIES if name[0] != "d"),
        ("calibrate", ["--risk=0"], "--risk: expected more than 0, at most 0.5, got 0"),
        ("calibrate", ["--risk=0.99"], "--risk: expected more than 0, at most 0.5, got 0.99"),
        ("calibrate", ["--delta=1.5"], "--delta: expected a number between 0 and 1, got 1.5"),
        ("calibrate", ["--risk=nan"], "--risk: expected more than 0, at most 0.5, got nan"),
        ("calibrate", ["--risk=0,1"], "--risk: expected more than 0, at most 0.5, got 0,1"),
        ("calibrate", ["--rsk=0.1"], "unrecognized arguments: --rsk=0.1"),
        *(
            ("extrapolate", [text], f"expected FIELD=VALUE,VALUE,..., got {text}")
            for text in ("grid=8,,", "grid", "grid=", "=8", "grid={[]:1}")
        ),
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


def test_a_name_that_no_folder_can_have(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["calibrate", 300 * "a"])
    with pytest.raises(SystemExit):
        STUDIES["calibrate"].main()
    assert "workdir: expected a folder, got a name that the system" in capsys.readouterr().err


def test_only_finished_runs_with_an_agent_are_studied(workdir, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(workdirs, "trained_config", lambda workdir: tiny(router="all"))
        with pytest.raises(UserError, match=r"expected a run with an agent"):
            STUDY.run(workdir, number=1)
    shutil.rmtree(workdir / "checkpoints")
    with pytest.raises(UserError, match=r"No checkpoint in .*: train first"):
        STUDY.run(workdir, number=1)
    (workdir / "summary.json").unlink()
    with pytest.raises(UserError, match=r"run: expected a finished run, but summary.json is miss"):
        STUDY.run(workdir, number=1)


def test_the_list_has_every_study():
    listed = {command.split()[0].rpartition(".")[2]: text for command, text in questions().items()}
    assert listed == {name: study.doc.split("\n")[0] for name, study in STUDIES.items()}
    assert all(question.endswith("?") for question in listed.values())
