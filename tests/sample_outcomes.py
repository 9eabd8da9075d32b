"""Outcomes of six samples on every route of two layers, made up so that results are known."""

import numpy as np

from train.evaluate import Report

# Routes: straight pass, layer 1, layer 2.
CORRECT = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], bool)
COST = np.array([[0, 2, 5], [0, 4, 3], [0, 2, 6], [0, 2, 5], [0, 3, 5], [0, 1, 5]], float)
CHOSEN = np.array([0, 1, 2, 0, 1, 0])
CONFIDENCE = np.array([0.9, 0.4, 0.5, 0.95, 0.8, 0.6])


def report(split, router="agent"):
    assert split in ("test", "validation")
    if router == "all":
        correct, cost = CORRECT.any(1), COST.sum(1)
        iterated = np.ones((6, 2), bool)
    else:
        number = {"none": 0, "constant_1": 1, "constant_2": 2}
        actions = CHOSEN if router == "agent" else np.full(6, number[router])
        correct, cost = CORRECT[np.arange(6), actions], COST[np.arange(6), actions]
        iterated = np.eye(3, dtype=bool)[actions][:, 1:]
    each = {"correct": correct, "cost": cost, "iterated": iterated, "standing": iterated}
    return Report({**each, "confidence": CONFIDENCE, "straight_confidence": CONFIDENCE}, 1.0)


def twice(split, router="agent"):
    """Two rounds: both layers for samples 0 and 5. Sample 4 iterates layer 2, then layer 1."""
    found = report(split, router)
    if router != "agent":
        return found
    each = dict(found.each)
    both, whole = np.isin(np.arange(6), (0, 5)), report(split, "all").each
    each["iterated"] = each["iterated"] | (both | (np.arange(6) == 4))[:, None]
    each["standing"] = each["standing"] | both[:, None]
    for key in ("correct", "cost"):
        each[key] = np.where(both, whole[key], each[key])
    each["cost"][4] += 5  # of the solve that was lost
    return Report(each, 1.0)
