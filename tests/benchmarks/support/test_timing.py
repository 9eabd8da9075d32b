"""Ratios of times, with intervals."""

import numpy as np
import pytest

from benchmarks.support.timing import ratio


def test_ratios_are_of_medians_with_an_interval():
    rng = np.random.default_rng(0)
    plain, slow = rng.normal(10, 1, 200), 3 * rng.normal(10, 1, 200)
    found = ratio(slow, plain)
    assert found.value == pytest.approx(np.median(slow) / np.median(plain))
    assert 2.8 < found.low < 3 < found.high < 3.2
    few = ratio(slow[:8], plain)
    assert few.value == pytest.approx(np.median(slow[:8]) / np.median(plain[:8])), "common rounds"
    assert few.high - few.low > 2 * (found.high - found.low)
    # Rounds that are slow for both say nothing about the ratio.
    uneven = rng.lognormal(size=50)
    assert ratio(2 * uneven, uneven) == pytest.approx((2, 2, 2))
    assert ratio([6.0], [3.0]) == (2, 0, np.inf), "one round has no interval"


def test_the_ratio_to_what_may_take_no_time_has_no_upper_end():
    """Differences of noisy times may be negative."""
    ours, plain = np.full(9, 2.0), np.array([1, 2, -1, 3, -2, 1, -1, 2, 1.0])
    low, high = ratio(ours, plain)[1:]
    assert 0 < low < 2 and high == np.inf
    assert ratio(ours, np.full(9, -0.1)) == 3 * (np.inf,)
    assert ratio(ours, np.zeros(9)) == 3 * (np.inf,)
