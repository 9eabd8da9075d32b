"""Tables of follow-up studies, over the runs that have them."""

import pytest

from benchmarks.paper import study_sections


def rows(section):
    return section.table.to_numpy().tolist()


@pytest.fixture
def studied(record):
    """Makes records of scales whose runs have these studies."""
    return lambda *studies: {"scales": record(*(({}, each) for each in studies))}


def test_halting_rules_are_beside_the_agent(studied):
    names = ("agent", "early_exit", "pondernet", "q_exit", "act")
    at = {name: {"accuracy": 0.8 + 0.01 * i} for i, name in enumerate(names)}
    found = study_sections.early_exit(studied({}, {"early_exit": {"at_agent_cost": at}}))
    assert rows(found) == [["scales", "1", "92.0", "81.0", "82.0", "83.0", "84.0", "80.0"]]


def test_calibrated_settings_and_how_often_there_was_none(studied):
    test = {"all_layers_cost": 8.0, "accuracy": 0.9, "extra_error": 0.015}
    of = lambda router, cost: {
        "risk": 0.02, "delta": 0.1, "choice": {"router": router}, "test": test | {"cost": cost},
    }  # fmt: skip
    records = studied(
        {"calibrate_agent": of("all", 2.0), "calibrate_confidence": of("confidence", 1.0)},
        {"calibrate_agent": of("all", 4.0)},
        {},
    )
    assert rows(study_sections.calibrate(records)) == [
        ["scales", "agent", "2, 0.1", "2", "3.00 ± 1.41", "8.00 ± 0.00", "90.0 ± 0.0",
         "1.50 ± 0.00", 2],
        ["scales", "confidence", "2, 0.1", "1", "1.00", "8.00", "90.0", "1.50", 0],
    ]  # fmt: skip


def test_cost_by_fifths_of_what_another_model_finds_hard(studied):
    of = lambda i: {
        "judge": "net", "cost_spearman": 0.5, "unsure_spearman": None,
        "parts": [{"agent_cost": float(i + part)} for part in range(5)],
    }  # fmt: skip
    found = study_sections.difficulty_judge(studied(*({"difficulty_judge": of(i)} for i in (0, 1))))
    costs = [f"{part}.50 ± 0.71" for part in range(5)]
    assert rows(found) == [["scales", "net", "2", "0.50 ± 0.00", "—", *costs]]


def test_corruptions_are_rows_and_severities_columns(studied):
    of = lambda i: [
        {"severity": s, "agent_accuracy": 0.9 - s / 10, "agent_cost": i + s, "agent_ece": 0.05}
        for s in (0, 1)
    ]
    runs = [{"corruption": {"corruptions": {"blur": of(i), "fog": of(i)}}} for i in (0, 1)]
    runs[0]["corruption"]["uniform_noise"] = {"agent_cost": 1.5, "straight_share": 0.4}
    records = studied(*runs)
    found = study_sections.corruption(records)
    assert [*found.table] == ["config", "corruption", "quantity", "n", "0", "1"]
    assert rows(found)[:4] == [
        ["scales", "blur", "accuracy", "2", "90.0 ± 0.0", "80.0 ± 0.0"],
        ["scales", "blur", "cost", "2", "0.50 ± 0.71", "1.50 ± 0.71"],
        ["scales", "blur", "ece", "2", "5.0 ± 0.0", "5.0 ± 0.0"],
        ["scales", "fog", "accuracy", "2", "90.0 ± 0.0", "80.0 ± 0.0"],
    ]
    assert rows(study_sections.noise(records)) == [["scales", "1", "1.00", "1.50", "40.0"]]


def test_larger_data_are_rows_with_the_static_nets_beside(record):
    def study(router, *accuracies, **more):
        rows = [
            {"value": 5 + i, f"{router}_accuracy": accuracy, **more}
            for i, accuracy in enumerate(accuracies)
        ]
        return {"extrapolate_side": {"trained": 5, "rows": rows}}

    more = {"straight_accuracy": 0.5, "all_layers_accuracy": 1.0, "agent_cost": 2.0}
    net = record(({"router": "none"}, study("straight", 1.0, 0.6)))
    records = {
        "mazes": record(*(({}, study("agent", 0.9, at, **more)) for at in (0.7, 0.9))),
        "mazes_deep_2x": net,
        "scales": record(({}, study("agent", 0.9, **more))),
    }
    same = ["2", "50.0 ± 0.0"]
    assert rows(study_sections.larger(records)) == [
        ["mazes", "side = 5 (as in training)", *same, "90.0 ± 0.0", "100.0 ± 0.0",
         "deep_2x 100.0", "2.00 ± 0.00", "—"],
        ["mazes", "side = 6", *same, "80.0 ± 14.1", "100.0 ± 0.0", "deep_2x 60.0",
         "2.00 ± 0.00", "—"],
        ["scales", "side = 5 (as in training)", "1", "50.0", "90.0", "100.0", "—", "2.00", "—"],
    ]  # fmt: skip


def test_solves_are_shown_layer_by_layer(studied):
    layer = {"converged": 1.0, "median_distance": 1e-3, "far_distance": 0.02}
    layer |= {"same_answer": 0.9, "gradient_error": 1e-4, "stopped_error": 3e-4}
    found = study_sections.fixed_points(
        studied({"fixed_points": {"layers": [layer, layer | {"converged": 0.5}]}}, {})
    )
    rest = ["1e-03", "2e-02", "90.0", "1e-04", "3e-04"]
    assert rows(found) == [
        ["scales", "layer 1", "1", "100.0", *rest],
        ["scales", "layer 2", "1", "50.0", *rest],
    ]
