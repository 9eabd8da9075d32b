"""The ledger: looked up in the right runs, and a verdict that they decide."""

import pytest

from train import ledger
from train.seeds import Group

SUMMARY = {
    "router": "agent",
    "test_accuracy": 0.93,
    "straight_accuracy": 0.9,
    "layer_accuracies": [0.91, 0.934],
    "all_layers_accuracy": 0.935,
    "random_accuracy": 0.91,
    "shuffled_accuracy": 0.905,
    "confidence_accuracy": 0.92,
    "mean_cost": 1.0,
    "all_layers_cost": 4.0,
    "actions": [0.6, 0.1, 0.3],
    "steps_when_straight_wrong": 5.0,
    "steps_when_straight_right": 2.0,
    "converged": 1.0,
}
KEPT = "The agent keeps the accuracy of iterating all layers at less cost"
CNN = "DynaLay is more accurate than the plain CNN on CIFAR-10"
MATTERS = "Which samples are iterated matters"


def rows(**runs):
    groups = [Group(name, (), tuple(summaries)) for name, summaries in runs.items()]
    return {entry.claim.partition(" (")[0]: entry for entry in ledger.entries(groups)}


def test_without_runs_nothing_is_claimed():
    assert {entry.verdict for entry in rows().values()} == {"not run"}


def test_every_run_that_can_say_something_is_heard():
    found = rows(connectivity=[SUMMARY, SUMMARY], cifar10_small=[SUMMARY])
    assert found[CNN].here.startswith("cifar10_small: agent 93.0 %") and found[CNN].n == "1"
    kept = found[KEPT]
    assert (kept.verdict, kept.n) == ("holds in 3 of 3 runs", "1, 2")
    assert kept.here.count("at 25 % of their cost") == 2
    thought = found["Hard samples get more thought"].here
    assert thought.startswith("cifar10_small: 5.0 where the straight pass is wrong, 2.0 elsewhere")
    assert found["DynaLay reaches 85 % on CIFAR-100"].verdict == "not run"


def test_a_run_that_did_not_measure_it_has_no_say():
    collapsed = SUMMARY | {"converged": None, "steps_when_straight_wrong": None}
    without = {key: value for key, value in SUMMARY.items() if key != "shuffled_accuracy"}
    found = rows(digits=[collapsed, without])
    assert found["The iterated layers reach their fixed points"].verdict == "holds in 1 of 1 runs"
    assert found["Hard samples get more thought"].n == "1"
    assert found[MATTERS].n == "1"
    alone = rows(digits=[collapsed])
    assert alone["The iterated layers reach their fixed points"].verdict == "not run"


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        (CNN, {"straight_accuracy": 0.94}),
        ("No operation is chosen most", {"actions": [0.3, 0.1, 0.6]}),
        ("The agent chooses among the layers", {"actions": [0.6, 0.0, 0.4]}),
        ("Iterating all layers is the most accurate route", {"layer_accuracies": [0.9, 0.935]}),
        (KEPT, {"all_layers_accuracy": 0.95}),
        (KEPT, {"mean_cost": 2.1}),
        (MATTERS, {"random_accuracy": 0.93}),
        (MATTERS, {"shuffled_accuracy": 0.94}),
        ("The agent is worth more than a threshold on confidence", {"confidence_accuracy": 0.94}),
        ("Hard samples get more thought", {"steps_when_straight_wrong": 2.0}),
        ("The iterated layers reach their fixed points", {"converged": 0.98}),
    ],
)
def test_a_seed_that_says_otherwise_counts_against(claim, change):
    found = rows(cifar10_small=[SUMMARY, SUMMARY | change])
    assert found[claim].verdict == "holds in 1 of 2 runs"
