"""Shares of actions, legends, error bars, and texts beside points."""

from pathlib import Path

from matplotlib.figure import Figure
import numpy as np
import pytest

from train.plots import style


def test_shares_of_samples_that_iterate_several_layers_have_room():
    axes = Figure().subplots(1, 2)
    style.bars(axes[0], np.array([[0.5, 0.2], [0.5, 0.8], [0.3, 0.0]]))
    style.stack(axes[1], [0, 1], np.array([[0.5, 0.2], [0.5, 0.8]]))
    assert [one.get_ylim()[1] for one in axes] == [pytest.approx(1.3), 1.0]
    assert "more than one" in axes[0].get_ylabel() and axes[1].get_ylabel() == "share of samples"


@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 7, 9])
def test_a_legend_is_read_row_by_row(count):
    figure = Figure()
    axes = figure.subplots()
    for i in range(count):
        axes.plot([0, 1], label=f"{i}")
    style.legend(figure, [axes], most=4)
    figure.draw_without_rendering()
    texts = figure.legends[0].get_texts()
    at = {text.get_text(): text.get_window_extent() for text in texts}
    read = sorted(at, key=lambda name: (-round(at[name].y0), at[name].x0))
    assert read == [f"{i}" for i in range(count)]
    assert max(np.unique([round(box.y0) for box in at.values()], return_counts=True)[1]) <= 4


def test_accuracies_have_bars_of_one_standard_error():
    axes = Figure().subplots()
    style.error_bars(axes, [0, 1], [0.5, 0.9], 100, "red")
    (bars,) = axes.collections
    np.testing.assert_allclose(
        [segment[:, 1] for segment in bars.get_segments()], [(0.45, 0.55), (0.87, 0.93)]
    )
    style.error_bars(axes, [0, 1], [0.5, 0.9], None, "red")
    assert len(axes.collections) == 1


def test_texts_beside_points_do_not_overlap():
    """Near other points the first texts find room, and later ones may be left out."""
    figure = Figure(dpi=150)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "o")
    style.annotate(axes, [(0, 0, "zero"), (1, 1, "one"), *10 * [(1, 1, "one more")]])
    figure.draw_without_rendering()
    names = [text.get_text() for text in axes.texts]
    assert names[:2] == ["zero", "one"] and 4 < len(names) < 12
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_dollar_in_a_name_is_a_dollar():
    """Matplotlib reads what stands between two as a formula, and raises if it is none."""
    figure = style.painted("Loss: $^_$", lambda axes: bool(axes.plot([1], [1], label="a")))
    style.name_run(figure, Path("my$^$run"))
    figure.draw_without_rendering()
    assert figure.get_suptitle() == "my$^$run: Loss: $^_$"
