"""Of several scales' results, those with most seeds and the newest are shown."""

import json

import pytest

from benchmarks import committed


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(committed.measure, "RESULTS", tmp_path)

    def write(scale, name, content):
        (tmp_path / scale).mkdir(exist_ok=True)
        (tmp_path / scale / f"{name}.json").write_text(json.dumps(content))

    return write


def ran(seeds, date):
    return {"runs": [{}] * seeds, "ran": f"a machine, 2 cores, {date}"}


def test_most_seeds_win_and_of_as_many_the_newest(write):
    write("small", "mazes", ran(1, "2026-11-27"))
    assert committed.scales("mazes") == ["small"] and committed.scales("digits") == []
    write("medium", "mazes", ran(2, "2026-11-23"))
    assert committed.scales("mazes") == ["medium", "small"]
    write("small", "mazes", ran(2, "2026-11-27"))
    assert committed.scales("mazes") == ["small", "medium"]
    assert committed.record("mazes") == ran(2, "2026-11-27")
    assert committed.record("digits") is None


def test_a_family_is_a_config_and_its_variants_of_all_scales(write):
    for name in ("cifar10", "cifar10_small", "cifar10_model_0", "cifar10_small_deep_1.9x"):
        write("medium", name, ran(1, name))
    write("small", "cifar10_model_0", ran(2, "newer"))
    write("small", "cifar10_model_1", ran(1, "newer"))
    found = committed.family("cifar10")
    assert list(found) == ["cifar10", "cifar10_model_0", "cifar10_model_1"]
    assert found["cifar10_model_0"] == ran(2, "newer")


def test_rows_are_of_the_best_scale_that_has_any(write):
    table = lambda columns, *rows: [{"title": "T", "columns": columns, "rows": rows, "note": "N."}]
    write("small", "tables", table(["config", "new", "n"], ["a", "1", "3"], ["b", "2", "1"]))
    old = ["a", "4"], ["b", "5"], ["c", "6"], ["c", "7"]
    write("medium", "tables", table(["config", "n"], *old))
    for scale, name, seeds in (("small", "a", 3), ("small", "b", 1), ("small", "c", 9)):
        write(scale, name, ran(seeds, "2026-11-27"))
        write("medium", name, ran(2, "2026-11-23"))
    lines = committed.table("T").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    assert rows[0] == ["config", "new", "n"]
    assert rows[2:] == [["a", "1", "3"], ["b", "—", "5"], ["c", "—", "6"], ["c", "—", "7"]]
    assert lines[-1] == "N." and committed.table("other") == "Not run."


def test_the_newest_time_is_shown(write):
    timed = lambda date: {"environment": {"date": date}}
    assert committed.newest("training_digits") is None
    write("medium", "training_digits", timed("2026-11-27"))
    write("small", "training_digits", timed("2026-11-22"))
    assert committed.newest("training_digits") == timed("2026-11-27")
