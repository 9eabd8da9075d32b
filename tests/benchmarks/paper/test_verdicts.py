"""The ledger: looked up in the right runs, and a verdict that they decide."""

import json

import numpy as np
import pytest
from sample_records import SUMMARY

from benchmarks.paper import verdicts as ledger
from benchmarks.support import timed
from train.analysis.seeds import Group

KEPT = "The agent keeps the accuracy of iterating all layers at less cost"
MATCHED = "At its lowest price the agent matches uniform iteration with half of its MACs"
OWN = "DynaLay is more accurate than its own straight pass on CIFAR-10"
MATTERS = "Which samples are iterated matters"
ALONE = "DynaLay is more accurate than the plain CNN trained by itself"
CERTIFIED = "Layers can be certified contractions without loss of accuracy"
GAP = "The agent closes 60 % of the way from random routing to the oracle"
STATIC = "DynaLay is more accurate than a"
FIG_6 = "Iterating all layers beats the plain CNN, each trained by itself"


def rows(**runs):
    groups = [Group(name, (), tuple(summaries)) for name, summaries in runs.items()]
    return {entry.claim.partition(" (")[0]: entry for entry in ledger.entries(groups)}


def test_without_runs_nothing_is_claimed():
    assert {entry.verdict for entry in rows().values()} == {"not run", "not measured"}


def test_every_run_that_can_say_something_is_heard():
    found = rows(connectivity=[SUMMARY, SUMMARY], cifar10_small=[SUMMARY])
    assert found[OWN].here.startswith("cifar10_small (n = 1): agent 93.0 %") and found[OWN].n == "1"
    kept = found[KEPT]
    assert (kept.verdict, kept.n) == ("holds in 3 of 3 runs", "3")
    assert kept.here.count("at 25 % of their cost") == 2
    thought = found["Hard samples get more thought"].here
    assert thought.startswith("cifar10_small (n = 1): 5.0 where the straight pass is wrong")
    assert found["DynaLay reaches 85 % on CIFAR-100"].verdict == "not run"


def test_a_run_that_did_not_measure_it_has_no_say():
    collapsed = SUMMARY | {"converged": None, "steps_when_straight_wrong": None}
    without = {key: value for key, value in SUMMARY.items() if key != "shuffled_accuracy"}
    found = rows(digits=[collapsed, without])
    assert found["Solves reach their tolerance"].verdict == "holds in 1 of 1 runs"
    assert found["Hard samples get more thought"].n == "1"
    assert found[MATTERS].n == "1"
    alone = rows(digits=[collapsed])
    assert alone["Solves reach their tolerance"].verdict == "not run"


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        (OWN, {"straight_accuracy": 0.94}),
        ("No operation is chosen most", {"actions": [0.3, 0.1, 0.6]}),
        ("The agent chooses among the layers", {"actions": [0.6, 0.0, 0.4]}),
        ("Iterating all layers is the most accurate route", {"layer_accuracies": [0.9, 0.935]}),
        (KEPT, {"all_layers_accuracy": 0.95}),
        (KEPT, {"mean_cost": 2.1}),
        (MATTERS, {"random_accuracy": 0.93}),
        (MATTERS, {"shuffled_accuracy": 0.94}),
        (
            "DynaLay is more accurate than a threshold on confidence at its cost",
            {"confidence_accuracy": 0.94},
        ),
        ("Hard samples get more thought", {"steps_when_straight_wrong": 2.0}),
        ("Solves reach their tolerance", {"converged": 0.98}),
    ],
)
def test_a_seed_that_says_otherwise_counts_against(claim, change):
    found = rows(cifar10_small=[SUMMARY, SUMMARY | change])
    compared = claim == MATTERS or claim.startswith("DynaLay is more accurate than a threshold")
    clear = ", in 0 by more than 2 standard errors" if compared else ""
    assert found[claim].verdict == f"holds in 1 of 2 runs{clear}"


