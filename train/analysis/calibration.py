"""Is the model as sure as it is right? The expected calibration error.

Guo et al., On Calibration of Modern Neural Networks (ICML 2017, arXiv 1706.04599).
"""

import numpy as np

from train.evaluate import Report

_BINS = 15


def expected_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Σ over bins of confidence of (share of samples in it) · |accuracy − mean confidence|."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    difference = np.bincount(bins, correct - confidence.astype(float), _BINS)
    return float(np.abs(difference).sum() / len(correct))


def by_layer(report: Report) -> list[float | None]:
    """Error of the samples on the straight pass, and of those that iterate layer 1, 2, …

    None where there are no samples.
    """
    iterated = report.each["iterated"]
    groups = [~iterated.any(-1), *iterated.T]
    pairs = ((report.each["confidence"][on], report.each["correct"][on]) for on in groups)
    return [expected_error(*pair) if len(pair[0]) else None for pair in pairs]
