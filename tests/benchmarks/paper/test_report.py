"""The page: whole, with every run's numbers and pictures in it."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image
import pytest
from sample_records import (
    CORRUPTION,
    CURVE,
    GALLERY,
    RESIDUALS,
    START,
    SUMMARY,
    run,
    training_record,
    write,
)

from benchmarks.paper import report, verdicts
from train.analysis import seeds


def finished(folder, seed=0, cell="concave", **changes):
    summary = SUMMARY | {"test_examples": 5000, "starts": [START], "train_seconds": 60.0}
    run(folder, seed, summary | {"seed": seed} | changes, model={"cell": cell})
    return write(folder, curve=CURVE)


def page(found, out):
    drawn = report.draw(found, out / "figures")
    return report.page(found, [], verdicts.entries(found), drawn, report.tables(found))


@pytest.fixture
def workdirs(tmp_path):
    return [
        finished(tmp_path / "connectivity-0", test_accuracy=0.92, gap_closed=None),
        finished(tmp_path / "connectivity-1", 1, test_accuracy=0.96, gap_closed=0.5),
        finished(tmp_path / "digits_model_0", router="none", parameters=1500, mean_macs=2.5e6),
    ]


@pytest.fixture
def text(workdirs, tmp_path):
    found = seeds.groups(workdirs)
    return page(found, tmp_path / "out")


def test_page_stands_by_itself_and_figures_lie_beside_it(text, tmp_path):
    assert not re.search(r"(src|href)=.(?!data:)", text) and "{{" not in text
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"connectivity_loss.png", "digits_models.png"} <= names, "no curves of baselines"
    assert len(names) == 6 + 1
    pictures = re.findall(r'<img alt="(\w+)"', text)
    assert sorted(f"{name}.png" for name in pictures) == sorted(names), "each of them once"
    first, data = re.search(r'<img alt="(\w+)" src="data:image/webp;base64,([^"]+)"', text).groups()
    with (
        Image.open(io.BytesIO(base64.b64decode(data))) as shown,
        Image.open(tmp_path / "out" / "figures" / f"{first}.png") as beside,
    ):
        assert shown.format == "WEBP"
        np.testing.assert_array_equal(shown.convert("RGB"), beside.convert("RGB"))
    assert "n = 2; 5,000 test examples; P, 2 cores, cpu: cpu" in text
    assert "holds in 1 of 2 runs" in text and "not run" in text


def test_figures_of_records_are_in_the_page(tmp_path):
    workdir = finished(tmp_path / "digits-0")
    records = {
        "gallery": GALLERY,
        "residuals": RESIDUALS,
        "corruption": CORRUPTION,
    }
    for name, record in records.items():
        (workdir / f"{name}.json").write_text(json.dumps(record))
    found = seeds.groups([workdir])
    text = page(found, tmp_path / "out")
    assert all(f'alt="digits_{name}"' in text for name in records)
    assert text.count('<figure class="wide">') == 2


def test_agents_and_baselines_are_told_apart(text):
    tables = {
        re.search(r"<h2>([^<]*)", part)[1]: re.findall(r"<td>([^<]*)</td>", part)
        for part in re.findall(r"<h2>.*?</table>", text, re.DOTALL)
    }
    accuracy, cost = tables["Accuracy (%)"], tables["Cost"]
    thinking, static = tables["Where the thinking goes"], tables["Against baselines"]
    assert accuracy[:2] == ["connectivity", "2"]
    assert "94.0 ± 2.8" in accuracy and accuracy[-1] == "50 (1 of 2)"
    assert thinking[-1] == "50 / 20 / 30"
    for table in (accuracy, cost, thinking, tables["ECE by action"]):
        assert "digits_model_0" not in table
    assert static[6:] == ["digits_model_0", "1", "93.0", "2", "2.50", "1.0"]


def test_what_was_timed_with_a_run_is_in_the_page(workdirs, tmp_path, monkeypatch, capsys):
    arms = {"plain CNN": ([1, 1], [9, 9]), "DynaLay, joint": ([1, 1], [13, 13])}
    record = training_record(**arms) | {"config": "connectivity"}
    (workdirs[0] / "training_connectivity.json").write_text(json.dumps(record))
    row = {"kind": "all layers", "median_ms": 8.0, "accuracy": 0.9, "macs": 7.0, "price": None}
    row |= {"p10_ms": 7.5, "p90_ms": 9.0}
    record = {"config": "connectivity", "rows": [row]}
    (workdirs[1] / "routers_connectivity.json").write_text(json.dumps(record))
    out = tmp_path / "page"
    monkeypatch.setattr("sys.argv", ["report", *map(str, workdirs), f"--out={out}"])
    report.main()
    text = (out / "report.html").read_text()
    assert "<td>DynaLay, joint</td><td>12 ms (12–12)</td><td>1.50 (1.50–1.50)</td>" in text
    told = "plain CNN 1.00 (1.00–1.00), DynaLay, joint 1.50 (1.50–1.50)"
    assert f"connectivity, in multiples of the plain CNN: {told}" in text
    assert (out / "figures" / "connectivity_times.png").exists()
    assert 'alt="connectivity_times"' in text
    titles = [table["title"] for table in json.loads((out / "tables.json").read_text())]
    assert titles[0] == "Accuracy (%)" and "The price of the certificate" in titles
    assert all(f"<h2>{title}</h2>" in text for title in titles)
    assert "ledger.json and 8 figures beside it" in capsys.readouterr().out
    claims = json.loads((out / "ledger.json").read_text())
    assert all(claim["claim"].replace("'", "&#39;") in text for claim in claims)


def test_what_compares_a_config_is_among_its_figures(tmp_path):
    drawn = dict.fromkeys(("digits_static", "digits_times", "digits_models"), tmp_path)
    found = report._names(seeds.Group("digits", (tmp_path,), (SUMMARY,)), drawn)
    assert found == ["digits_static", "digits_times"], "models are in the paper's part"


def test_halting_routers_have_a_table_where_a_run_was_compared(workdirs, tmp_path):
    found = seeds.groups(workdirs)
    assert "Halting routers" not in page(found, tmp_path)
    names = ("agent", "early_exit", "pondernet", "q_exit", "act")
    accuracies = {name: {"accuracy": 0.8 + 0.01 * i} for i, name in enumerate(names)}
    (workdirs[1] / "early_exit.json").write_text(json.dumps({"at_agent_cost": accuracies}))
    text = page(found, tmp_path)
    table = text.partition("Halting routers at the agent&#39;s cost")[2].partition("</table>")[0]
    cells = re.findall(r"<td>([^<]*)</td>", table)
    assert cells == ["connectivity", "1", "92.0", "81.0", "82.0", "83.0", "84.0", "80.0"]