@pytest.mark.parametrize(
    ("converged", "same", "error", "held"),
    [(1, 0.995, 0.01, 1), (1, 0.98, 0.01, 0), (1, 0.995, 0.06, 0), (0.98, 0.995, 0.01, 0)],
)
def test_where_solves_stop_need_not_be_the_fixed_point(tmp_path, converged, same, error, held):
    (tmp_path / "curve.json").write_text('{"agent": []}')
    good = {"converged": 1.0, "same_answer": 1.0, "gradient_error": 0.001}
    layers = [good, {"converged": converged, "same_answer": same, "gradient_error": error}]
    (tmp_path / "fixed_points.json").write_text(json.dumps({"layers": layers}))
    found = ledger.entries([Group("mazes", (tmp_path,), (SUMMARY,))])
    entry = next(entry for entry in found if entry.claim.startswith("Answers do not depend"))
    assert entry.verdict == f"holds in {held} of 1 runs"
    assert "layer 1 100.0 % the same answer, gradient off by 1e-03, layer 2" in entry.here


def test_an_lstm_gains_where_each_layer_makes_a_difference_that_counts():
    layers = [0.9005, 0.95], [0.902, 0.95]
    found = rows(wikitext2=[SUMMARY | {"layer_accuracies": each} for each in layers])
    assert found["An LSTM gains from iterating a layer"].verdict == "holds in 1 of 2 runs"


@pytest.mark.parametrize(
    ("claim", "variant", "better", "worse", "clear"),
    [
        (ALONE, "model_0", 0.92, 0.93, 0),
        ("DynaLay is more accurate than a DEQ", "deq_anderson", 0.92, 0.94, 0),
        ("Pre-training helps", "no_warmup", 0.92, 0.93, None),
        (f"{STATIC} wider plain CNN of as many MACs", "wide_2x", 0.92, 0.93, 0),
        (f"{STATIC} deeper plain CNN of as many MACs", "deep_1.7x", 0.9, 1, 1),
        (f"{STATIC} residual net of as many MACs", "residual_4x", 0.9, 1, 1),
    ],
)
def test_variants_are_compared_run_by_run(claim, variant, better, worse, clear):
    others = [SUMMARY | {"test_accuracy": accuracy} for accuracy in (better, worse)]
    assert rows(digits=[SUMMARY])[claim].verdict == "not run"
    found = rows(**{"digits": [SUMMARY] * 3, f"digits_{variant}": others})
    by = "" if clear is None else f", in {clear} by more than 2 standard errors"
    assert (found[claim].verdict, found[claim].n) == (f"holds in 1 of 2 runs{by}", "2")


def test_static_nets_of_other_macs_are_not_in_their_place():
    claim = f"{STATIC} wider plain CNN of as many MACs"
    dearer = [SUMMARY | {"test_accuracy": 0.99, "mean_macs": 4e6}]
    nets = {"digits": [SUMMARY], "digits_wide_2x": [SUMMARY | {"test_accuracy": 0.9}]}
    for order in ({**nets, "digits_wide_4x": dearer}, {"digits_wide_4x": dearer, **nets}):
        assert rows(**order)[claim].verdict.startswith("holds in 1 of 1 runs")
    assert rows(digits=[SUMMARY], digits_wide_4x=dearer)[claim].verdict == "not run"


def test_static_nets_are_compared_on_the_largest_test_data(tmp_path):
    def run(name, router, accuracies):
        (workdir := tmp_path / name).mkdir()
        (workdir / "curve.json").write_text('{"agent": []}')
        rows = [{"value": v, f"{router}_accuracy": a} for v, a in accuracies.items()]
        record = {"trained": 5, "rows": rows}
        (workdir / "extrapolate_side.json").write_text(json.dumps(record))
        return Group(name, (workdir,), (SUMMARY,))

    claim = f"{STATIC} residual net of as many MACs, on larger test data than in training"
    groups = [
        run("mazes", "agent", {5: 0.9, 10: 0.8, 12: 0.75}),
        run("mazes_residual_4x", "straight", {10: 0.7, 5: 1.0}),
        run("mazes_wide_4x", "straight", {4: 1.0, 5: 1.0}),
    ]
    found = {entry.claim: entry for entry in ledger.entries(groups)}
    assert found[claim].verdict == "holds in 1 of 1 runs"
    assert "agent 80.0 %, residual net 70.0 %, ahead by 10.00 points" in found[claim].here
    for net in ("deeper plain CNN", "wider plain CNN"):
        assert found[claim.replace("residual net", net)].verdict == "not run"


