"""Collected runs: one record a config, seeds averaged, rows that were not run say so."""

import json

import pytest
from sample_records import run

from benchmarks.paper import results
from train.analysis import seeds

SUMMARY = {
    "gap_closed": 0.6,
    "parameters": 1500,
    "mean_macs": 2.5e6,
    "test_examples": 500,
    "straight_accuracy": 0.9,
    "test_accuracy": 0.95,
    "random_accuracy": 0.91,
    "confidence_accuracy": 0.93,
    "all_layers_accuracy": 0.96,
    "mean_cost": 1.5,
    "all_layers_cost": 20.0,
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
    record = results.collect(group)
    assert [run["summary"]["test_accuracy"] for run in record["runs"]] == [0.95, 0.97]
    assert record["ran"] == group.ran
    assert record["config"]["data"] == {"name": "digits"}, "no path of this machine"
    assert record["difficulty"] == [[{"first": 1}]] * 2


def test_table_averages_seeds_and_says_what_was_not_run(group):
    nets = [{"runs": [{"summary": {"test_accuracy": share}}]} for share in (0.91, 0.98)]
    records = {"connectivity": results.collect(group), "cifar10": None}
    lines = results.table(records, {"connectivity": nets}).splitlines()
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:4] == ["`connectivity.py`", "500", "2", "90.0 ± 0.0 %"]
    assert cells[-7:] == [
        "93.0 ± 0.0 %", "96.0 ± 1.4 %", "98.0 % (n = 1)", "96.0 ± 0.0 %", "60", "1.50 / 20.00",
        "1.5",
    ]  # fmt: skip
    nets[1]["runs"] *= 2
    assert "| 98.0 ± 0.0 % |" in results.table(records, {"connectivity": nets}), (
        "n is that of seeds"
    )
    lines = results.table(records, {}).splitlines()
    assert lines[2].split("|")[-6].strip() == "—", "no such net was trained"
    assert "`cifar10.py`" in lines[3] and "not run" in lines[3]


def test_more_routes_of_the_same_weights(group):
    record = results.collect(group)
    for each, accuracy in zip(record["runs"], (0.95, 0.96), strict=True):
        each["summary"] |= {"layer_accuracies": [0.9, accuracy], "oracle_accuracy": 0.99}
        each["summary"]["surest_accuracy"] = 0.97
        points = [{"accuracy": 0.9, "mean_cost": 3}, {"accuracy": accuracy, "mean_cost": 4}]
        each["curve"] = {"routers": dict(zip(("layer 1", "layer 2"), points, strict=True))}
    lines = results.routes_table({"connectivity": record, "cifar10": None}).splitlines()
    assert len(lines) == 3, "what was not run has no row"
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "`connectivity.py`", "—", "—", "—", "96.0 ± 1.4 %", "25", "60", "75",
        "25 / 0 / 75", "90.0 / 95.5", "3.00 / 4.00", "1.50",
    ]  # fmt: skip


def test_baselines_are_in_order_of_their_macs(group):
    record = results.collect(group)
    cheap = {"runs": [{"summary": SUMMARY | {"mean_macs": 1e6, "test_accuracy": 0.9}}]}
    records = {"connectivity": record, "connectivity_model_0": cheap}
    lines = results.static_table(records, {"connectivity": 0.25}).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert rows == [
        ["`connectivity_model_0`", "1", "90.0 %", "1.5", "1.000", "—"],
        ["`connectivity`", "2", "96.0 ± 1.4 %", "1.5", "2.500", "250"],
    ]
    lines = results.static_table(records, {}).splitlines()
    assert "µs" not in lines[0] and lines[2].count("|") == 6, "nothing was timed"


def test_larger_test_data_are_rows():
    def asked(router, *accuracies, **more):
        rows = [
            {"value": 5 + i, f"{router}_accuracy": accuracy, **more}
            for i, accuracy in enumerate(accuracies)
        ]
        return {"extrapolation_side": {"rows": rows}}

    agent = {"straight_accuracy": 0.5, "all_layers_accuracy": 1.0}
    agent |= {"agent_cost": 2.0, "agent_steps": 30.0}
    records = {
        "mazes": {"runs": [asked("agent", 0.9, 0.7, **agent), asked("agent", 0.9, 0.9, **agent)]},
        "mazes_deep_2x": {"runs": [asked("straight", 1.0, 0.6)]},
    }
    header, _, *lines = results.larger_table(records, "side").splitlines()
    cells = lambda line: [cell.strip() for cell in line.strip("|").split("|")]
    assert cells(header) == [
        "side", "no operation", "agent", "all layers", "deep_2x", "agent's cost", "agent's steps"
    ]  # fmt: skip
    assert [cells(line)[0] for line in lines] == ["5", "6"]
    same = ["100.0 ± 0.0 %", "60.0 %", "2.0 ± 0.0", "30.0 ± 0.0"]
    assert cells(lines[1])[1:] == ["50.0 ± 0.0 %", "80.0 ± 14.1 %", *same]


def test_what_was_asked_of_a_run_is_in_its_record(group):
    for name in ("halting", "extrapolation_grid", "gallery"):
        (group.workdirs[1] / f"{name}.json").write_text(json.dumps({"of": name}))
    first, second = results.collect(group)["runs"]
    assert first.keys() == {"summary", "curve"}
    assert second.keys() == {"summary", "curve", "halting", "extrapolation_grid"}
    assert second["extrapolation_grid"] == {"of": "extrapolation_grid"}


def test_command_writes_records_and_copies_what_was_timed(group, tmp_path, monkeypatch):
    (group.workdirs[0] / "routers_connectivity.json").write_text('{"rows": []}')
    out = tmp_path / "results"
    out.mkdir()
    monkeypatch.setattr("sys.argv", ["runs", *map(str, group.workdirs), f"--out={out}"])
    results.main()
    assert json.loads((out / "connectivity.json").read_text()) == results.collect(group)
    assert (out / "routers_connectivity.json").read_text() == '{"rows": []}'
