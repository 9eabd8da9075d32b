"""The exact test of rare differences: its number, its level and its power."""

import numpy as np
import pytest
from scipy import stats

from train.studies.exact_test import p_value


def differences(ones, minus, n):
    return np.repeat([1, -1, 0], [ones, minus, n - ones - minus])


def chances(mean, differing, n):
    """Probability [n + 1, n + 1] of every number of 1s and of −1s."""
    ones, minus = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    zeros = np.maximum(n - ones - minus, 0)
    up, down = (differing + mean) / 2, (differing - mean) / 2
    counts = np.stack([ones, minus, zeros], -1)
    return stats.multinomial.pmf(counts, n, [up, down, max(0.0, 1 - up - down)])


@pytest.mark.parametrize(("ones", "minus"), [(0, 0), (1, 0), (1, 2), (3, 3), (0, 4)])
def test_p_value_is_the_probability_of_so_small_a_sum_in_the_worst_case(ones, minus):
    n, risk, doubt = 60, 0.1, 1e-3
    x = differences(ones, minus, n)
    bound = stats.beta.ppf(1 - doubt, ones + minus + 1, n - ones - minus)
    tails = []
    for differing in np.linspace(risk, max(risk, bound), 9):
        probability = chances(risk, differing, n)
        sums = np.subtract.outer(np.arange(n + 1), np.arange(n + 1))
        tails.append(probability[sums <= x.sum()].sum())
    assert p_value(x, risk) == pytest.approx(doubt + max(tails), rel=1e-9)
    assert max(tails) == tails[-1]


def test_level_holds_exactly():
    """Every outcome of 60 examples is weighed, at the edge of the hypothesis and inside it."""
    n, risk = 60, 0.1
    p = np.ones((n + 1, n + 1))
    for ones in range(n + 1):
        for minus in range(n + 1 - ones):
            p[ones, minus] = p_value(differences(ones, minus, n), risk)
    for mean in (0.1, 0.1001, 0.15):
        for differing in (mean, 0.16, 0.2, 0.3, 0.5, 0.8, 1.0):
            probability = chances(mean, differing, n)
            assert probability.sum() == pytest.approx(1)
            for level in (0.002, 0.01, 0.05, 0.1, 0.2, 0.5):
                assert probability[p <= level].sum() <= level


def test_it_finds_what_is_there():
    # All agree, and that is next to impossible for 5 % of 1,000: only β is left.
    assert p_value(differences(0, 0, 1000), 0.05) == pytest.approx(1e-3)
    # Half a per cent where one is allowed, of 2,000: found in two of three cases.
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        counts = rng.multinomial(2000, [0.007, 0.002, 0.991])
        found.append(p_value(differences(*counts[:2], 2000), 0.01) <= 0.1)
    assert np.mean(found) > 0.55


def test_what_speaks_for_the_hypothesis_gives_one():
    assert p_value(differences(30, 10, 1000), 0.01) == 1.0
    assert p_value(differences(300, 300, 1000), 0.05) == 1.0  # too noisy to say
    assert p_value(differences(0, 0, 20), 0.01) == 1.0  # too few
