"""Pictures of examples, and shares of actions."""

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
import numpy as np
import pytest

from train.plots import style


def test_example_pictures():
    """Marks blue and orange, on what is open where there is such a channel."""
    picture = lambda image: style.marks(image.tolist()).tolist()
    white, black = [1.0] * 3, [0.0] * 3
    blue, orange = map(to_rgb, (style.BLUE, style.ORANGE))
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
