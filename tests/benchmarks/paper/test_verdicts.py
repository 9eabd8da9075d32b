"""The ledger: looked up in the right runs, and a verdict that they decide."""

import numpy as np
import pytest
from sample_records import training_record

from benchmarks.paper import claims, verdicts

MORE = "DynaLay is more accurate than "
OWN = f"{MORE}its own straight pass on CIFAR-10"
ALONE = f"{MORE}the plain CNN trained by itself"
CONFIDENCE = f"{MORE}a threshold on confidence at its cost"
MATTERS = f"{MORE}random routing and its own choices shuffled across samples"
FINER = f"{MORE}the better of two finer rules on confidence at its cost"
STATIC = f"{MORE}the best static net with the same MACs"
KEPT = "The agent keeps the accuracy of iterating all layers at less cost"
HALF = "At its lowest price the agent matches all layers with half of their MACs"
GAP = "The agent closes 60 % of the way from random routing to the oracle"
PENALTY = "A higher penalty makes the agent iterate less"
STARTS = "The start of a solve does not matter, and gradients are right"
FIG_6 = "Iterating all layers beats the plain CNN, each trained by itself"
TIMES = (
    "The backward pass is cheaper than the plain CNN's",
    "The backward pass is 5 times cheaper than a DEQ's",
    "A training step costs at most 1.5 times the plain CNN's",
)


def ledger(records, timed=()):
    rows = verdicts.ledger(records, timed).to_dict("records")
    return {row["claim"].partition(" (")[0]: row for row in rows}


@pytest.fixture
def look(record):
    """The ledger's row of a claim; runs by name, as `record` takes them."""
    make = lambda runs: {name: record(*each) for name, each in runs.items()}
    return lambda claim, **runs: ledger(make(runs))[claim]


def test_the_ledger_has_eight_claims_of_ours():
    found = ledger({})
    assert {row["verdict"] for row in found.values()} == {"not run", "not measured"}
    assert len(claims.OURS) == 8 and len(found) == len(claims.PAPERS) + 8


def test_every_run_that_can_say_something_is_heard(look):
    runs = {"connectivity": [{}, {}], "cifar10_small": [{}]}
    own = look(OWN, **runs)
    assert own["measured"] == "cifar10_small (n = 1): agent 93.0 %, straight pass 90.0 %"
    kept = look(KEPT, **runs)
    assert kept["verdict"] == "holds in 3 of 3 runs"
    assert kept["measured"].count("% of their cost") == 2
    assert look("DynaLay reaches 85 % on CIFAR-100", **runs)["verdict"] == "not run"


def test_a_run_that_did_not_measure_it_has_no_say(look):
    runs = [{"converged": None}, {"shuffled_accuracy": None}]
    reached = "Solves reach their tolerance"
    assert look(reached, digits=runs)["verdict"] == "holds in 1 of 1 runs"
    assert look(MATTERS, digits=runs)["measured"].startswith("digits (n = 1)")
    assert look(reached, digits=runs[:1])["verdict"] == "not run"
    assert look(KEPT, imdb=[{}], wikitext2=[{}])["verdict"] == "not run", "no layer gains"


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        (OWN, {"straight_accuracy": 0.94}),
        ("The straight pass is chosen most", {"actions": [0.3, 0.1, 0.6]}),
        ("The agent chooses among the layers", {"actions": [0.6, 0.0, 0.4]}),
        ("The agent chooses among the layers", {"routes": [0.5, 0.19, 0.0, 0.31]}),
        ("Iterating all layers is the most accurate route", {"layer_accuracies": [0.9, 0.935]}),
        (KEPT, {"all_layers_accuracy": 0.95}),
        (KEPT, {"mean_cost": 2.1}),
        (MATTERS, {"random_accuracy": 0.93}),
        (MATTERS, {"shuffled_accuracy": 0.94}),
        (CONFIDENCE, {"confidence_accuracy": 0.94}),
        (FINER, {"two_rounds_accuracy": 0.94}),
        ("Hard samples get more steps", {"steps_when_straight_wrong": 2.0}),
        ("Solves reach their tolerance", {"converged": 0.98}),
        (GAP, {"gap_closed": 0.59}),
    ],
)
def test_a_seed_that_says_otherwise_counts_against(look, claim, change):
    base = {"gap_closed": 0.61, "two_thresholds_accuracy": 0.92}
    found = look(claim, cifar10_small=[base, base | change])
    compared = claim in (MATTERS, CONFIDENCE, FINER)
    clear = ", in 0 by more than 2 standard errors" if compared else ""
    assert found["verdict"] == f"holds in 1 of 2 runs{clear}"


