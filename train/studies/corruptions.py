"""Images made worse by degrees: noise, blur, and loss of contrast.

Kinds and degrees are in the spirit of Hendrycks & Dietterich, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations (ICLR 2019, arXiv 1903.12261), milder than
theirs for ImageNet since the images are small. The numbers are our own: what is measured with them
cannot be compared with CIFAR-10-C.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from train.errors import expect_one_of

SEVERITIES = (1, 2, 3, 4, 5)


def gaussian_noise(images: np.ndarray, scale: float, seed: int) -> np.ndarray:
    """Adds independent normal noise of this standard deviation; its pattern follows the seed."""
    noise = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    return images + np.float32(scale) * noise


def gaussian_blur(images: np.ndarray, width: float, seed: int) -> np.ndarray:
    """Convolves with a Gaussian of this standard deviation in pixels; edges go on as they end."""
    return ndimage.gaussian_filter(images, (0, width, width, 0), mode="nearest")


def contrast(images: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Leaves this share of each pixel's distance to the mean of its image and channel."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + np.float32(share) * (images - mean)


# What is done to float32 images from 0 to 1, and how much of it at each severity.
_Corruption = Callable[[np.ndarray, float, int], np.ndarray]
CORRUPTIONS: dict[str, tuple[_Corruption, tuple[float, ...]]] = {
    "Gaussian noise": (gaussian_noise, (0.04, 0.06, 0.09, 0.13, 0.18)),
    "Gaussian blur": (gaussian_blur, (0.4, 0.5, 0.6, 0.75, 0.9)),
    "contrast": (contrast, (0.75, 0.55, 0.4, 0.25, 0.15)),
}


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Images with a corruption; a pure function of its arguments.

    Args:
        images: uint8 [n, height, width, channels].
        name: in `CORRUPTIONS`.
        severity: 1 to 5, mild to severe.
        seed: of what is drawn at random, the same at all severities, so that these differ in
            nothing else.

    Returns:
        uint8 [n, height, width, channels].

    Raises:
        UserError: no such corruption.
        ValueError: no such severity, or images of another dtype or rank.
    """
    expect_one_of("corruption", CORRUPTIONS, name)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            "images: expected uint8 [n, height, width, channels], got "
            f"{images.dtype} {list(images.shape)}."
        )
    if severity not in SEVERITIES:
        raise ValueError(f"severity: expected one of {SEVERITIES}, got {severity}.")
    change, degrees = CORRUPTIONS[name]
    changed = change(images.astype(np.float32) / 255, degrees[severity - 1], seed)
    return np.clip(np.round(255 * changed), 0, 255).astype(np.uint8)