@pytest.mark.parametrize("cell", ["orthogonal", "bounded"])
def test_certified_cells_are_compared_with_free_ones_where_all_layers_are_iterated(cell):
    of = lambda accuracy: SUMMARY | {"all_layers_accuracy": accuracy, "test_accuracy": 0.5}
    cells = {f"digits_cell_{cell}": [of(0.941), of(0.939)]}
    assert rows(digits=[SUMMARY] * 2, **cells)[f"{CERTIFIED}, {cell}"].verdict == "not run"
    cells["digits_cell_free"] = [of(0.95)] * 2
    found = rows(digits=[SUMMARY] * 2, **cells)[f"{CERTIFIED}, {cell}"]
    assert (found.verdict, found.n) == ("holds in 1 of 2 runs", "2")
    assert found.here == (
        f"digits (n = 2): {cell} cells 94.0 ± 0.1 %, free cells 95.0 ± 0.0 %, "
        "the config's 93.5 ± 0.0 %"
    )


def test_what_is_within_the_error_is_not_clear():
    """A difference of 1 point in 93 % has a standard error of 1.2 points on 1,000 examples."""
    claim = "DynaLay is more accurate than a threshold on confidence at its cost"
    verdict = lambda change: rows(scales=[SUMMARY | change])[claim].verdict
    said = "holds in 1 of 1 runs, in {} by more than 2 standard errors"
    assert verdict({}) == said.format(0)
    assert verdict({"test_examples": 10_000}) == said.format(1)
    assert verdict({"confidence_accuracy": 0.9}) == said.format(1)
    found = rows(scales=[SUMMARY | {"random_accuracy": 0.5}])[MATTERS]
    assert found.verdict.endswith("in 1 by more than 2 standard errors"), "the shuffled has 90.5"
    found = rows(scales=[SUMMARY | {"random_accuracy": 0.5, "shuffled_accuracy": 0.92}])[MATTERS]
    assert found.verdict.endswith("in 0 by more than 2 standard errors")


def test_differences_are_those_of_each_run():
    both = [SUMMARY, SUMMARY | {"test_accuracy": 0.91, "confidence_accuracy": 0.902}]
    found = rows(scales=both)["DynaLay is more accurate than a threshold on confidence at its cost"]
    assert found.here.endswith("ahead by 0.90 ± 0.14 points")


def test_the_gap_closed_is_that_of_each_run():
    found = rows(scales=[SUMMARY | {"gap_closed": gap} for gap in (0.61, 0.59)], digits=[SUMMARY])
    assert found[GAP].verdict == "holds in 1 of 2 runs"
    assert found[GAP].here == "scales (n = 2): 60 ± 1 %, the surest routes — %"
    known = {"gap_closed": 0.6, "oracle_accuracy": 0.96, "surest_accuracy": 0.95}
    found = rows(scales=[SUMMARY | known, SUMMARY | {"gap_closed": 0.6}])
    assert found[GAP].here == "scales (n = 2): 60 ± 0 %, the surest routes 80 (1 of 2) %"


def test_baselines_are_compared_with_each_other():
    none, every = [SUMMARY, SUMMARY], [SUMMARY | {"test_accuracy": a} for a in (0.94, 0.93)]
    found = rows(digits=none, digits_model_0=none, digits_model_2=every)
    assert found[FIG_6].verdict == "holds in 1 of 2 runs"
    assert found[FIG_6].here == "digits (n = 2): none 93.0 ± 0.0 %, all 93.5 ± 0.7 %"


def test_cost_falls_with_the_price(tmp_path):
    def verdict(costs):
        point = lambda price, cost: {"price": price, "mean_cost": cost, "accuracy": 0.9}
        curve = {"agent": [point(10.0**i, cost) for i, cost in enumerate(costs)]}
        (tmp_path / "curve.json").write_text(json.dumps(curve))
        found = ledger.entries([Group("digits", (tmp_path,), (SUMMARY,))])
        return next(e.verdict for e in found if e.claim.startswith("A higher penalty"))

    assert verdict([2.0, 1.0, 1.0]) == "holds in 1 of 1 runs"
    assert verdict([2.0, 0.5, 1.0]) == verdict([1.0, 1.0]) == "holds in 0 of 1 runs"
    assert verdict([]) == "not run"


