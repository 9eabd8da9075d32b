"""Which images are the easiest and the hardest, and the figure of them."""

import json

import numpy as np
import pytest
from sample_records import CLASSES, SURE, gallery_report, gallery_split

from train.analysis import gallery
from train.plots import records


def places(examples):
    return [example["image"][0][0][0] for example in examples]


def test_least_and_most_are_by_cost_and_ties_by_confidence():
    found = json.loads(json.dumps(gallery.measure(gallery_report, gallery_split(), CLASSES)))
    free = sorted(range(10), key=lambda i: -SURE[i])
    assert places(found["easiest"]) == free[:8]
    dear = sorted(range(15, 20), key=lambda i: SURE[i])
    assert places(found["hardest"]) == dear + sorted(range(10, 15), key=lambda i: SURE[i])[:3]


def test_examples_say_what_they_are_and_what_was_done():
    found = gallery.measure(gallery_report, gallery_split(), CLASSES)
    for example, place in zip(found["hardest"], places(found["hardest"]), strict=True):
        assert example["label"] == CLASSES[place % 2]
        assert example["correct"] == (place < 15)
        assert (example["steps"], example["layers"]) == ((8, [1]) if place < 15 else (1, [2]))
        assert example["straight_confidence"] == SURE[place]
    assert all(example["layers"] == [] for example in found["easiest"])


@pytest.mark.parametrize(("channels", "marks"), [(1, False), (3, False), (3, True), (2, True)])
def test_figure_shows_pictures_titles_and_answers(channels, marks):
    difficulty = np.zeros(20, np.int32) if marks else None
    found = gallery.measure(gallery_report, gallery_split(channels, difficulty), CLASSES)
    assert found["marks"] == marks
    figure = records.gallery(found)
    assert len(figure.axes) == 16
    first, last = figure.axes[0], figure.axes[8]
    assert first.get_title() == f"{found['easiest'][0]['label']}\nno operation"
    assert last.get_title() == f"{found['hardest'][0]['label']}\n1 step\nlayer 2"
    assert (first.get_xlabel(), last.get_xlabel()) == ("right", "wrong")
    shown = last.get_images()[0].get_array()
    assert shown.shape == (4, 4, 3)
    # Colours are what they were; marks have the figures' own.
    assert (np.asarray(shown) == places(found["hardest"])[0] / 255).all() == (not marks)


def test_several_layers_are_all_named():
    found = gallery.measure(gallery_report, gallery_split(), CLASSES)
    found["hardest"][0]["layers"] = [1, 3]
    assert records.gallery(found).axes[8].get_title().endswith("1 step\nlayer 1+3")
