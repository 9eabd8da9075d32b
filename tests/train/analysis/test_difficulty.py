"""Accuracy and steps by difficulty, and examples."""

import json

import numpy as np
import pytest

from train.analysis import difficulty
from train.data.types import Split
from train.evaluate import Report

LENGTHS = np.repeat([1, 2, 5, 9, -1], [80, 60, 10, 70, 100]).astype(np.int32)
ORDER = np.random.default_rng(0).permutation(len(LENGTHS))


def split():
    lengths = LENGTHS[ORDER]
    images = np.zeros((len(lengths), 4, 4, 3), np.uint8)
    images[..., 0] = 255 * (np.arange(16).reshape(4, 4) % 3 > 0)
    images[:, 0, 1, 1] = images[:, 3, 1, 2] = 255
    return Split(images, (lengths > 0).astype(np.int32), lengths)


def report(split_name, router="agent"):
    """Straight is right to length 2; the agent spends the length, all layers ten times that."""
    assert split_name == "test"
    lengths = LENGTHS[ORDER]
    factor = {"none": 0, "agent": 1, "all": 10}[router]
    right = lengths <= 2 if router == "none" else np.ones(len(lengths), bool)
    iterated = np.stack([lengths > 2, lengths > 4], axis=1) & (router != "none")
    return Report({"correct": right, "steps": factor * np.abs(lengths), "iterated": iterated}, 1.0)


def test_bins_cover_every_difficulty_once_and_rare_ones_go_together():
    bins = difficulty.measure(report, split(), "length (moves)")["bins"]
    assert [(b["first"], b["last"], b["examples"]) for b in bins] == [
        (1, 1, 80),
        (2, 2, 60),
        (5, 9, 80),
    ]
    assert [b["straight_accuracy"] for b in bins] == [1.0, 1.0, 0.0]
    assert [b["agent_accuracy"] for b in bins] == [1.0] * 3
    assert bins[2]["agent_steps"] == pytest.approx((10 * 5 + 70 * 9) / 80)
    assert bins[1]["all_layers_steps"] == 20 and bins[1]["straight_steps"] == 0
    assert [b["actions"] for b in bins] == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]


def test_examples_go_from_easy_to_hard():
    examples = json.loads(json.dumps(difficulty.measure(report, split(), "length (moves)")))[
        "examples"
    ]
    lengths = [example["difficulty"] for example in examples]
    assert lengths == sorted(lengths) and lengths[0] == 1 and lengths[-1] == 9
    assert all(example["steps"] == example["difficulty"] for example in examples)


def test_correlation_is_of_known_difficulties_that_vary():
    lengths, spent = np.array([3, 1, 2, -1]), np.array([9, 1, 4, 0])
    assert difficulty.correlation(lengths, spent) == pytest.approx(1.0)
    assert difficulty.correlation(lengths, np.array([5, 5, 5, 0])) is None
