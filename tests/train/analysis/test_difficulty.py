"""What is said of each difficulty, and the figure of it."""

import json

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
import numpy as np
import pytest

from train.analysis import difficulty
from train.data.types import Split
from train.evaluate import Report
from train.plots import run, style

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
    assert [example["straight_correct"] for example in examples] == [n <= 2 for n in lengths]


def test_figure_shows_examples_and_both_curves():
    figure = run._difficulty(difficulty.measure(report, split(), "length (moves)"))
    titles = [axes.get_title() for axes in figure.axes if axes.get_images()]
    assert len(titles) == 8 and titles[0] == "difficulty 1\n1 step"
    charts = [axes for axes in figure.axes if not axes.get_images()]
    assert [len(axes.lines) for axes in charts] == [3, 3, 0]
    assert len(charts[2].collections) == 3  # no operation and two layers, stacked
    assert [axes.get_xlabel() for axes in charts] == ["length (moves)"] * 3
    assert "accuracy" in charts[0].get_ylabel() and "evaluations" in charts[1].get_ylabel()


def test_example_pictures():
    """Marks blue and orange, on what is open where there is such a channel."""
    picture = lambda image: style.marks(image.tolist()).tolist()
    white, black, blue, orange = (
        [1.0] * 3,
        [0.0] * 3,
        *map(to_rgb, (style.BLUE, style.ORANGE)),
    )
    three = 255 * np.array([[[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 1]]], np.uint8)
    assert picture(three) == [[white, black, list(blue), list(orange)]]
    folded = style.marks(np.tile(three, (1, 6, 1)).tolist())
    assert folded.shape == (4, 6, 3), "24 in one row would hardly be seen"
    assert folded.reshape(1, 24, 3)[:, :4].tolist() == picture(three)
    assert picture(three[..., 1:]) == [[black, black, list(blue), list(orange)]]


def test_shares_of_samples_that_iterate_several_layers_have_room():
    axes = Figure().subplots(1, 2)
    style.bars(axes[0], np.array([[0.5, 0.2], [0.5, 0.8], [0.3, 0.0]]))
    style.stack(axes[1], [0, 1], np.array([[0.5, 0.2], [0.5, 0.8]]))
    assert [one.get_ylim()[1] for one in axes] == [pytest.approx(1.3), 1.0]
    assert "more than one" in axes[0].get_ylabel() and axes[1].get_ylabel() == "share of samples"
