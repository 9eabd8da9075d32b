"""The easiest and the hardest images."""

from sample_records import CLASSES, SURE, gallery_report, gallery_split

from train.analysis import gallery


def places(examples):
    return [example["image"][0][0][0] for example in examples]


def test_least_and_most_are_by_cost_and_ties_by_confidence():
    found = gallery.measure(gallery_report, gallery_split(), CLASSES)
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
    assert all(example["layers"] == [] for example in found["easiest"])
