"""Does a finished run think longer about what another model finds hard?

    python -m train.studies.difficulty_judge WORKDIR JUDGE

JUDGE is the workdir of another run on the same data, a static net's perhaps, that shares nothing
with the one that is judged: its loss on each test example says how hard that is. Writes
agreement.json into WORKDIR.
"""

from pathlib import Path
from typing import Any

import numpy as np

from train import evaluate
from train import run as finished
from train.analysis.summary import correlation
from train.cli import friendly
from train.console import percent, print_table
from train.errors import UserError
from train.evaluate import COMPARED
from train.workdir import write_record

_PARTS = 5


def agreement(workdir: str | Path, judge: str | Path, data_dir: str | None = None) -> dict:
    """Orders the test split by the judge's loss, says and writes what the run did along that order.

    Args:
        workdir: of the run; it has an agent.
        judge: workdir of the other run, which is evaluated on the route that it was trained for.
        data_dir: where TFDS keeps its data, if not where it was in training.

    Returns:
        What is written: `judge`, the name of its workdir, and `judge_accuracy`; `test_examples`;
        Spearman's ρ with the judge's loss of the agent's cost, `cost_spearman`, and of how unsure
        the straight pass is, `unsure_spearman`, None where constant; and `parts`, fifths of the
        examples from easy to hard, each with `judge_loss`, `agent_cost`, and ROUTER_accuracy of
        straight, agent and all_layers.

    Raises:
        UserError: workdir is not a trained run's, or of one without an agent; or the judge's test
            split is another.
    """
    run = finished.reopen(workdir, data_dir)
    other = finished.reopen(judge, data_dir, baseline=True)
    mine, others = run.dataset.test, other.dataset.test
    if not np.array_equal(mine.labels, others.labels) or not np.array_equal(
        mine.images, others.images
    ):
        raise UserError(f"{judge}: expected a run with the test split of {workdir}, got another.")
    judged = other.evaluate(other.restored()[1], "test", other.config.router)
    report = evaluate.reports(run.evaluate, run.restored()[1], run.config.price)
    found = {name: report("test", router) for name, router in COMPARED.items()}
    loss, cost = judged.each["loss"], found["agent"].each["cost"]
    parts = [
        {
            "judge_loss": float(loss[part].mean()),
            "agent_cost": float(cost[part].mean()),
            **{
                f"{name}_accuracy": float(at.each["correct"][part].mean())
                for name, at in found.items()
            },
        }
        for part in np.array_split(np.argsort(loss, kind="stable"), _PARTS)
    ]
    record = {
        "judge": Path(judge).name,
        "judge_accuracy": judged.accuracy,
        "test_examples": len(loss),
        "cost_spearman": correlation(loss, cost),
        "unsure_spearman": correlation(loss, -found["straight"].each["confidence"]),
        "parts": parts,
    }
    write_record(run.workdir, "agreement", record)
    _say(record)
    return record


def _say(record: dict[str, Any]) -> None:
    rows = [
        [
            f"{number} of {_PARTS}",
            f"{part['judge_loss']:.3f}",
            f"{part['agent_cost']:.2f}",
            *(percent(part[f"{name}_accuracy"]) for name in COMPARED),
        ]
        for number, part in enumerate(record["parts"], 1)
    ]
    title = f"Test set of {record['test_examples']}, from easy to hard for {record['judge']}"
    print_table(title, ["part", "its mean loss", "agent's cost", *COMPARED], rows)
    shown = lambda value: "—" if value is None else f"{value:.2f}"
    print(
        f"Spearman's ρ with its loss: agent's cost {shown(record['cost_spearman'])}, how unsure "
        f"the straight pass is {shown(record['unsure_spearman'])}."
    )


def main() -> None:
    """The command."""
    parser = finished.parser("studies.difficulty_judge", __doc__)
    parser.add_argument("judge", help="workdir of another run on the same data")
    with friendly():
        agreement(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
