"""Collected runs: one record a config and variant, the best record first."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from sample_records import CURVE, DIFFICULTY, EXTRAPOLATE, GALLERY, SUMMARY, run

from benchmarks.paper import results
from train.analysis import seeds

BINS = DIFFICULTY["bins"]


@pytest.fixture
def workdirs(tmp_path):
    """Two seeds of a run of connectivity; the second has a study."""
    folders = []
    for seed, accuracy in enumerate((0.95, 0.97)):
        summary = SUMMARY | {"test_accuracy": accuracy}
        folder = run(tmp_path / f"connectivity-{seed}", seed, summary, model={"cell": "concave"})
        (folder / "curve.json").write_text('{"agent": []}')
        (folder / "difficulty.json").write_text(json.dumps(DIFFICULTY))
        folders.append(folder)
    early_exit = {"at_agent_cost": {"agent": CURVE["routers"]["none"]}}
    studies = {"early_exit": early_exit, "extrapolate_grid": EXTRAPOLATE, "gallery": GALLERY}
    for name, record in studies.items():
        (folders[1] / f"{name}.json").write_text(json.dumps(record))
    return folders


def test_a_record_holds_every_seed_its_studies_and_where_it_ran(workdirs):
    (group,) = seeds.groups(workdirs)
    record = results.collect(group)
    first, second = record["runs"]
    assert [each["summary"]["test_accuracy"] for each in record["runs"]] == [0.95, 0.97]
    assert first.keys() == {"summary", "curve", "difficulty"} and first["difficulty"] == BINS
    assert second.keys() - first.keys() == {"early_exit", "extrapolate_grid"}, "no pictures"
    assert record["ran"] == group.ran
    assert "data_dir" not in record["config"]["data"], "no path of this machine"


def test_most_seeds_win_and_of_equally_many_the_newest(record):
    one, two, new = (
        record(*runs, date=date)[0]
        for runs, date in (([{}], "2026-11-28"), ([{}] * 2, "2026-11-21"), ([{}] * 2, "2026-11-27"))
    )
    assert results.ranked([one, two, new]) == [new]
    assert results.ranked([two, one]) == [two]


def test_a_lesser_record_stays_for_a_study_that_no_better_one_has(record):
    (studied,), (better,) = record(({}, {"fixed_points": {}}), {}), record({}, {}, {})
    records = {"scales": results.ranked([studied, better])}
    assert records["scales"] == [better, studied]
    assert len(results.frame(records)) == 3
    assert len(results.frame(records, "fixed_points")) == 1
    assert results.frame(records, "corruption").empty


def test_static_nets_have_the_agents_macs_and_the_best_is_first(record):
    net = lambda macs, *accuracies: record(
        *({"router": "none", "mean_macs": macs, "test_accuracy": each} for each in accuracies)
    )
    records = {
        "digits": record({}, {}),
        "digits_wide_2x": net(2.3e6, 0.9),
        "digits_deep_2x": net(1.7e6, 0.9, 0.94),
        "digits_deep_3x": net(2.5e6, 0.99),
        "digits_model_1": record({"router": "all"}),
        "mazes_wide_2x": net(2e6, 0.99),
    }
    found = results.static_nets(results.frame(records), "digits")
    assert found == ["digits_deep_2x", "digits_wide_2x"]
    assert results.static_nets(pd.DataFrame(results.frame(records)), "connectivity") == []


def test_command_adds_to_what_is_there(workdirs, tmp_path, monkeypatch):
    monkeypatch.setattr(results.timing, "RESULTS", tmp_path / "out")
    monkeypatch.setattr(results, "IMAGES", tmp_path)
    row = dict.fromkeys(("macs", "median_ms", "p10_ms", "p90_ms"), 1.0)
    row |= {"router": "all", "kind": "all layers", "accuracy": 0.9, "price": None}
    timed = {"config": "connectivity", "rows": [row]}
    (workdirs[0] / "routed_pass_connectivity.json").write_text(json.dumps(timed))
    (workdirs[0] / "figures").mkdir()
    for name in ("loss", "reward"):
        (workdirs[0] / "figures" / f"{name}.png").write_text("new")
    (tmp_path / "connectivity_loss.png").write_text("old")
    variant = run(tmp_path / "connectivity_deep_2x-0", 0, SUMMARY, model={"cell": "concave"})
    for folders in ([*workdirs], [variant], workdirs[:1]):
        monkeypatch.setattr("sys.argv", ["results", *map(str, folders)])
        results.main()
    found = results.committed()
    assert [*found] == ["connectivity", "connectivity_deep_2x"]
    assert len(found["connectivity"]) == 1 and len(found["connectivity"][0]["runs"]) == 2
    assert results.read("routed_pass_connectivity") == timed
    assert (tmp_path / "connectivity_loss.png").read_text() == "new"
    assert not (tmp_path / "connectivity_reward.png").exists(), "no page shows it"


def test_what_is_no_run_is_answered_in_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.paper.results", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {tmp_path}: expected the workdir of a finished run")
