"""Of several scales' results, those with most seeds and the newest are shown."""

import json

import pytest

from benchmarks.paper import committed


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(committed.measure, "RESULTS", tmp_path)

    def write(scale, name, content):
        (tmp_path / scale).mkdir(exist_ok=True)
        (tmp_path / scale / f"{name}.json").write_text(json.dumps(content))

    return write


def ran(seeds, date):
    return {"runs": [{}] * seeds, "ran": f"a machine, 2 cores, {date}"}


def test_most_seeds_win_and_of_as_many_the_newest_and_of_one_day_the_larger_scale(write):
    write("small", "mazes", ran(1, "2026-11-27"))
    assert committed.scales("mazes") == ["small"] and committed.scales("digits") == []
    write("medium", "mazes", ran(2, "2026-11-23"))
    assert committed.scales("mazes") == ["medium", "small"]
    write("small", "mazes", ran(2, "2026-11-27"))
    assert committed.scales("mazes") == ["small", "medium"]
    assert committed.record("mazes") == ran(2, "2026-11-27")
    write("medium", "mazes", ran(2, "2026-11-27"))
    assert committed.scales("mazes") == ["medium", "small"]
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
    def table(scale, columns, *rows):
        write(scale, "tables", [{"title": "T", "columns": columns, "rows": rows, "note": scale}])

    unknown = ["all", "not run", "—"]
    new = ["digits_cell_free", "1", "9"], ["digits", "1", "3"], ["mazes", "2", "1"], unknown
    table("small", ["config", "new", "n"], *new)
    table("medium", ["config", "n"], ["imdb", "6"], ["imdb", "7"], ["digits", "4"], ["mazes", "5"])
    for scale, name, seeds in (("small", "digits", 3), ("small", "mazes", 1), ("small", "imdb", 9)):
        write(scale, name, ran(seeds, "2026-11-27"))
        write("medium", name, ran(2, "2026-11-23"))
    write("small", "digits_cell_free", ran(1, "2026-11-27"))
    lines = committed.table("T").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    assert rows[0] == ["config", "new", "n"] and lines[-1] == "small"
    assert rows[2:] == [
        ["digits", "1", "3"],
        ["digits_cell_free", "1", "9"],
        ["mazes", "—", "5"],
        ["imdb", "—", "6"],
        ["imdb", "—", "7"],
    ]


def test_what_no_scale_has_is_not_run(write):
    assert committed.table("T") == "Not run."
    rows = [["all", "not run"]]
    write("small", "tables", [{"title": "T", "columns": ["config", "n"], "rows": rows, "note": ""}])
    assert committed.table("T") == "Not run."


def test_the_newest_time_is_shown_and_of_one_day_the_larger_scale(write):
    timed = lambda scale, day: {"environment": {"date": day}, "scale": scale}
    assert committed.newest("training_digits") is None
    write("medium", "training_digits", timed("medium", "2026-11-22"))
    write("small", "training_digits", timed("small", "2026-11-27"))
    assert committed.newest("training_digits")["scale"] == "small"
    write("medium", "training_digits", timed("medium", "2026-11-27"))
    assert committed.newest("training_digits")["scale"] == "medium"
