"""The paper's tables and figures: its numbers beside the right runs'."""

import pytest
from sample_records import training_record

from benchmarks.paper import published


def sections(records, timed=()):
    found = published.sections(records, timed)
    return {name: part.table.to_numpy().tolist() for name, part in found.items()}


@pytest.fixture
def records(record):
    return {
        "digits": record({}, {"test_accuracy": 0.95}),
        "digits_model_0": record({"test_accuracy": 0.91, "router": "none"}),
        "digits_deq_broyden": record({"test_accuracy": 0.92, "router": "all"}),
        "digits_no_warmup": record({"test_accuracy": 0.89}),
        "cifar10_small": record({}),
        "cifar10_small_model_2": record({"test_accuracy": 0.8, "router": "all"}),
        "mazes": record({}),
    }


def test_table_1_has_the_papers_numbers_and_ours(records, record):
    rows = [row[:5] for row in sections(records)["table_1"]]
    assert rows == [
        ["digits", "DynaLay, the agent", "—", "2", "94.0 ± 1.4"],
        ["digits", "plain CNN", "—", "1", "91.0"],
        ["digits", "DEQ, Broyden", "—", "1", "92.0"],
    ]
    records["cifar10_small_deq_anderson"] = record({"router": "all"})
    rows = [row[:4] for row in sections(records)["table_1"]]
    assert ["cifar10_small", "DynaLay, the agent", "92", "1"] in rows
    assert ["cifar10_small", "DEQ, Anderson", "91", "1"] in rows


def test_backward_times_are_of_the_record():
    arms = {"plain CNN": ([1, 1], [3, 3]), "DEQ, Broyden": ([1, 1], [4, 4])}
    rows = sections({}, [training_record(**arms)])["table_1_time"]
    assert rows == [
        ["the paper", "DynaLay", "87", "0.72"],
        ["the paper", "plain CNN", "120", "1.00"],
        ["the paper", "DEQ", "600", "—"],
        ["digits", "plain CNN", "2 ms (2–2)", "1.00 (1.00–1.00)"],
        ["digits", "DEQ, Broyden", "3 ms (3–3)", "1.50 (1.50–1.50)"],
    ]


def test_selection_schedules_and_prices(records):
    found = sections(records)
    assert found["fig_3"][:2] == [
        ["the paper", "—", "most", "25", "20"],
        ["digits", "2", "50.0 ± 0.0", "20.0 ± 0.0", "30.0 ± 0.0"],
    ]
    assert [row[0] for row in found["fig_3"][1:]] == ["digits", "cifar10_small", "mazes"]
    assert [row[:4] for row in found["fig_4"]] == [
        ["digits", "warm-up, then joint", "2", "94.0 ± 1.4"],
        ["digits", "all epochs joint", "1", "89.0"],
    ]
    first = ["digits", "1", "2", "62.0 ± 0.0", "0.10 ± 0.00"]
    assert found["fig_5"][0] == first and len(found["fig_5"]) == 3 * 4


def test_models_stand_beside_dynalays_weights(records):
    assert sections(records)["fig_6"][:4] == [
        ["digits", "Model 0", "1", "91.0", "90.0 ± 0.0"],
        ["digits", "Model 1", "0", "—", "91.0 ± 0.0"],
        ["digits", "Model 2", "0", "—", "93.5 ± 0.0"],
        ["cifar10_small", "Model 0", "0", "—", "90.0"],
    ]


def test_with_three_layers_the_second_model_was_evaluated_for_itself(record):
    three = {"layer_accuracies": [0.91, 0.92, 0.925], "first_accuracies": [0.929]}
    records = {"digits": record(three), "digits_model_3": record(three)}
    rows = [row[2:] for row in sections(records)["fig_6"]]
    assert rows == [
        ["0", "—", "90.0"],
        ["0", "—", "91.0"],
        ["0", "—", "92.9"],
        ["1", "93.0", "93.5"],
    ]


def test_every_route_of_an_lstm_has_accuracy_and_perplexity(record):
    losses = {"straight_loss": 2.0, "layer_losses": [1.0, 0.5], "all_layers_loss": 0.0}
    runs = record(losses | {"test_loss": 3.0}, losses | {"test_loss": 3.0}, cell="lstm")
    assert sections({"wikitext2": runs, "digits": record({})})["fig_7"] == [
        ["wikitext2", "straight pass", "2", "90.0 ± 0.0", "7.39 ± 0.00"],
        ["wikitext2", "layer 1", "2", "91.0 ± 0.0", "2.72 ± 0.00"],
        ["wikitext2", "layer 2", "2", "93.4 ± 0.0", "1.65 ± 0.00"],
        ["wikitext2", "all layers", "2", "93.5 ± 0.0", "1.00 ± 0.00"],
        ["wikitext2", "agent", "2", "93.0 ± 0.0", "20.09 ± 0.00"],
    ]


def test_what_was_not_run_has_no_table():
    assert sections({}) == {}
