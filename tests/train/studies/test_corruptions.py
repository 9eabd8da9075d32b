"""Corruptions: what each does, in numbers known beforehand, and more of it with severity."""

import numpy as np
import pytest

from train.errors import UserError
from train.studies.corruptions import CORRUPTIONS, SEVERITIES, corrupt

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


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"Did you mean 'contrast'\?"):
        corrupt(GREY, "contrasts", 1)
    with pytest.raises(ValueError, match=r"severity: expected one of \(1, 2, 3, 4, 5\), got 0"):
        corrupt(GREY, "contrast", 0)
    with pytest.raises(ValueError, match=r"expected uint8 \[n, .*got float64 \[2, 8, 8\]"):
        corrupt(np.zeros((2, 8, 8)), "contrast", 1)
