"""Rows of examples: marks in the figures' colours, answers below them."""

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
import numpy as np

from train.plots import pictures, style


def shown(image, **example):
    """The picture of one example, and what is above and below it."""
    example = {"image": image.tolist(), "correct": True} | example
    figure = Figure()
    pictures.row(figure, [example], True, lambda example: "above")
    (axes,) = figure.axes
    return np.asarray(axes.get_images()[0].get_array()), axes.get_title(), axes.get_xlabel()


def test_marks_are_blue_and_orange_on_what_is_open():
    white, black = [1.0] * 3, [0.0] * 3
    blue, orange = map(list, map(to_rgb, (style.BLUE, style.ORANGE)))
    three = 255 * np.array([[[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 0, 1]]], np.uint8)
    assert shown(three)[0].tolist() == [[white, black, blue, orange]]
    assert shown(three[..., 1:])[0].tolist() == [[black, black, blue, orange]]
    folded = shown(np.tile(three, (1, 6, 1)))[0]
    assert folded.shape == (4, 6, 3), "24 in one row would hardly be seen"
    assert folded.reshape(1, 24, 3)[:, :4].tolist() == [[white, black, blue, orange]]


def test_wrong_answers_are_named():
    image = np.zeros((2, 2, 3), np.uint8)
    assert shown(image, predicted="cat")[1:] == ("above", "right")
    assert shown(image, correct=False, predicted="$cat$")[2] == "answer: $cat$"
    assert shown(image, correct=False)[2] == "wrong", "a record of an older version"
