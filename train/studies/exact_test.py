"""Is the mean of rare differences below a bound? An exact test."""

import math

import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is first used

# As Berger & Boos propose.
_BETA = 1e-3


def p_value(x: np.ndarray, risk: float) -> float:
    """p-value of the hypothesis E[X] > risk.

    With S = Σ x and q = P(X ≠ 0), unknown, it is the p-value maximised over a confidence set of q
    (Berger & Boos 1994, J. Am. Stat. Assoc. 89:1012):

        p = β + P(S' ≤ S),  S' of as many examples with E[X] = risk and P(X ≠ 0) = u,

    u the upper Clopper–Pearson bound of q at level 1 − β. It is super-uniform for independent
    draws of X, whatever their distribution on {−1, 0, 1}:
    - Of those with E[X] > risk and q ≤ u, none makes a small sum more probable than one with
      E[X] = risk, to which it comes by turning some 1s into 0s, which lowers q.
    - Among these, u is the worst q. X + 1 is the sum of two Bernoulli variables if q ≤ 1/2, so the
      sum of n − 1 examples rises in probability up to its mean (Samuels 1965, Ann. Math. Stat.
      36:1272); and ∂P(S' ≤ S)/∂q = n/2 · (P(S'' = S + 1) − P(S'' = S)), S'' of n − 1 examples, is
      not negative while S + 1 is at most that mean. Elsewhere p is 1.

    Rare differences leave little variance: the test adapts to q, as bounds by the range of X
    (Hoeffding) do not, and has no slack of Markov's inequality, as betting has.

    Args:
        x: [n] int, of −1, 0 and 1.
        risk: in (0, 1).
    """
    n, total, differing = len(x), int(x.sum()), int(np.count_nonzero(x))
    interval = scipy.stats.binomtest(differing, n, alternative="less").proportion_ci(1 - _BETA)
    most = max(float(interval.high), risk)
    if most > 0.5 or total + 1 > (n - 1) * risk:
        return 1.0
    # p² − (1 + risk) p + P(X = 1) = 0 for the two Bernoulli probabilities.
    root = math.sqrt(1 + risk**2 - 2 * most)
    first, second = ((1 + risk + sign * root) / 2 for sign in (1, -1))
    k = np.arange(n + 1)
    tail = scipy.stats.binom.pmf(k, n, first) @ scipy.stats.binom.cdf(total + n - k, n, second)
    return min(1.0, _BETA + float(tail))
