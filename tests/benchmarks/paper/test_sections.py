"""Tables about the agent and of studies: the right numbers in each, and no table without rows."""

import pytest

from benchmarks.paper import sections


def rows(records, name, passes=()):
    return sections.sections(records, passes)[name].table.to_numpy().tolist()


@pytest.fixture
def studied(record):
    """Makes records of scales whose runs have these studies."""
    return lambda *studies: {"scales": record(*(({}, each) for each in studies))}


def test_without_runs_there_is_no_table():
    assert sections.sections({}, []) == {}


def test_variants_without_agent_are_in_the_static_table_alone(record):
    records = {"digits": record({}), "digits_model_0": record({"router": "none", "mean_macs": 1e6})}
    found = sections.sections(records, [])
    about_agents = [name for name in found if name != "static"]
    assert about_agents == ["accuracy", "gap", "cost", "thinking"]
    assert all([*found[name].table.config] == ["digits"] for name in about_agents)
    assert [*found["static"].table.config] == ["digits_model_0", "digits"], "by MACs"


def test_the_finer_rule_is_the_better_one_of_each_run(record):
    first = {"two_thresholds_accuracy": 0.9}
    second = first | {"two_thresholds_accuracy": 0.8, "two_rounds_accuracy": 0.9}
    records = {"scales": record(first, second, {}), "mazes": record({})}
    finer = [row[5] for row in rows(records, "accuracy")]
    assert finer == ["90.0 ± 0.0 (2 of 3)", "—"]


def test_layers_alone_are_beside_what_the_agent_iterates(record):
    found = rows({"digits": record({})}, "cost")
    assert found == [["digits", "50 / 20 / 30", "1.00", "4.00", "91.0 / 93.4", "1.0"]]


def test_static_nets_have_their_times(record):
    static = {"router": "none", "parameters": 1500, "mean_macs": 1e6}
    records = {"digits": record({}, {}), "digits_model_0": record(static), "parity": record({})}
    records |= {"mazes": record({}), "mazes_loose": record({"mean_macs": 1e5})}
    times = {"agent": 0.25, "none: straight pass alone": 0.5, "random": 1.0}
    timed = [{"router": name, "median_ms": ms} for name, ms in times.items()]
    found = rows(records, "static", [{"config": "digits", "rows": timed}])
    assert found == [
        ["digits_model_0", "1", "93.0", "1.5", "1.000", "500"],
        ["digits", "2", "93.0 ± 0.0", "—", "2.000", "250"],
        ["mazes_loose", "1", "93.0", "—", "0.100", "—"],
        ["mazes", "1", "93.0", "—", "2.000", "—"],
    ]


def test_cells_of_a_config_stand_together(record):
    records = {
        "digits": record({}),
        "digits_cell_orthogonal": record({"test_accuracy": 0.8}, {}, cell="orthogonal"),
        "scales": record({}, cell="concave"),
        "scales_loose": record({}, cell="concave"),
    }
    assert [row[:5] for row in rows(records, "certificate")] == [
        ["digits", "cascade", "no", "1", "93.0"],
        ["digits", "orthogonal", "yes", "2", "86.5 ± 9.2"],
    ]


def test_halting_rules_are_beside_the_agent(studied):
    names = ("agent", "early_exit", "pondernet", "q_exit", "act")
    at = {name: {"accuracy": 0.8 + 0.01 * i} for i, name in enumerate(names)}
    found = rows(studied({}, {"early_exit": {"at_agent_cost": at}}), "early_exit")
    assert found == [["scales", "1", "92.0", "81.0", "82.0", "83.0", "84.0", "80.0"]]


def test_calibrated_settings_stand_by_config(studied, record):
    test = {"all_layers_cost": 8.0, "extra_error": 0.015}
    of = lambda cost: {"risk": 0.02, "delta": 0.1, "test": test | {"cost": cost}}
    records = studied(
        {"calibrate_agent": of(2.0), "calibrate_confidence": of(1.0)}, {"calibrate_agent": of(4.0)}
    )
    records["mazes"] = record(({}, {"calibrate_agent": of(3.0)}))
    assert rows(records, "calibrate") == [
        ["scales", "agent", "2, 0.1", "2", "3.00 ± 1.41", "8.00 ± 0.00", "1.50 ± 0.00"],
        ["scales", "confidence", "2, 0.1", "1", "1.00", "8.00", "1.50"],
        ["mazes", "agent", "2, 0.1", "1", "3.00", "8.00", "1.50"],
    ]


def test_cost_of_what_another_model_finds_easy_and_hard(studied):
    of = lambda i: {
        "judge": "net", "cost_spearman": 0.5, "unsure_spearman": None,
        "parts": [{"agent_cost": float(i + part)} for part in range(5)],
    }  # fmt: skip
    found = rows(studied(*({"difficulty_judge": of(i)} for i in (0, 1))), "difficulty_judge")
    costs = ["0.50 ± 0.71", "4.50 ± 0.71"]
    assert found == [["scales", "net", "2", "0.50 ± 0.00", "—", *costs]]


def test_corruptions_are_rows_with_means_by_severity(studied):
    of = lambda i: [
        {"severity": s, "agent_accuracy": 0.9 - s / 10, "agent_cost": i + s, "agent_ece": 0.05}
        for s in (0, 1)
    ]
    runs = [{"corruption": {"corruptions": {"blur": of(i), "fog": of(i)}}} for i in (0, 1)]
    runs[0]["corruption"]["uniform_noise"] = {"agent_cost": 1.5, "straight_share": 0.4}
    means = ["2", "90.0 / 80.0", "0.50 / 1.50", "5.0 / 5.0"]
    expected = [["scales", "blur", *means], ["scales", "fog", *means]]
    assert rows(studied(*runs), "corruption") == expected
    assert rows(studied(*runs), "noise") == [["scales", "1", "1.00", "1.50", "40.0"]]


def test_larger_data_are_rows_with_the_static_nets_beside(record):
    def study(router, *accuracies, **more):
        rows = [
            {"value": 5 + i, f"{router}_accuracy": accuracy, **more}
            for i, accuracy in enumerate(accuracies)
        ]
        return {"extrapolate_side": {"field": "side", "trained": 5, "rows": rows}}

    more = {"straight_accuracy": 0.5, "all_layers_accuracy": 1.0, "agent_cost": 2.0}
    records = {
        "mazes": record(*(({}, study("agent", 0.9, at, **more)) for at in (0.7, 0.9))),
        "mazes_deep_2x": record(({"router": "none"}, study("straight", 1.0, 0.6))),
        "scales": record(({}, study("agent", 0.9, **more))),
    }
    trained = "side = 5 (as in training)"
    assert rows(records, "larger") == [
        ["mazes", trained, "2", "90.0 ± 0.0", "100.0 ± 0.0", "2.00 ± 0.00", "deep_2x 100.0"],
        ["mazes", "side = 6", "2", "80.0 ± 14.1", "100.0 ± 0.0", "2.00 ± 0.00", "deep_2x 60.0"],
        ["scales", trained, "1", "90.0", "100.0", "2.00", "—"],
    ]


def test_solves_are_shown_layer_by_layer(studied):
    layer = {"converged": 1.0, "far_distance": 0.02, "same_answer": 0.9, "gradient_error": 1e-4}
    layers = [layer, layer | {"converged": 0.5}]
    assert rows(studied({"fixed_points": {"layers": layers}}, {}), "fixed_points") == [
        ["scales", "layer 1", "1", "100.0", "2e-02", "90.0", "1e-04"],
        ["scales", "layer 2", "1", "50.0", "2e-02", "90.0", "1e-04"],
    ]
