"""The ledger: looked up in the right runs, and a verdict that they decide."""

import pytest

from train import ledger

SUMMARY = {
    "test_accuracy": 0.93,
    "straight_accuracy": 0.9,
    "all_layers_accuracy": 0.935,
    "random_accuracy": 0.91,
    "shuffled_accuracy": 0.905,
    "mean_cost": 1.0,
    "all_layers_cost": 4.0,
    "actions": [0.6, 0.1, 0.3],
    "steps_when_straight_wrong": 5.0,
    "steps_when_straight_right": 2.0,
    "converged": 1.0,
}


def rows(**runs):
    return {entry.claim.partition(" (")[0]: entry for entry in ledger.entries(runs)}


def test_without_runs_nothing_is_claimed():
    assert {entry.verdict for entry in rows().values()} == {"not run"}


def test_claims_hold_where_every_number_says_so():
    found = rows(cifar10_small=[SUMMARY], connectivity=[SUMMARY, SUMMARY])
    first = found["DynaLay is more accurate than the plain CNN on CIFAR-10"]
    assert first.here.startswith("cifar10_small: agent 93.0 %") and first.n == "1"
    kept = found["The agent keeps the accuracy of iterating all layers at less cost"]
    assert (kept.verdict, kept.n) == ("holds in 2 of 2", "2")
    assert kept.here.endswith("at 25 % of their cost")
    thought = found["Hard samples get more thought"].here
    assert thought.endswith("5.0 where the straight pass is wrong, 2.0 elsewhere")
    assert found["DynaLay reaches 85 % on CIFAR-100"].verdict == "not run"


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("DynaLay is more accurate than the plain CNN on CIFAR-10", {"straight_accuracy": 0.94}),
        ("No operation is chosen most", {"actions": [0.3, 0.1, 0.6]}),
        ("Iterating all layers is the most accurate", {"all_layers_accuracy": 0.9}),
        (
            "The agent keeps the accuracy of iterating all layers at less cost",
            {"all_layers_accuracy": 0.95},
        ),
        ("The agent keeps the accuracy of iterating all layers at less cost", {"mean_cost": 2.1}),
        ("Which samples are iterated matters", {"random_accuracy": 0.93}),
        ("Which samples are iterated matters", {"shuffled_accuracy": 0.94}),
        ("Hard samples get more thought", {"steps_when_straight_wrong": 2.0}),
        ("The iterated layers reach their fixed points", {"converged": 0.98}),
    ],
)
def test_a_seed_that_says_otherwise_counts_against(claim, change):
    found = rows(cifar10_small=[SUMMARY, SUMMARY | change])
    assert found[claim].verdict == "holds in 1 of 2"
