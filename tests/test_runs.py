"""Collected runs: one record a config, seeds averaged, rows that were not run say so."""

import json

import pytest

from benchmarks import runs

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
}


@pytest.fixture
def workdirs(tmp_path):
    """Two seeds of a run of connectivity."""
    folders = []
    for seed, accuracy in enumerate((0.95, 0.97)):
        folder = tmp_path / f"connectivity-{seed}"
        folder.mkdir()
        documents = {
            "summary": SUMMARY
            | {"test_accuracy": accuracy, "starts": [{"jax": "1.2", "commit": str(seed)}]},
            "curve": {"agent": []},
            "config": {"seed": seed, "data": {"name": "cifar10", "data_dir": "/mine"}},
            "difficulty": {"bins": [{"first": 1}], "examples": ["large"]},
        }
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(document))
        folders.append(folder)
    return folders


def test_record_holds_every_seed_and_where_it_ran(workdirs):
    record = runs.collect(workdirs)
    assert [run["summary"]["test_accuracy"] for run in record["runs"]] == [0.95, 0.97]
    assert [run["summary"]["starts"][0]["commit"] for run in record["runs"]] == ["0", "1"]
    assert record["config"]["data"] == {"name": "cifar10"}
    assert record["difficulty"] == [[{"first": 1}]] * 2


def test_table_averages_seeds_and_says_what_was_not_run(workdirs):
    lines = runs.table({"connectivity": runs.collect(workdirs), "cifar10": None}).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:5] == ["`connectivity.py`", "500", "2", "90.0 ± 0.0 %", "96.0 ± 1.4 %"]
    assert cells[-5:] == ["1.50 / 20.00", "0.10 / 0.20 / 0.50", "3.00 / 0.50", "—", "1.5"]
    assert "`cifar10.py`" in lines[3] and "not run" in lines[3]
