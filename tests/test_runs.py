"""Collected runs: one record a config, seeds averaged, rows that were not run say so."""

import json

import pytest
from test_seeds import run

from benchmarks import runs
from train import seeds

SUMMARY = {
    "straight_milliseconds": 0.1,
    "milliseconds": 0.2,
    "all_layers_milliseconds": 0.5,
    "median_residual": None,
    "test_examples": 500,
    "straight_accuracy": 0.9,
    "test_accuracy": 0.95,
    "random_accuracy": 0.91,
    "confidence_accuracy": 0.93,
    "all_layers_accuracy": 0.96,
    "mean_cost": 1.5,
    "all_layers_cost": 20.0,
    "steps_when_straight_wrong": 3.0,
    "steps_when_straight_right": 0.5,
    "train_seconds": 90.0,
    "actions": [0.25, 0.0, 0.75],
}


@pytest.fixture
def group(tmp_path):
    """Two seeds of a run of connectivity."""
    folders = []
    for seed, accuracy in enumerate((0.95, 0.97)):
        summary = SUMMARY | {"test_accuracy": accuracy}
        folder = run(tmp_path / f"connectivity-{seed}", seed, summary)
        (folder / "curve.json").write_text(json.dumps({"agent": []}))
        difficulty = {"bins": [{"first": 1}], "examples": ["large"]}
        (folder / "difficulty.json").write_text(json.dumps(difficulty))
        folders.append(folder)
    return seeds.groups(folders)[0]


def test_record_holds_every_seed_and_where_it_ran(group):
    record = runs.collect(group)
    assert [run["summary"]["test_accuracy"] for run in record["runs"]] == [0.95, 0.97]
    assert record["ran"] == group.ran
    assert record["config"]["data"] == {"name": "digits"}, "no path of this machine"
    assert record["difficulty"] == [[{"first": 1}]] * 2


def test_table_averages_seeds_and_says_what_was_not_run(group):
    lines = runs.table({"connectivity": runs.collect(group), "cifar10": None}).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:5] == ["`connectivity.py`", "500", "2", "90.0 ± 0.0 %", "96.0 ± 1.4 %"]
    assert cells[-6:] == [
        "1.50 / 20.00", "25 / 0 / 75", "0.10 / 0.20 / 0.50", "3.00 / 0.50", "—", "1.5"
    ]  # fmt: skip
    assert "`cifar10.py`" in lines[3] and "not run" in lines[3]
