"""The report of finished runs: verdicts, tables and pictures of all of them."""

import json
import re

import pytest
from sample_records import (
    CURVE,
    GALLERY,
    RESIDUALS,
    SUMMARY,
    run,
    training_record,
    write,
)

from benchmarks.paper import report, verdicts
from train.errors import UserError


def finished(folder, seed=0, **changes):
    summary = SUMMARY | {"test_examples": 5000}
    run(folder, seed, summary | {"seed": seed} | changes, model={"cell": "concave"})
    return write(folder, curve=CURVE)


def made(workdirs, out):
    """The page about these workdirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["report", *map(str, workdirs), f"--out={out}"])
        report.main()
    return (out / "report.html").read_text()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The page about two seeds of connectivity, which have studies and times, and a static net."""
    tmp_path = tmp_path_factory.mktemp("report")
    workdirs = [
        finished(tmp_path / "connectivity-0", test_accuracy=0.92, gap_closed=None),
        finished(tmp_path / "connectivity-1", 1, test_accuracy=0.96, gap_closed=0.5),
        finished(tmp_path / "connectivity_model_0", router="none", parameters=1500),
        finished(tmp_path / "connectivity_no_warmup"),
    ]
    for name, record in {"gallery": GALLERY, "residuals": RESIDUALS}.items():
        (workdirs[0] / f"{name}.json").write_text(json.dumps(record))
    arms = {"plain CNN": ([1, 1], [9, 9]), "DynaLay, joint": ([1, 1], [13, 13])}
    record = training_record(**arms) | {"config": "connectivity"}
    (workdirs[1] / "train_step_connectivity.json").write_text(json.dumps(record))
    row = {"kind": "all layers", "median_ms": 8.0, "accuracy": 0.9, "macs": 7.0, "price": None}
    row |= {"router": "all layers", "p10_ms": 7.0, "p90_ms": 9.0}
    record = {"config": "connectivity", "rows": [row]}
    (workdirs[0] / "routed_pass_connectivity.json").write_text(json.dumps(record))
    return made(workdirs, tmp_path / "out")


def test_a_verdict_a_picture_and_a_list_of_contents_come_first(text):
    verdict = "On connectivity (n = 2) the agent is right on 94.0 ± 2.8 % of the test examples"
    parts = verdict, "y_price_curve.png", "Contents", 'id="claims"', "Questions</h1>", 'id="runs"'
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    links, places = (re.findall(rf'{kind}="#?([^"/]+)"', text) for kind in ("href", "id"))
    assert links == places and len({*links}) == len(links) >= 10


def test_claims_that_no_run_decides_are_left_out(text):
    assert "holds in 1 of 2 runs" in text and "not run<" not in text
    assert re.search(r"\d+ claims of the ledger are left out", text)
    assert "connectivity: DynaLay, joint / plain CNN 1.50 (1.50–1.50)" in text
    assert "P, 2 cores, cpu: cpu" in text and "{{" not in text


def test_questions_have_tables(text):
    assert "<th>surest route</th>" not in text, "of no run"
    assert "<td>94.0 ± 2.8</td>" in text
    assert "<td>DynaLay, joint</td>\n      <td>12 ms (12–12)</td>" in text


def test_pictures_stand_with_their_questions(text):
    shown = re.findall(r'src="images/connectivity_(\w+).png"', text)
    assert sorted(shown) == [
        "accuracy", "gallery", "loss", "price_actions", "price_curve", "residuals", "reward",
        "selection", "times", "warmup",
    ]  # fmt: skip
    assert "connectivity. The test examples on which the agent spends least, and most." in text


def test_what_is_no_finished_run_is_left_out_and_no_workdir_is_touched(tmp_path, capsys):
    names = ("my", "my-run", "a$b$c #1", "my-0", "cut")
    runs = [finished(tmp_path / "w" / name) for name in names]
    damaged = {"cut": "summary", "worn": "curve", "torn": "early_exit"}
    runs += [finished(tmp_path / "w" / name) for name in damaged if name != "cut"]
    for name, record in damaged.items():
        (tmp_path / "w" / name / f"{record}.json").write_text('{"seed": 0}')
    (tmp_path / "w" / "sweep" / "my-1").mkdir(parents=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "w").rglob("*")}
    page = made([*runs, tmp_path / "w" / "sweep"], tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "w").rglob("*")} == before
    said = capsys.readouterr().out
    assert f"sweep is left out. {tmp_path / 'w' / 'sweep'}: expected the workdir of a" in said
    for name, record in damaged.items():
        file = tmp_path / "w" / name / f"{record}.json"
        assert re.search(
            rf"/{name} is left out. Cannot read {file}: \w+ is missing. Put back", said
        )
    assert "my-0 is left out. my: expected runs of one config with different seeds" in said
    assert page.count("P, 2 cores, cpu: cpu") == 3, "my-run is not a seed of my"
    assert 'src="images/a%24b%24c%20%231_loss.png"' in page
    assert "The claims of the ledger are about other configs." in page
    with pytest.raises(UserError, match=r"finished run whose files are whole, got none"):
        made([tmp_path], tmp_path / "out")


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ({}, "None of these runs is of a config with an agent."),
        ({"digits": 0.93, "mazes": 0.9}, "In 1 of 2 runs the agent is at most 1 point less"),
    ],
)
def test_the_verdict_speaks_of_all_runs(record, accuracies, said):
    records = {name: record({"test_accuracy": each}) for name, each in accuracies.items()}
    ledger = verdicts.ledger(records)
    assert report.verdict(records, ledger[ledger["count"] > 0]).startswith(said)
