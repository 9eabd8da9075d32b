"""Evaluation on corrupted images, and what each corruption does, in numbers known beforehand."""

from types import SimpleNamespace

import numpy as np
import pytest
from short_run import tiny

from train.data.types import Split
from train.errors import UserError
from train.evaluate import Report
from train.studies import corruption
from train.studies.corruption import CORRUPTIONS, SEVERITIES, corrupt

pytestmark = pytest.mark.usefixtures("flax_promotion")


def made(correct, confidence, cost=(0.0, 0.0, 4.0, 2.0)):
    each = {"correct": np.array(correct, bool), "confidence": np.array(confidence, np.float32)}
    cost = np.array(cost)
    return Report({**each, "cost": cost, "iterated": cost[:, None] > 0}, 1.0)


def test_a_row_says_what_each_router_did():
    reports = {
        "straight": made([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], np.zeros(4)),
        "agent": made([1, 1, 1, 0], [1.0, 1.0, 1.0, 1.0]),
        "all_layers": made([1, 1, 1, 1], [0.9, 0.9, 0.9, 0.9]),
    }
    assert corruption.row(3, reports) == {
        "severity": 3,
        "straight_accuracy": 0.5,
        "agent_accuracy": 0.75,
        "all_layers_accuracy": 1.0,
        "agent_cost": 1.5,
        "straight_share": 0.5,
        "agent_ece": 0.25,
        "straight_ece": 0.0,
    }


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1), np.uint8)


def brightness(params, data, router):
    """The agent's cost is an image's mean; it is right where that is of the original."""
    images = np.asarray(data.images[0])
    mean = images.mean((1, 2, 3)) * (router == "agent")
    return made((images == IMAGES).all((1, 2, 3)), np.ones(6), mean)


def test_every_image_is_seen_under_every_corruption():
    split = Split(IMAGES, np.zeros(6, np.int32))
    run = SimpleNamespace(config=tiny(), dataset=SimpleNamespace(test=split), evaluate=brightness)
    found = corruption.measure(run, None)
    assert list(found["corruptions"]) == list(CORRUPTIONS)
    for name, rows in found["corruptions"].items():
        assert [row["severity"] for row in rows] == [0, *SEVERITIES]
        assert [row["agent_accuracy"] for row in rows] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        wanted = [IMAGES.mean(), *(corrupt(IMAGES, name, s).mean() for s in SEVERITIES)]
        assert [row["agent_cost"] for row in rows] == pytest.approx(wanted)
    costs = [[row["agent_cost"] for row in rows] for rows in found["corruptions"].values()]
    assert [row["agent_cost"] for row in found["mean"]] == pytest.approx(np.mean(costs, 0))
    assert 100 < found["uniform_noise"]["agent_cost"] < 155
    assert found["uniform_noise"]["agent_cost"] != costs[0][0]


def test_a_run_is_measured(opened, monkeypatch):
    monkeypatch.setattr(corruption, "SEVERITIES", (5,))
    monkeypatch.setattr(corruption, "CORRUPTIONS", {"contrast": CORRUPTIONS["contrast"]})
    run, params = opened
    record = corruption.measure(run, params)
    alone = run.evaluate(params, "test")
    clean, severe = record["corruptions"]["contrast"]
    assert (clean["agent_accuracy"], clean["agent_cost"]) == (alone.accuracy, alone.mean_cost)
    assert severe != clean
    shown = corruption.table(record)
    assert shown.title == "Test set of 500: mean over contrast" and len(shown.rows) == 2
    assert "On images of uniform noise the agent's mean cost is" in shown.remarks[-1]


def test_other_data_are_refused():
    run = SimpleNamespace(config=tiny(**{"data.name": "connectivity"}), workdir="here")
    with pytest.raises(UserError, match=r"here: expected a run on images \(digits, cifar10"):
        corruption.measure(run, None)


GREY = np.full((50, 16, 16, 3), 128, np.uint8)


def checkerboard():
    """Pixels of 60 and 180 in turn; the channels are shifted, and their means the same."""
    board = np.indices((1, 16, 16, 3)).sum(0) % 2
    return (60 + 120 * board).astype(np.uint8)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_scale_and_is_independent(severity):
    scale = CORRUPTIONS["Gaussian noise"][1][severity - 1]
    noise = corrupt(GREY, "Gaussian noise", severity).astype(float) - 128
    # To 1 %: three standard errors of 38,400 draws.
    assert noise.std() == pytest.approx(255 * scale, rel=0.015)
    assert abs(noise.mean()) < 255 * scale * 0.02
    for axis in range(4):
        neighbours = np.moveaxis(noise, axis, 0)
        assert abs(np.mean(neighbours[1:] * neighbours[:-1])) < 0.03 * noise.var()


def test_blur_keeps_what_is_even_and_the_channels_apart():
    point = np.zeros((2, 17, 17, 3), np.uint8)
    point[0, 8, 8, 1] = 255
    for severity in SEVERITIES:
        assert (corrupt(GREY, "Gaussian blur", severity) == 128).all()
        width = CORRUPTIONS["Gaussian blur"][1][severity - 1]
        blurred = corrupt(point, "Gaussian blur", severity)
        assert blurred[1].max() == 0 and blurred[..., [0, 2]].max() == 0
        kernel = np.exp(-0.5 * (np.arange(-8, 9) / width) ** 2)
        kernel /= kernel.sum()
        wanted = 255 * np.outer(kernel, kernel)
        np.testing.assert_allclose(blurred[0, ..., 1], wanted, atol=0.6)


def test_contrast_leaves_a_share_of_the_distance_to_each_image_s_mean():
    images = np.concatenate([checkerboard(), GREY[:1] // 2])
    changed = corrupt(images, "contrast", 1)  # three quarters: 120 ± 45
    assert (changed[0] == np.where(images[0] == 60, 75, 165)).all()
    assert (changed[1] == 64).all()


def test_values_stay_in_range():
    extremes = np.zeros((20, 8, 8, 1), np.uint8)
    extremes[10:] = 255
    noisy = corrupt(extremes, "Gaussian noise", 5)
    assert noisy.dtype == np.uint8
    assert noisy[:10].max() < 240 and noisy[10:].min() > 15, "must be cut, not wrap around"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_go_from_mild_to_severe(name):
    images = checkerboard()
    before = images.copy()
    distance = [np.abs(corrupt(images, name, s).astype(float) - images).mean() for s in SEVERITIES]
    assert all(np.diff([0, *distance]) > 0)
    assert (images == before).all()


def test_noise_follows_the_seed_alone():
    noise = lambda severity, seed: corrupt(GREY, "Gaussian noise", severity, seed).astype(float)
    assert (noise(2, 0) == noise(2, 0)).all() and (noise(2, 0) != noise(2, 1)).any()
    # The same pattern at another scale.
    mild, severe = (noise(severity, 0).ravel() for severity in (2, 4))
    assert np.corrcoef(mild, severe)[0, 1] > 0.99
