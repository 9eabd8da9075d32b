"""The paper's tables and figures: the right runs in each, and rows that say what was not run."""

import json

import numpy as np
import pytest
from sample_records import CURVE, SUMMARY, write

from benchmarks.paper import published, tables
from benchmarks.support import timed
from train.analysis.seeds import Group


def of(name, *changes, folder=None, cell="cascade"):
    workdirs = tuple(write(folder / f"{name}-{i}") for i, _ in enumerate(changes)) if folder else ()
    summaries = tuple({"seed": i} | SUMMARY | change for i, change in enumerate(changes))
    return Group(name, workdirs, summaries, {"model": {"cell": cell}})


def sections(groups, training=(), drawn=()):
    return {part.title: part for part in tables.sections(groups, training, drawn)}


@pytest.fixture
def groups(tmp_path):
    return [
        of("digits", {}, {"test_accuracy": 0.95}, folder=tmp_path),
        of("digits_model_0", {"test_accuracy": 0.91, "router": "none"}),
        of("digits_deq_broyden", {"test_accuracy": 0.92, "router": "all"}),
        of("digits_no_warmup", {"test_accuracy": 0.89}, folder=tmp_path),
        of("cifar10_small_model_2", {"test_accuracy": 0.8, "router": "all"}),
    ]


def test_table_1_has_the_papers_numbers_and_ours(groups):
    rows = [row[:5] for row in sections(groups)["Table 1: accuracy"].rows]
    assert ["digits", "DynaLay, the agent", "—", "2", "94.0 ± 1.4"] in rows
    assert ["digits", "plain CNN", "—", "1", "91.0"] in rows
    assert ["digits", "DEQ, Anderson", "—", "not run", "—"] in rows
    assert ["digits", "DEQ, Broyden", "—", "1", "92.0"] in rows
    for name in ("cifar10", "cifar10_small"):
        assert [name, "DynaLay, the agent", "92", "not run", "—"] in rows
        assert [name, "DEQ, Broyden", "91", "not run", "—"] in rows
    assert ["cifar100", "plain CNN", "82", "not run", "—"] in rows
    assert ["cifar100", "DEQ, Anderson", "—", "not run", "—"] in rows


def test_backward_times_are_of_the_record():
    rows = sections([])["Table 1: backward time"].rows
    assert rows == [
        ["paper", "DynaLay", "87", "0.72"],
        ["paper", "plain CNN", "120", "1.00"],
        ["paper", "DEQ", "600", "—"],
        ["all", "all", "not measured", "—"],
    ]
    of = lambda config, name, *times: timed.Arm(config, name, np.array(times), np.array(times))
    record = [
        of(config, *arm)
        for config in ("digits", "scales")
        for arm in (("plain CNN", 2.0, 2.0), ("DEQ, Broyden", 3.0, 3.0))
    ]
    rows = sections([], record)["Table 1: backward time"].rows
    assert rows[3:] == [
        [config, *arm]
        for config in ("digits", "scales")
        for arm in (
            ("plain CNN", "2 ms (2–2)", "1.00 (1.00–1.00)"),
            ("DEQ, Broyden", "3 ms (3–3)", "1.50 (1.50–1.50)"),
        )
    ]


def test_figures_are_where_the_paper_has_them(groups):
    drawn = ["digits_loss", "digits_no_warmup_loss", "digits_warmup", "cifar10_small_models"]
    found = sections(groups, drawn=drawn)
    figures = {title.partition(":")[0]: part.figures for title, part in found.items()}
    assert figures["Fig. 2"] == ["digits_loss"], "variants' are among the runs"
    assert figures["Fig. 4"] == ["digits_warmup"]
    models = next(part for title, part in found.items() if title.startswith("Fig. 6"))
    assert models.figures == ["cifar10_small_models"]


