"""Calibration by action, and the price of certificates."""

from sample_records import SUMMARY

from benchmarks.paper import sections
from train.analysis.seeds import Group


def of(name, cell, *changes):
    return Group(name, (), tuple(SUMMARY | change for change in changes), {"model": {"cell": cell}})


def test_calibration_is_averaged_by_action():
    runs = [{"ece": [0.01, None, 0.04]}, {"ece": [0.03, None, None]}]
    baseline = of("digits_model_0", "cascade", {"router": "none"})
    part = sections.calibration([of("digits", "cascade", *runs), of("old", "free", {}), baseline])
    assert part.columns == ["config", "n", "no operation", "layer 1", "layer 2"]
    assert part.rows == [
        ["digits", "2", "2.0 ± 1.4", "—", "4.0 (1 of 2)"],
        ["old", "1", "—", "—", "—"],
    ]


def test_cells_of_a_task_stand_together():
    runs = [
        of("digits", "cascade", {"converged": 1.0}),
        of("scales", "concave", {}),
        of("digits_cell_orthogonal", "orthogonal", {"test_accuracy": 0.8}, {}),
    ]
    rows = sections.certificate(runs).rows
    assert [row[1:5] for row in rows] == [
        ["cascade", "no", "1", "90.0"],
        ["concave", "no", "not run", "—"],
        ["orthogonal", "yes", "2", "90.0 ± 0.0"],
        ["bounded", "yes", "not run", "—"],
        ["free", "no", "not run", "—"],
    ]
    assert rows[0][-1] == "100.0" and rows[2][5] == "86.5 ± 9.2"
    assert sections.certificate(runs[:2]).rows[0][:4] == ["all", "all", "—", "not run"]