def test_an_lstm_gains_if_each_layer_makes_a_difference_that_counts(look):
    runs = [{"layer_accuracies": each} for each in ([0.9005, 0.95], [0.902, 0.95])]
    claim = "An LSTM gains from iterating a layer"
    assert look(claim, wikitext2=runs)["verdict"] == "holds in 1 of 2 runs"


@pytest.mark.parametrize(
    ("converged", "same", "error", "held"),
    [(1, 0.995, 0.01, 1), (1, 0.98, 0.01, 0), (1, 0.995, 0.06, 0), (0.98, 0.995, 0.01, 0)],
)
def test_where_solves_stop_need_not_be_the_fixed_point(look, converged, same, error, held):
    good = {"converged": 1.0, "same_answer": 1.0, "gradient_error": 0.001}
    layers = [good, {"converged": converged, "same_answer": same, "gradient_error": error}]
    found = look(STARTS, mazes=[({}, {"fixed_points": {"layers": layers}})])
    assert found["verdict"] == f"holds in {held} of 1 runs"
    assert f"worst layer: {100 * same:.1f} % the same answer" in found["measured"]


@pytest.mark.parametrize(
    ("claim", "variant", "better", "worse", "clear"),
    [
        (ALONE, "model_0", 0.92, 0.93, 0),
        (f"{MORE}a DEQ", "deq_anderson", 0.92, 0.94, 0),
        ("Pre-training helps", "no_warmup", 0.92, 0.93, None),
        (STATIC, "wide_2x", 0.92, 0.93, 0),
        (STATIC, "deep_1.7x", 0.9, 1, 1),
    ],
)
def test_variants_are_compared_run_by_run(look, claim, variant, better, worse, clear):
    router = "agent" if variant == "no_warmup" else "none"
    others = [{"test_accuracy": accuracy, "router": router} for accuracy in (better, worse)]
    assert look(claim, digits=[{}])["verdict"] == "not run"
    found = look(claim, **{"digits": [{}] * 3, f"digits_{variant}": others})
    by = "" if clear is None else f", in {clear} by more than 2 standard errors"
    assert found["verdict"] == f"holds in 1 of 2 runs{by}"


def test_the_best_static_net_with_the_same_macs_is_the_one(look):
    net = lambda accuracy, **more: [{"router": "none", "test_accuracy": accuracy, **more}]
    runs = {"digits": [{}], "digits_wide_2x": net(0.92), "digits_wide_4x": net(1.0, mean_macs=4e6)}
    assert look(STATIC, **runs)["verdict"].startswith("holds in 1 of 1 runs")
    found = look(STATIC, **runs, digits_deep_2x=net(0.94))
    assert found["verdict"].startswith("holds in 0 of 1 runs")
    assert found["measured"] == "digits (n = 1): agent 93.0 %, static net 94.0 %"


def test_static_nets_are_compared_on_the_largest_common_data(look):
    def run(tested, accuracies, **changes):
        rows = [{"value": v, f"{tested}_accuracy": a} for v, a in accuracies.items()]
        return [(changes, {"extrapolate_side": {"trained": 5, "rows": rows}})]

    own = run("agent", {5: 0.9, 8: 0.85, 10: 0.8, 12: 0.75})
    found = lambda accuracies: look(
        f"{STATIC}, on larger test data than in training",
        mazes=own,
        mazes_residual_4x=run("straight", accuracies, router="none"),
    )
    assert (
        found({8: 0.9, 10: 0.7, 5: 1.0})["measured"]
        == "mazes (n = 1): agent 80.0 %, static net 70.0 %"
    )
    assert found({10: 0.7, 5: 1.0})["verdict"] == "holds in 1 of 1 runs"
    assert found({4: 1.0, 5: 1.0})["verdict"] == "not run"


