"""The report of finished runs: verdicts, tables and pictures of all of them."""

import json
import re

import pytest
from sample_records import (
    CURVE,
    GALLERY,
    RESIDUALS,
    START,
    SUMMARY,
    run,
    training_record,
    write,
)

from benchmarks.paper import report


def finished(folder, seed=0, **changes):
    summary = SUMMARY | {"test_examples": 5000, "starts": [START], "train_seconds": 60.0}
    run(folder, seed, summary | {"seed": seed} | changes, model={"cell": "concave"})
    return write(folder, curve=CURVE)


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["report", *map(str, workdirs), f"--out={tmp_path / 'out'}"])
        report.main()
    return (tmp_path / "out" / "report.html").read_text()


def test_the_verdicts_come_first(text):
    headings = re.findall(r"<h1>([^<]*)", text)
    assert headings[1] == "Which claims hold?" and headings[-1] == "Runs"
    assert "holds in 1 of 2 runs" in text and "<td>not run</td>" in text
    assert "connectivity: DynaLay, joint / plain CNN 1.50 (1.50–1.50)" in text
    assert "P, 2 cores, cpu: cpu" in text and "{{" not in text


def test_questions_have_tables(text):
    titles = re.findall(r"<h2>([^<]*)", text)
    assert len(titles) == len({*titles}) >= 10
    assert "<td>94.0 ± 2.8</td>" in text
    assert "<td>DynaLay, joint</td>\n      <td>12 ms (12–12)</td>" in text


def test_pictures_stand_with_their_questions(text):
    shown = re.findall(r'src="images/connectivity_(\w+).png"', text)
    assert sorted(shown) == [
        "accuracy", "gallery", "loss", "price_actions", "price_curve", "residuals", "reward",
        "selection", "times", "warmup",
    ]  # fmt: skip
