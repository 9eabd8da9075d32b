"""The page: whole, with every run's numbers and pictures in it."""

import json
from pathlib import Path
import re

import pytest
from test_figures import CURVE, write
from test_ledger import SUMMARY

from train import report
from train.errors import UserError

START = {
    "commit": "abc1234",
    "processor": "P",
    "cores": 2,
    "device": "cpu: cpu",
    "jax": "1.2",
    "date": "2026-11-21",
}


def run(folder, **changes):
    write(folder, curve=CURVE)
    summary = SUMMARY | {"test_examples": 5000, "starts": [START], "train_seconds": 60.0} | changes
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def workdirs(tmp_path):
    return [
        run(tmp_path / "connectivity-0", test_accuracy=0.92, gap_closed=None),
        run(tmp_path / "connectivity-1", test_accuracy=0.96, gap_closed=0.5),
        run(tmp_path / "digits", train_seconds=90.0),
    ]


def test_seeds_are_averaged_and_what_is_unknown_is_left_open(workdirs):
    two, one = report.groups(workdirs)
    assert (two.name, len(two.summaries), one.name) == ("connectivity", 2, "digits")
    assert two.cell("test_accuracy", 100, ".1f") == "94.0 ± 2.8"
    assert two.cell("gap_closed", 100, ".0f") == "50"
    assert one.cell("difficulty_spearman", 1, ".2f") == "—"


def test_page_stands_by_itself(workdirs):
    text = report.page(report.groups(workdirs))
    assert not re.search(r"(src|href)=.(?!data:)", text) and "{{" not in text
    assert text.count("data:image/png;base64,") == 2 * 6
    cells = re.findall(r"<td>([^<]*)</td>", text)
    row = cells[cells.index("connectivity") :][:12]
    assert row[:2] == ["connectivity", "2"] and "94.0 ± 2.8" in row
    assert "n = 2; 5,000 test examples; P, 2 cores, cpu: cpu; jax 1.2; commit abc1234" in text
    assert "holds in 1 of 2" in text and "not run" in text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected the workdir of a finished run"):
        report.groups([Path(tmp_path)])
