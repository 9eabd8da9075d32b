"""Chooses how much to think, with a bound on what that may cost in accuracy.

    python -m train.studies.calibrate WORKDIR [--risk=0.01] [--delta=0.1] [--router=confidence]

Of the settings of a router (prices of the agent; thresholds of confidence, and what unsure samples
iterate) it takes the cheapest whose extra error E[X], X = [all layers right] − [setting right], is
at most `risk`; with probability 1 − `delta` over the validation examples it is. Then it looks at
the test split.

That is Learn then Test (Angelopoulos et al. 2021, arXiv 2110.01052) with fixed sequence testing:
from the dearest setting to the cheapest, an order that no example has a say in, each is tested for
"its extra error exceeds the risk" at level `delta`, and the first that is not rejected ends the
sequence. Confidence has a sequence for each route that unsure samples may take, each tested at an
equal share of `delta`. All layers themselves need no test: their extra error is 0. The promise is
for examples drawn as the validation examples were; so the newest checkpoint is taken, since the
best was chosen by these very examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is first used

from train import evaluate
from train import run as finished
from train.cli import friendly
from train.console import percent, print_table
from train.errors import UserError, expect_one_of
from train.studies.exact_test import p_value
from train.workdir import write_record

# Settings in a sequence.
_COUNT = 19


class Setting(NamedTuple):
    """A router as `config.router` names it, and the price λ that the agent is told."""

    router: str
    price: float

    def __str__(self) -> str:
        return f"agent at price {self.price:g}" if self.router == "agent" else self.router


def sequences(
    router: str, config: ml_collections.FrozenConfigDict, classes: int
) -> list[list[Setting]]:
    """A router's settings from the dearest to the cheapest, fixed beforehand.

    Args:
        router: "agent", at prices spread over `config.price_range`, or "confidence", where samples
            whose largest class probability on the straight pass is below a threshold iterate all
            layers, or one of them: a sequence each. The thresholds are spread over the odds
            100,000:1 to 1:(classes − 1).
        config: of the run.
        classes: of the data set.
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
    everything: Setting,
    candidates: Sequence[Sequence[Setting]],
    risk: float,
    delta: float,
) -> tuple[Setting, list[dict[str, Any]]]:
    """Tests the candidates in their order on the validation split.

    Args:
        report: of the run's parameters.
        everything: all layers, without a test.
        candidates: as of `sequences`.
        risk, delta: as of `calibrate`.

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

    rows = [row(everything, np.zeros(1), 0.0)]
    for sequence in candidates:
        for setting in sequence:
            x = extra_errors(report, "validation", setting)
            rows.append(row(setting, x, p_value(x, risk)))
            if not rows[-1]["passed"]:
                break
    cheapest = min((row for row in rows if row["passed"]), key=lambda row: row["validation_cost"])
    return Setting(cheapest["router"], cheapest["price"]), rows


def tested(report: evaluate.Reports, setting: Setting) -> dict[str, Any]:
    """What the setting does with the test split, beside all layers."""
    x = extra_errors(report, "test", setting)
    chosen, everything = report("test", *setting), report("test", "all")
    return {
        "examples": len(x),
        "cost": chosen.mean_cost,
        "accuracy": chosen.accuracy,
        "extra_error": float(x.mean()),
        "standard_error": float(scipy.stats.sem(x)),
        "all_layers_cost": everything.mean_cost,
        "all_layers_accuracy": everything.accuracy,
    }


def calibrate(
    workdir: str | Path, risk: float, delta: float, router: str, data_dir: str | None = None
) -> dict[str, Any]:
    """Chooses on the validation split of a run, checks on its test split, says and writes both.

    Args:
        workdir: of the run; gets calibrated_ROUTER.json.
        risk: greatest extra error against all layers, in (0, 1).
        delta: greatest probability that the choice has more, in (0, 1).
        router: whose settings, "agent" or "confidence".
        data_dir: where TFDS keeps its data, if not where it was in training.

    Returns:
        What is written: `risk`, `delta`, `step` of the checkpoint, `validation_examples`, `choice`,
        `settings` as of `choose`, and `test` as of `tested`.

    Raises:
        UserError: workdir is not a trained run's, or an argument is not as above.
    """
    for name, value in {"risk": risk, "delta": delta}.items():
        if not 0 < value < 1:
            raise UserError(f"--{name}: expected a number between 0 and 1, got {value:g}.")
    expect_one_of("--router", ("agent", "confidence"), router)
    run = finished.reopen(workdir, data_dir, {"checkpoint.evaluate": "newest"})
    config = run.config
    step, params = run.restored()
    report = evaluate.reports(run.evaluate, params, config.price)
    candidates = sequences(router, config, len(run.dataset.classes))
    choice, rows = choose(report, Setting("all", config.price), candidates, risk, delta)
    record = {
        "risk": risk,
        "delta": delta,
        "step": step,
        "validation_examples": len(run.dataset.validation.labels),
        "choice": choice._asdict(),
        "settings": rows,
        "test": tested(report, choice),
    }
    write_record(run.workdir, f"calibrated_{router}", record)
    _say(record)
    return record


def _say(record: dict[str, Any]) -> None:
    risk, delta, n, test = (record[k] for k in ("risk", "delta", "validation_examples", "test"))
    name = lambda row: str(Setting(row["router"], row["price"]))
    rows = [
        [name(row), f"{row['validation_cost']:.2f}", f"{row['validation_extra_error']:.4f}",
         f"{row['p_value']:.2g}", "yes" if row["passed"] else "no"]
        for row in record["settings"]
    ]  # fmt: skip
    title = f"{n} validation examples; each sequence is tested until one fails"
    print_table(title, ["setting", "mean cost", "extra error", "p-value", "passed"], rows)
    if not any(row["passed"] for row in record["settings"][1:]):
        print("No setting passed, so all layers it is.")
        if p_value(np.zeros(n, int), risk) > delta:
            print(f"{n} examples do not suffice even if no answer differs: allow more risk.")
    print(
        f"Chosen at risk {risk:g}, delta {delta:g}: {name(record['choice'])}. Test split of "
        f"{test['examples']}: cost {test['cost']:.2f}, accuracy {percent(test['accuracy'])}, extra "
        f"error {test['extra_error']:.4f} ± {test['standard_error']:.4f}; all layers: cost "
        f"{test['all_layers_cost']:.2f}, accuracy {percent(test['all_layers_accuracy'])}."
    )


def main() -> None:
    """The command."""
    parser = finished.parser("studies.calibrate", __doc__)
    parser.add_argument("--risk", type=float, default=0.01, help="greatest extra error")
    parser.add_argument("--delta", type=float, default=0.1, help="probability of more than that")
    parser.add_argument("--router", default="agent", help="agent or confidence")
    with friendly():
        calibrate(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