def test_what_is_within_the_error_is_not_clear(look):
    """A difference of 1 point in 93 % has a standard error of 1.2 points on 1,000 examples."""
    said = "holds in 1 of 1 runs, in {} by more than 2 standard errors"
    for claim, change, clear in (
        (CONFIDENCE, {}, 0),
        (CONFIDENCE, {"test_examples": 10_000}, 1),
        (CONFIDENCE, {"confidence_accuracy": 0.9}, 1),
        (MATTERS, {"random_accuracy": 0.5}, 1),
        (MATTERS, {"random_accuracy": 0.5, "shuffled_accuracy": 0.92}, 0),
    ):
        assert look(claim, scales=[change])["verdict"] == said.format(clear)


def test_models_of_one_route_are_compared_with_each_other(look):
    every = [{"test_accuracy": accuracy, "router": "all"} for accuracy in (0.94, 0.93)]
    none = [{"router": "none"}] * 2
    found = look(FIG_6, digits=[{}, {}], digits_model_0=none, digits_model_2=every)
    assert found["verdict"] == "holds in 1 of 2 runs"
    assert found["measured"] == "digits (n = 2): plain CNN 93.0 ± 0.0 %, all layers 93.5 ± 0.7 %"


def test_cost_falls_with_the_price(look):
    def verdict(*costs):
        points = [
            {"price": 10.0**i, "mean_cost": cost, "accuracy": 0.9} for i, cost in enumerate(costs)
        ]
        return look(PENALTY, digits=[({}, {"curve": {"agent": points}})])["verdict"]

    assert verdict(2.0, 1.0, 1.0) == "holds in 1 of 1 runs"
    assert verdict(2.0, 0.5, 1.0) == verdict(1.0, 1.0) == "holds in 0 of 1 runs"
    assert verdict() == "not run"


def test_all_layers_are_matched_at_half_their_macs(look):
    def row(accuracy, cost):
        point = {"price": 0.01, "mean_cost": cost, "accuracy": accuracy}
        curve = {"agent": [point | {"price": 1.0, "accuracy": 0.0}, point]}
        return look(HALF, scales=[({}, {"curve": curve})])

    assert row(0.926, 1.4)["measured"] == (
        "scales (n = 1): agent 92.6 %, all layers 93.5 %, at 48 % of their MACs"
    )
    found = [row(*at)["verdict"] for at in ((0.926, 1.4), (0.924, 1.4), (0.926, 1.6))]
    assert found == [f"holds in {n} of 1 runs" for n in (1, 0, 0)]


def test_times_are_of_the_record():
    def row(**arms):
        rounds = {name: (np.zeros(3), np.full(3, time)) for name, time in arms.items()}
        return ledger({}, [training_record(**rounds)])

    plain = {"plain CNN": 2.0}
    assert {row(**plain)[claim]["verdict"] for claim in TIMES} == {"not measured"}
    deqs = {"DEQ, Anderson": 9.6, "DEQ, Broyden": 15.2}
    found = row(**plain, **{"DynaLay, main": 3.02, "DynaLay, joint": 1.8}, **deqs)
    assert [found[claim]["verdict"] for claim in TIMES] == [
        "holds in 1 of 2 ratios",
        "holds in 3 of 4 ratios",
        "holds in 1 of 2 ratios",
    ]
    assert found[TIMES[0]]["measured"] == (
        "digits: DynaLay, main / plain CNN 1.51 (1.51–1.51), "
        "DynaLay, joint / plain CNN 0.90 (0.90–0.90)"
    )


def test_noisy_times_leave_it_undecided():
    """Seven rounds, in some of which it takes as long as the plain CNN, in others twice as long."""
    ours = np.zeros(7), [1, 2, 1, 1.4, 2, 1, 2]
    record = training_record(**{"DynaLay, main": ours, "plain CNN": (np.zeros(7), np.ones(7))})
    found = ledger({}, [record])
    for claim in (TIMES[0], TIMES[2]):
        assert found[claim]["verdict"] == "holds in 0 of 1 ratios, undecided in 1"
