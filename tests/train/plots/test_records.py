"""Figures of one record each."""

import copy

import numpy as np
import pytest
from sample_records import (
    CLASSES,
    CORRUPTION,
    DIFFICULTY,
    EXTRAPOLATE,
    GALLERY,
    RESIDUALS,
    gallery_report,
    gallery_split,
)

from train.analysis import gallery
from train.plots import records


@pytest.mark.parametrize(("channels", "marks"), [(1, False), (3, False), (3, True), (2, True)])
def test_gallery_shows_pictures_titles_answers_and_mistakes(channels, marks):
    difficulty = np.zeros(20, np.int32) if marks else None
    found = gallery.measure(gallery_report, gallery_split(channels, difficulty), CLASSES)
    assert found["marks"] == marks
    figure = records.gallery(found)
    assert len(figure.axes) == 8 + 8 + 5, "no frame where there are fewer mistakes"
    first, last, mistake = (figure.axes[i] for i in (0, 8, 16))
    assert first.get_title() == f"{found['easiest'][0]['label']}\nstraight pass"
    assert last.get_title() == f"{found['hardest'][0]['label']}\n1 step\nlayer 2"
    assert first.get_xlabel() == "right"
    assert mistake.get_xlabel() == f"answer: {found['mistakes'][0]['predicted']}"
    shown = np.asarray(last.get_images()[0].get_array())
    assert shown.shape == (4, 4, 3)
    # Colours are what they were; marks have the figures' own.
    first_pixel = found["hardest"][0]["image"][0][0][0]
    assert (shown == first_pixel / 255).all() == (not marks)


def test_gallery_names_all_layers():
    found = copy.deepcopy(GALLERY) | {"mistakes": []}
    found["hardest"][0]["layers"] = [1, 3]
    figure = records.gallery(found)
    assert figure.axes[8].get_title().endswith("1 step\nlayer 1+3")
    assert len(figure.axes) == 16, "no row without mistakes"


def test_residuals_show_shares_zeros_and_the_tolerance():
    figure = records.residuals(RESIDUALS)
    zero, axes = figure.axes
    assert [bar.get_height() for bar in zero.patches] == [0.3, 0.0]
    shares = [stairs.get_data().values.sum() for stairs in axes.patches]
    np.testing.assert_allclose(shares, [0.5, 1.0])
    assert list(axes.lines[0].get_xdata()) == [1e-3, 1e-3]
    assert axes.get_xscale() == "log" and "residual" in axes.get_xlabel()
    assert len(figure.legends[0].get_texts()) == 3


def test_residuals_leave_out_what_would_be_empty():
    """Routers that iterated nothing, and a panel without a bar or a line."""
    none = {"samples": 0, "counts": [], "zero": 0, "unconverged": None}
    all_layers = RESIDUALS["routers"]["all_layers"]
    figure = records.residuals(RESIDUALS | {"routers": {"agent": none, "all_layers": all_layers}})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["all layers: 12 iterated, 0.0% not converged", "tolerance"]
    assert [axes.get_xscale() for axes in figure.axes] == ["log"]
    zero = {"samples": 12, "counts": [0, 0], "zero": 12, "unconverged": 0.0}
    figure = records.residuals(RESIDUALS | {"routers": {"agent": zero}})
    assert [axes.get_xlabel() for axes in figure.axes] == ["exactly 0"]
    assert records.residuals(RESIDUALS | {"routers": {"agent": none}}) is None


def test_corruptions_have_a_column_each():
    figure = records.corruption(CORRUPTION)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["noise", "fog"]
    assert all(axes.get_ylabel() for axes in figure.axes[::2])
    assert "± standard error" in figure.axes[0].get_ylabel()
    assert all("severity" in axes.get_xlabel() for axes in figure.axes[4:])
    drawn = lambda axes: {line.get_label() for line in axes.lines}
    accuracy, cost, error = figure.axes[1::2]
    assert drawn(accuracy) == {"agent", "straight pass", "all layers"}
    assert drawn(cost) == {"agent"} and drawn(error) == {"agent", "straight pass"}
    np.testing.assert_allclose(cost.lines[0].get_ydata(), 0.3 + np.arange(6) / 100)
    assert len(figure.legends[0].get_texts()) == 3


def test_difficulty_shows_examples_and_curves():
    figure = records.difficulty(DIFFICULTY)
    titles = [axes.get_title() for axes in figure.axes if axes.get_images()]
    assert titles == ["difficulty 1\n1 step", "difficulty 7\n9 steps"]
    charts = [axes for axes in figure.axes if not axes.get_images()]
    assert [len(axes.lines) for axes in charts] == [3, 3, 0]
    assert len(charts[2].collections) == 3  # straight pass and two layers, stacked
    assert [axes.get_xlabel() for axes in charts] == ["length (moves)"] * 3
    assert "accuracy" in charts[0].get_ylabel() and "steps" in charts[1].get_ylabel()


def test_extrapolation_shows_routers_actions_and_static_nets():
    figure = records.extrapolate(EXTRAPOLATE, {"residual_2.5x": [0.5, 0.4]})
    accuracy, steps, actions = figure.axes
    labels = ["agent", "straight pass", "all layers", "residual_2.5x"]
    assert [line.get_label() for line in accuracy.lines] == labels
    assert len(steps.lines) == 3 and len(actions.patches) == 2 * 2
    assert [text.get_text() for text in actions.get_xticklabels()] == ["8", "12"]
    # A run without an agent has its own route alone.
    keys = ("value", "straight_accuracy", "straight_steps")
    rows = [{key: row[key] for key in keys} for row in EXTRAPOLATE["rows"]]
    figure = records.extrapolate(EXTRAPOLATE | {"rows": rows})
    assert [len(axes.lines) for axes in figure.axes] == [1, 1], "and no panel of actions"
