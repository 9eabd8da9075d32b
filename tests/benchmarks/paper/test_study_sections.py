"""What runs were asked since: tables over the runs that have an answer."""

import dataclasses
import json

from matplotlib.figure import Figure
from sample_records import SUMMARY

from benchmarks.paper import study_sections
from train.analysis.seeds import Group


def runs(tmp_path, count=2):
    workdirs = [tmp_path / f"scales-{seed}" for seed in range(count)]
    for workdir in workdirs:
        workdir.mkdir()
    return Group("scales", tuple(workdirs), (SUMMARY,) * count)


def test_without_answers_there_is_no_table(tmp_path):
    group = runs(tmp_path)
    for answers in (
        study_sections.calibrated, study_sections.extrapolated, study_sections.corrupted,
        study_sections.noise, study_sections.judged,
        study_sections.solved,
    ):  # fmt: skip
        assert not answers([group]).rows


def test_calibrated_settings_and_how_often_there_was_none(tmp_path):
    group = runs(tmp_path, 3)
    for workdir, router, cost in zip(group.workdirs, ("agent", "all"), (2.0, 4.0), strict=False):
        test = {"cost": cost, "all_layers_cost": 8.0, "accuracy": 0.9, "extra_error": 0.015}
        record = {"risk": 0.02, "delta": 0.1, "choice": {"router": router}, "test": test}
        (workdir / "calibrate_agent.json").write_text(json.dumps(record))
    part = study_sections.calibrated([group])
    assert part.columns[-1] == "all layers chosen"
    assert part.rows == [
        ["scales", "agent", "2, 0.1", "2", "3.00 ± 1.41", "8.00 ± 0.00", "90.0 ± 0.0",
         "1.50 ± 0.00", "1"],
    ]  # fmt: skip


def test_corruptions_are_rows_and_severities_columns(tmp_path):
    group = runs(tmp_path)
    for i, workdir in enumerate(group.workdirs):
        rows = [
            {"severity": s, "agent_accuracy": 0.9 - s / 10, "agent_cost": i + s, "agent_ece": 0.05}
            for s in (0, 1)
        ]
        (workdir / "corruption.json").write_text(json.dumps({"corruptions": {"blur": rows}}))
    part = study_sections.corrupted([group, dataclasses.replace(group, workdirs=())])
    assert part.columns == ["config", "corruption", "n", "0", "1"]
    assert part.rows == [
        ["scales", "blur: accuracy (%)", "2", "90.0 ± 0.0", "80.0 ± 0.0"],
        ["scales", "blur: cost", "2", "0.50 ± 0.71", "1.50 ± 0.71"],
        ["scales", "blur: ECE (points)", "2", "5.0 ± 0.0", "5.0 ± 0.0"],
    ]


def test_noise_is_beside_the_test_set(tmp_path):
    group = runs(tmp_path, 3)
    for cost, workdir in enumerate(group.workdirs[:2], 1):
        record = {"uniform_noise": {"agent_cost": cost, "no_operation": 0.4}}
        (workdir / "corruption.json").write_text(json.dumps(record))
    rows = study_sections.noise([group]).rows
    assert rows == [["scales", "2", "1.00 ± 0.00", "1.50 ± 0.71", "40.0 ± 0.0"]]


def test_other_data_are_averaged_over_the_runs_that_were_asked(tmp_path):
    group = runs(tmp_path)
    for i, workdir in enumerate(group.workdirs):
        keys = ("straight_accuracy", "agent_accuracy", "all_layers_accuracy")
        costs = {"agent_cost": 2.0, "all_layers_cost": 8.0, "agent_steps": 5.0}
        rows = [
            {"value": value, **dict.fromkeys(keys, 0.8 + 0.02 * i + value / 1000), **costs}
            for value in (10, 20)[: 2 - i]
        ]
        record = {"field": "grid", "trained": 10, "rows": rows}
        (workdir / "extrapolate_grid.json").write_text(json.dumps(record))
    rows = study_sections.extrapolated([group, dataclasses.replace(group, workdirs=())]).rows
    assert [row[:4] for row in rows] == [
        ["scales", "grid = 10 as in training", "2", "82.0 ± 1.4"],
        ["scales", "grid = 20", "1", "82.0"],
    ]
    assert rows[0][-3:] == ["2.00 ± 0.00", "8.00 ± 0.00", "5.0 ± 0.0"]


def test_figures_have_the_static_nets_that_were_asked_about_the_same_data(tmp_path, monkeypatch):
    drawn = []
    draw = lambda *what: drawn.append(what) or Figure()
    monkeypatch.setattr(study_sections.figures_records, "extrapolate", draw)
    own = runs(tmp_path, 1)
    static = [Group(f"scales_{name}", (tmp_path / name,), ({"router": "none"},))
              for name in ("wide_2x", "deep_2x", "residual_2x")]  # fmt: skip
    values = {"scales-0": (10, 20), "wide_2x": (20, 10, 30), "deep_2x": (10,)}
    for name, known in values.items():
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rows = [{"value": value, "straight_accuracy": value / 100} for value in known]
        (folder / "extrapolate_grid.json").write_text(json.dumps({"rows": rows}))
    figures = study_sections.extrapolation_figures([own, *static])
    assert figures.keys() == {"scales_extrapolate_grid"}
    assert figures["scales_extrapolate_grid"].get_suptitle().startswith("scales-0: ")
    assert drawn[0][1] == {"wide_2x": [0.1, 0.2]}


def test_cost_by_fifths_of_what_another_model_finds_hard(tmp_path):
    group = runs(tmp_path)
    for i, workdir in enumerate(group.workdirs):
        parts = [{"agent_cost": float(i + part)} for part in range(5)]
        record = {"judge": f"net-{i}", "cost_spearman": 0.5, "unsure_spearman": None}
        (workdir / "difficulty_judge.json").write_text(json.dumps({**record, "parts": parts}))
    assert study_sections.judged([group, dataclasses.replace(group, workdirs=())]).rows == [
        ["scales", "net-0, net-1", "2", "0.50 ± 0.00", "—", "0.50 ± 0.71", "1.50 ± 0.71",
         "2.50 ± 0.71", "3.50 ± 0.71", "4.50 ± 0.71"],
    ]  # fmt: skip


def test_solves_are_told_layer_by_layer(tmp_path):
    group = runs(tmp_path)
    for i, workdir in enumerate(group.workdirs):
        layer = {"converged": 1.0, "median_distance": 1e-3, "far_distance": 0.02}
        layer |= {"same_answer": 0.9 + 0.1 * i, "gradient_error": 1e-4, "stopped_error": 3e-4}
        record = {"layers": [layer, layer | {"converged": 0.5}]}
        (workdir / "fixed_points.json").write_text(json.dumps(record))
    first, second = study_sections.solved([group, dataclasses.replace(group, workdirs=())]).rows
    rest = ["1e-03 ± 0e+00", "2e-02 ± 0e+00", "95.0 ± 7.1", "1e-04 ± 0e+00", "3e-04 ± 0e+00"]
    assert first == ["scales", "layer 1", "2", "100.0 ± 0.0", *rest]
    assert second == ["scales", "layer 2", "2", "50.0 ± 0.0", *rest]
