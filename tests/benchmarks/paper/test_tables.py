"""Means over seeds as text, and the README's table."""

import pandas as pd

from benchmarks.paper import tables


def test_lists_are_averaged_entry_by_entry():
    assert tables.per_layer([[0.5, 0.5], [1.0, 0.0]]) == "75 / 25"


def test_groups_are_rows_in_the_order_of_the_runs():
    rows = pd.DataFrame([{"name": "b", "x": 0.5}, {"name": "a", "x": None}, {"name": "b"}])
    columns = {"x": ("x", ".0f", 100), "y": ("y", "", 1)}
    table = tables.averaged(rows.assign(at=1), ["name", "at"], columns)
    expected = [["b", 1, "2", "50 (1 of 2)", "—"], ["a", 1, "1", "—", "—"]]
    assert table.to_numpy().tolist() == expected
    assert [*table] == ["config", "at", "n", "x", "y"]
    assert tables.averaged(pd.DataFrame(), ["name"], {}).empty


def test_the_readmes_table_has_the_best_static_net(record):
    nets = [{"router": "none", "test_accuracy": accuracy} for accuracy in (0.92, 0.94)]
    records = {
        "digits": record({"test_accuracy": 0.91}, {}),
        "digits_wide_2x": record(nets[0]),
        "digits_deep_2x": record(nets[1]),
        "parity": record({}),
    }
    digits, parity = tables.summary_table(records).to_numpy().tolist()
    assert digits == [
        "`digits`", "90.0 ± 0.0 % → 93.5 ± 0.0 %", "92.0 ± 1.4 % (40%)", "94.0 %"
    ]  # fmt: skip
    assert parity[-1] == "—"
