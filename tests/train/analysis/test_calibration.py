"""Expected calibration error, in numbers known beforehand."""

import numpy as np
import pytest
from sample_outcomes import report

from train.analysis import calibration


def test_samples_of_a_bin_are_compared_by_their_means():
    confidence, correct = np.array([0.61, 0.63, 1.0]), np.array([True, False, True])
    assert calibration.expected_error(confidence, correct) == pytest.approx(2 / 3 * 0.12)


def test_errors_by_layer():
    # One right of three with confidences that lie in three bins; two; one.
    none = (abs(1 - 0.9) + 0.95 + 0.6) / 3
    assert calibration.by_layer(report("test")) == pytest.approx([none, (0.6 + 0.8) / 2, 0.5])
    assert calibration.by_layer(report("test", "constant_1"))[::2] == [None, None]
