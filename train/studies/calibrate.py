"""Which setting of a router is the cheapest that keeps an error bound?

    python -m train.studies.calibrate WORKDIR [--risk=0.01] [--delta=0.1] [--router=confidence]

The settings are prices of the agent, or thresholds of confidence and the route of unsure samples.
X = [all layers right] − [setting right] is the extra error of a setting on an example. The study
chooses the cheapest setting whose expected extra error E[X] is at most `risk`. The choice keeps
this bound with probability 1 − `delta` over the validation examples. The test split is used
afterwards, to check it.

The method is Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052) with fixed sequence
testing. The settings are tested from the most expensive to the cheapest, an order that no example
influences. Each is tested for "its extra error exceeds the risk" at level `delta`; the first that
is not rejected ends the sequence. Confidence has a sequence for each route of unsure samples, each
at an equal share of `delta`. All layers need no test: their extra error is 0. The promise holds for
examples drawn like the validation examples. These examples chose the best checkpoint, so the study
takes the newest one.
"""

import argparse
import bisect
from collections.abc import Sequence
import math
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is first used

from train import evaluate
from train.console import percent
from train.errors import UserError, expect_one_of
from train.run import Run
from train.step import PyTree
from train.studies.runner import COST, Record, Study, Table, tabulate

# Settings in a sequence.
_COUNT = 19
# Of the test, as Berger & Boos propose.
_BETA = 1e-3
# Validation examples up to which the number that is needed is searched for.
_MOST = 10**5


def measure(
    run: Run, params: PyTree, risk: float = 0.01, delta: float = 0.1, router: str = "agent"
) -> Record:
    """Chooses on the validation split, checks on the test split.

    Args:
        run, params: as of every study.
        risk: greatest extra error against all layers, in (0, 0.5].
        delta: greatest probability of a larger extra error, in (0, 1).
        router: whose settings, "agent" or "confidence".

    Returns:
        `router`, `risk`, `delta`, `validation_examples`, `choice`, `settings` as of `choose`, and
        `test`: the choice beside all layers on the test split.

    Raises:
        UserError: no such router, or no setting can pass with so few validation examples.
    """
    expect_one_of("--router", ("agent", "confidence"), router)
    report = evaluate.reports(run.evaluate, params, run.config.price)
    candidates = sequences(router, run.config, len(run.dataset.classes))
    _expect_enough(len(run.dataset.validation.labels), risk, delta, len(candidates))
    choice, rows = choose(report, Setting("all", run.config.price), candidates, risk, delta)
    chosen, all_layers = report("test", *choice), report("test", "all")
    x = extra_errors(report, "test", choice)
    return {
        "router": router,
        "risk": risk,
        "delta": delta,
        "validation_examples": len(run.dataset.validation.labels),
        "choice": choice._asdict(),
        "settings": rows,
        "test": {
            "examples": len(x),
            "cost": chosen.mean_cost,
            "accuracy": chosen.accuracy,
            "extra_error": float(x.mean()),
            "standard_error": float(scipy.stats.sem(x)),
            "all_layers_cost": all_layers.mean_cost,
            "all_layers_accuracy": all_layers.accuracy,
        },
    }


