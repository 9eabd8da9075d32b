"""Tables about the agent: the right numbers in each, and no table without rows."""

from benchmarks.paper import sections
from benchmarks.paper.results import frame


def rows(section):
    return section.table.to_numpy().tolist()


def test_without_runs_there_is_no_table():
    assert sections.sections({}, []) == {}


def test_variants_without_agent_are_in_the_static_table_alone(record):
    records = {"digits": record({}), "digits_model_0": record({"router": "none", "mean_macs": 1e6})}
    found = sections.sections(records, [])
    about_agents = [name for name in found if name != "static"]
    assert about_agents == ["accuracy", "gap", "cost", "thinking", "ece"]
    assert all([*found[name].table.config] == ["digits"] for name in about_agents)
    assert [*found["static"].table.config] == ["digits_model_0", "digits"], "by MACs"


def test_the_gap_is_from_random_to_the_oracle(record):
    known = {"gap_closed": 0.6, "oracle_accuracy": 0.96, "surest_accuracy": 0.95}
    found = rows(sections.sections({"scales": record(known, {"gap_closed": 0.4})}, [])["gap"])
    assert found[0][-3:] == ["20 (1 of 2)", "50 ± 14", "80 (1 of 2)"]
    assert (
        sections.share_of_gap(known | {"random_accuracy": 0.91, "gap_closed": None}, "surest")
        is None
    )


def test_layers_alone_are_beside_what_the_agent_iterates(record):
    curve = {"routers": {f"layer {i}": {"accuracy": 0.9 + i / 100, "mean_cost": i} for i in (1, 2)}}
    found = rows(sections.sections({"digits": record(({}, {"curve": curve}))}, [])["cost"])
    assert found == [
        ["digits", "50 / 20 / 30", "1.00", "4.00", "91.0 / 92.0", "1.00 / 2.00", "1.0"]
    ]


def test_static_nets_have_their_times(record):
    static = {"router": "none", "parameters": 1500, "mean_macs": 1e6}
    records = {"digits": record({}, {}), "digits_model_0": record(static), "parity": record({})}
    records |= {"mazes": record({}), "mazes_loose": record({"mean_macs": 1e5})}
    times = {"agent": 0.25, "none: straight pass alone": 0.5, "random": 1.0}
    timed = [{"router": name, "median_ms": ms} for name, ms in times.items()]
    found = rows(sections.sections(records, [{"config": "digits", "rows": timed}])["static"])
    assert found == [
        ["digits_model_0", "1", "93.0", "1.5", "1.000", "500"],
        ["digits", "2", "93.0 ± 0.0", "—", "2.000", "250"],
        ["mazes_loose", "1", "93.0", "—", "0.100", "—"],
        ["mazes", "1", "93.0", "—", "2.000", "—"],
    ]


def test_calibration_is_averaged_by_route(record):
    runs = record({"ece": [0.01, None, 0.04]}, {"ece": [0.03, None, None]})
    found = sections.sections({"digits": runs, "old": record({})}, [])["ece"]
    assert [*found.table] == ["config", "n", "straight pass", "layer 1", "layer 2"]
    assert rows(found) == [
        ["digits", "2", "2.0 ± 1.4", "—", "4.0 (1 of 2)"],
        ["old", "1", "—", "—", "—"],
    ]


def test_cells_of_a_config_stand_together(record):
    records = {
        "digits": record({}),
        "digits_cell_orthogonal": record({"test_accuracy": 0.8}, {}, cell="orthogonal"),
        "scales": record({}, cell="concave"),
        "scales_loose": record({}, cell="concave"),
    }
    found = rows(sections.sections(records, [])["certificate"])
    assert [row[:6] for row in found] == [
        ["digits", "cascade", "no", "1", "90.0", "93.0"],
        ["digits", "orthogonal", "yes", "2", "90.0 ± 0.0", "86.5 ± 9.2"],
    ]
    assert "certificate" not in sections.sections({"digits": record({})}, [])
    assert len(frame(records)) == 5