def test_selection_pretraining_and_rewards(groups):
    found = sections(groups)
    selection = found["Fig. 3: how often each layer is chosen (%)"]
    assert selection.rows == [
        ["paper", "—", "most", "25", "20"],
        ["digits", "2", "50.0 ± 0.0", "20.0 ± 0.0", "30.0 ± 0.0"],
    ]
    warmup = [row[:4] for row in found["Fig. 4: with and without pre-training"].rows]
    assert warmup[:2] == [
        ["digits", "warm-up, then joint", "2", "94.0 ± 1.4"],
        ["digits", "all epochs joint", "1", "89.0"],
    ]
    assert [row[0] for row in warmup] == ["digits"] * 2, "no row of a config with one schedule"
    reward = found["Fig. 5a: reward over training"].rows
    assert reward == [["digits", "2", "0.400 ± 0.000", "0.400 ± 0.000"]]
    loss = found["Fig. 2: loss"].rows[0]
    first, last = (sum(2 / s for s in steps) / 9 for steps in (range(1, 10), range(82, 91)))
    assert loss == ["digits", "2", f"{first:.3f} ± 0.000", f"{last:.3f} ± 0.000", "—"]


def test_prices_have_the_actions_if_they_were_recorded(groups):
    title = "Fig. 5b: selection and accuracy against the penalty"
    rows = sections(groups)[title].rows
    assert rows[0] == ["digits", "2", "1", "62.0 ± 0.0", "0.10 ± 0.00", "90 / 10 / 0"]
    assert len(rows) == 4
    old = {"agent": [{k: v for k, v in CURVE["agent"][0].items() if k != "actions"}]}
    for workdir in groups[0].workdirs:
        (workdir / "curve.json").write_text(json.dumps(old))
    assert sections(groups)[title].rows[0][-1] == "not recorded"


def test_models_stand_beside_dynalays_weights(groups):
    models = next(p for t, p in sections(groups).items() if t.startswith("Fig. 6"))
    assert models.rows[:3] == [
        ["digits", "Model 0", "1", "91.0", "2", "90.0 ± 0.0"],
        ["digits", "Model 1", "not run", "—", "2", "91.0 ± 0.0"],
        ["digits", "Model 2", "not run", "—", "2", "93.5 ± 0.0"],
    ]
    assert models.rows[-1] == ["cifar10_small", "Model 2", "1", "80.0", "—", "—"]
    assert f"{published.MODELS_SAMPLES} samples" in models.note


def test_with_three_layers_the_second_model_was_evaluated_for_itself():
    three = {"layer_accuracies": [0.91, 0.92, 0.925], "first_accuracies": [0.929]}
    models = tables.Found([of("digits", three), of("digits_model_3", {})]).models("digits")
    assert models[0] == {0: [], 1: [], 2: [], 3: [0.93]}
    assert models[1] == {0: [0.9], 1: [0.91], 2: [0.929], 3: [0.935]}


def test_of_lstms_every_route_has_accuracy_and_perplexity():
    losses = {"straight_loss": 2.0, "layer_losses": [1.0, 0.0], "test_loss": 3.0}
    said = losses | {"all_layers_loss": None}
    groups = [of("wikitext2", said, {}, cell="lstm"), of("digits", {})]
    found = sections(groups)["Fig. 7: LSTM with one layer iterated"]
    assert found.rows == [
        ["imdb", "all", "not run", "—", "—"],
        ["wikitext2", "no operation", "2", "90.0 ± 0.0", "7.39"],
        ["wikitext2", "layer 1", "2", "91.0 ± 0.0", "2.72"],
        ["wikitext2", "layer 2", "2", "93.4 ± 0.0", "1.00"],
        ["wikitext2", "all layers", "2", "93.5 ± 0.0", "—"],
        ["wikitext2", "the agent's", "2", "93.0 ± 0.0", "20.09"],
    ]


def test_without_runs_every_section_says_so():
    for part in tables.sections([], (), ()):
        assert all(len(row) == len(part.columns) for row in part.rows)
        if not part.title.startswith(("Fig. 4", "Fig. 6")):
            text = " ".join(map(" ".join, part.rows))
            assert any(word in text for word in ("not run", "not measured"))