def _expect_enough(examples: int, risk: float, delta: float, count: int) -> None:
    """Raises UserError if none of `count` sequences could pass although no answer differs."""
    level = delta / count
    if level <= _BETA:
        raise UserError(f"--delta: expected more than {count * _BETA:g}, got {delta:g}.")
    passes = lambda n, risk: p_value(np.zeros(n, int), risk) <= level
    if passes(examples, risk):
        return
    most = 2 * examples
    while most < _MOST and not passes(most, risk):
        most *= 2
    needed = bisect.bisect_left(range(most), True, most // 2, key=lambda n: passes(n, risk))
    risks = np.arange(1, 501) / 1000
    least = bisect.bisect_left(risks, True, key=lambda r: passes(examples, r))
    cure = f"Allow --risk={risks[least]:g} or more, or train" if least < len(risks) else "Train"
    raise UserError(
        f"--risk={risk:g}: expected at least {needed:,} validation examples, got {examples}; with "
        "fewer no setting can pass, even if no answer differs from that of all layers. "
        f"{cure} with more validation examples."
    )


def _number(text: str) -> float:
    """The number that a text is; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _risk(text: str) -> float:
    if not 0 < (number := _number(text)) <= 0.5:
        raise argparse.ArgumentTypeError(f"expected more than 0, at most 0.5, got {text}")
    return number


def _delta(text: str) -> float:
    if not 0 < (number := _number(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return number


def table(record: Record) -> Table:
    """A row for each setting that was tested, and the choice."""
    name = lambda row: str(Setting(row["router"], row["price"]))
    columns = {
        "setting": ("setting", ""),
        "mean cost": ("validation_cost", ".2f"),
        "extra error": ("validation_extra_error", ".4f"),
        "p-value": ("p_value", ".2g"),
        "passed": ("passed", ""),
    }
    rows = [
        row | {"setting": name(row), "passed": "yes" if row["passed"] else "no"}
        for row in record["settings"]
    ]
    risk, delta, n, test = (record[k] for k in ("risk", "delta", "validation_examples", "test"))
    remarks = [f"{COST} A sequence of settings ends at the first that fails."]
    if not any(row["passed"] for row in record["settings"][1:]):
        remarks.append("No setting passed, so the choice is all layers.")
    remarks += [
        f"Choice at risk {risk:g} and delta {delta:g}: {name(record['choice'])}.",
        f"Test split of {test['examples']}: cost {test['cost']:.2f}, accuracy "
        f"{percent(test['accuracy'])}, extra error {test['extra_error']:.4f} ± "
        f"{test['standard_error']:.4f}. All layers: cost {test['all_layers_cost']:.2f}, accuracy "
        f"{percent(test['all_layers_accuracy'])}.",
    ]
    return tabulate(f"{n} validation examples", columns, rows, *remarks)


class Setting(NamedTuple):
    """A router as `config.router` names it, and the price λ of the agent."""

    router: str
    price: float

    def __str__(self) -> str:
        shown = {"agent": f"agent at price {self.price:g}", "all": "all layers"}
        return shown.get(self.router, self.router)


def sequences(
    router: str, config: ml_collections.FrozenConfigDict, classes: int
) -> list[list[Setting]]:
    """A router's settings from the most expensive to the cheapest, fixed beforehand.

    "agent": prices spread over `config.price_range`. "confidence": samples whose largest class
    probability on the straight pass is below a threshold iterate all layers, or one of them, a
    sequence each. Thresholds are spread over the odds 100,000:1 to 1:(classes − 1).
    """
    if router == "agent":
        low, high = config.price_range
        prices = np.geomspace(low, high, _COUNT)
        return [[Setting("agent", float(f"{price:.3g}")) for price in prices]]
    odds = np.geomspace(1e5, 1 / (classes - 1), _COUNT)
    layers = len(config.model.widths)
    single = [f"confidence_{layer}" for layer in range(1, layers + 1)] if layers > 1 else []
    return [
        [Setting(f"{name}:{t:.6g}", config.price) for t in odds / (1 + odds)]
        for name in ("confidence", *single)
    ]


def extra_errors(report: evaluate.Reports, split: str, setting: Setting) -> np.ndarray:
    """X of each example, int [n]: 1 where only all layers are right, −1 where only the setting."""
    right = [report(split, *which).each["correct"].astype(int) for which in (("all",), setting)]
    return right[0] - right[1]


def choose(
    report: evaluate.Reports,
    all_layers: Setting,
    candidates: Sequence[Sequence[Setting]],
    risk: float,
    delta: float,
) -> tuple[Setting, list[dict[str, Any]]]:
    """Tests the candidates, `sequences`, in their order on the validation split.

    Returns:
        The cheapest that passed, and a row for all layers and for each that was tested: `router`,
        `price`, `validation_cost`, `validation_extra_error`, `p_value` and `passed`. The first of a
        sequence that does not pass is its last.
    """

    def row(setting: Setting, x: np.ndarray, p: float) -> dict[str, Any]:
        return setting._asdict() | {
            "validation_cost": report("validation", *setting).mean_cost,
            "validation_extra_error": float(x.mean()),
            "p_value": p,
            "passed": p <= delta / len(candidates),
        }

    rows = [row(all_layers, np.zeros(1), 0.0)]
    for sequence in candidates:
        for setting in sequence:
            x = extra_errors(report, "validation", setting)
            rows.append(row(setting, x, p_value(x, risk)))
            if not rows[-1]["passed"]:
                break
    cheapest = min((row for row in rows if row["passed"]), key=lambda row: row["validation_cost"])
    return Setting(cheapest["router"], cheapest["price"]), rows


def p_value(x: np.ndarray, risk: float) -> float:
    """p-value of the hypothesis E[X] > risk: an exact test that gains from rare differences.

    Args:
        x: [n] int, of −1, 0 and 1.
        risk: in (0, 0.5].

    With S = Σ x and unknown q = P(X ≠ 0), p is maximised over a confidence set of q (Berger & Boos
    1994, J. Am. Stat. Assoc. 89:1012):

        p = β + P(S' ≤ S),  S' of n examples with E[X] = risk and P(X ≠ 0) = u,

    u the upper Clopper–Pearson bound of q at level 1 − β. p is super-uniform for independent X:
    - Turning 1s into 0s until E[X] = risk lowers q and makes a small sum more probable.
    - If E[X] = risk, u is the worst q. For q ≤ 1/2, X + 1 is the sum of two Bernoulli variables, so
      the probabilities of the sum S'' of n − 1 examples rise up to its mean (Samuels 1965, Ann.
      Math. Stat. 36:1272), and ∂P(S' ≤ S)/∂q = n/2 · (P(S'' = S + 1) − P(S'' = S)) is not negative
      while S + 1 is at most that mean. Elsewhere p is 1.
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


STUDY = Study(
    "calibrate",
    __doc__,
    measure,
    table,
    {
        "--risk": dict(type=_risk, default=0.01, help="greatest extra error; default: 0.01"),
        "--delta": dict(type=_delta, default=0.1, help="probability of more; default: 0.1"),
        "--router": dict(default="agent", help="agent (default) or confidence"),
    },
    ending="router",
    # The validation examples chose the best checkpoint.
    changes={"checkpoint.evaluate": "newest"},
)

if __name__ == "__main__":
    STUDY.main()