def test_uniform_iteration_is_matched_at_half_its_macs():
    def entry(accuracy, cost):
        point = {"price": 0.01, "mean_cost": cost, "accuracy": accuracy}
        summary = SUMMARY | {"curve": [point, point | {"accuracy": 0.0}]}
        return rows(scales=[summary])[MATCHED]

    assert entry(0.926, 1.4).here == (
        "scales (n = 1): agent 92.6 %, all layers 93.5 %, at 48 % of their MACs"
    )
    verdicts = [entry(*at).verdict for at in ((0.926, 1.4), (0.924, 1.4), (0.926, 1.6))]
    assert verdicts == [f"holds in {n} of 1 runs" for n in (1, 0, 0)]


def test_the_best_layer_alone_is_matched_at_half_its_macs(tmp_path):
    claim = "At its lowest price the agent matches the best layer alone with half of its MACs"

    def entry(accuracy, cost):
        routers = {f"layer {i}": {"mean_cost": 2.0 * i} for i in (1, 2)}
        point = {"price": 0.01, "mean_cost": cost, "accuracy": accuracy}
        (tmp_path / "curve.json").write_text(json.dumps({"agent": [point], "routers": routers}))
        found = ledger.entries([Group("scales", (tmp_path,), (SUMMARY,))])
        return next(entry for entry in found if entry.claim == claim)

    assert entry(0.925, 1.4).here == (
        "scales (n = 1): agent 92.5 %, the best layer 93.4 %, at 48 % of its MACs"
    )
    verdicts = [entry(*at).verdict for at in ((0.925, 1.4), (0.923, 1.4), (0.925, 1.6))]
    assert verdicts == [f"holds in {n} of 1 runs" for n in (1, 0, 0)]


def test_where_nothing_gains_keeping_it_is_no_merit():
    found = rows(imdb=[SUMMARY], wikitext2=[SUMMARY])
    assert found[KEPT].verdict == found[MATCHED].verdict == "not run"


def test_taking_two_layers_always_is_no_choice():
    claim = "The agent chooses among the layers"
    both = SUMMARY | {"actions": [0.5, 0.5, 0.5]}
    verdicts = [
        rows(scales=[both | {"routes": routes}])[claim].verdict
        for routes in ([0.5, 0.19, 0.0, 0.31], [0.5, 0.2, 0.0, 0.3])
    ]
    assert verdicts == ["holds in 0 of 1 runs", "holds in 1 of 1 runs"]


def test_training_costs_are_of_the_record():
    def entries(*arms):
        rows = [
            timed.Arm("digits", name, *(np.array(3 * [time]) for time in times))
            for name, *times in arms
        ]
        return ledger.entries([], rows)[-4:]

    plain = ("plain CNN", 1.0, 2.0)
    for unknown in (entries(), entries(plain)):
        assert [entry.verdict for entry in unknown] == ["not measured"] * 4
    deqs = ("DEQ, Anderson", 4.8, 9.0), ("DEQ, Broyden", 7.6, 9.0)
    found = entries(plain, ("DynaLay, main", 1.51, 3.0), ("DynaLay, joint", 0.9, 3.1), *deqs)
    assert [entry.verdict for entry in found] == [
        "holds in 1 of 2 arms",
        "holds in 1 of 2 arms",
        "holds in 1 of 2 arms",
        "holds in 3 of 4 pairs of arms",
    ]
    assert {entry.n for entry in found} == {"1"}
    told = "digits, in multiples of the plain CNN: plain CNN {0}, DynaLay, main {1}, "
    assert found[0].here.startswith(told.format("1.00 (1.00–1.00)", "1.51 (1.51–1.51)"))
    assert found[2].here.startswith(told.format("1.00 (1.00–1.00)", "1.50 (1.50–1.50)"))
    assert "DynaLay, joint / DEQ, Broyden 0.12 (0.12–0.12)" in found[3].here
    assert [entry.paper for entry in found].count("not given") == 1


def test_noisy_times_leave_it_undecided():
    """Seven rounds, in some of which it takes as long as the plain CNN, in others twice as long."""
    ours = timed.Arm("digits", "DynaLay, main", np.array([1, 2, 1, 1.6, 2, 1, 2]), np.ones(7))
    plain = timed.Arm("digits", "plain CNN", np.ones(7), np.ones(7))
    found = ledger.entries([], [plain, ours])[-4:]
    assert [entry.verdict for entry in found] == [
        "holds in 0 of 1 arms, undecided in 1",
        "holds in 0 of 1 arms, undecided in 1",
        "holds in 1 of 1 arms",
        "not measured",
    ]
