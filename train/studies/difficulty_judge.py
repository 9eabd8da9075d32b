"""Does the agent spend more on the examples that another model finds hard?

    python -m train.studies.difficulty_judge WORKDIR JUDGE

JUDGE is the workdir of another run on the same data, perhaps of a static net. The two models share
no weights. The judge's loss on a test example measures how hard the example is.
"""

from pathlib import Path

import numpy as np

from train import evaluate
from train.analysis.difficulty import correlation
from train.cli import folder
from train.console import percent
from train.errors import UserError
from train.evaluate import COMPARED, LABELS
from train.run import Run
from train.step import PyTree
from train.studies.runner import COST, Record, Study, Table, finished, tabulate

_PARTS = 5


def measure(run: Run, params: PyTree, judge: str | Path) -> Record:
    """Cost and accuracy of the run along the order of the loss of the judge, another workdir.

    Returns:
        `judge`, the name of its workdir, and `judge_accuracy`; `test_examples`; Spearman's ρ of the
        judge's loss with the agent's cost, `cost_spearman`, and with the uncertainty of the
        straight pass, `unsure_spearman`, None where constant; and `parts`, fifths of the examples
        from easy to hard, each with `judge_loss`, `agent_cost`, and ROUTER_accuracy of straight,
        agent and all_layers.

    Raises:
        UserError: `judge` is not another finished run's workdir, or has another test split.
    """
    # The judge is evaluated on the route that it was trained for.
    if Path(judge).resolve() == run.workdir.resolve():
        raise UserError(f"{judge}: expected another run as judge, got the run itself.")
    other = finished(judge, run.config.data.get("data_dir"), without_agent=True)
    mine, others = run.dataset.test, other.dataset.test
    if not np.array_equal(mine.labels, others.labels) or not np.array_equal(
        mine.images, others.images
    ):
        raise UserError(
            f"{judge}: expected a run with the test split of {run.workdir}, got another."
        )
    judged = other.evaluate(other.restored()[1], "test", other.config.router)
    report = evaluate.reports(run.evaluate, params, run.config.price)
    found = {name: report("test", router) for name, router in COMPARED.items()}
    loss, cost = judged.each["loss"], found["agent"].each["cost"]
    return {
        "judge": Path(judge).name,
        "judge_accuracy": judged.accuracy,
        "test_examples": len(loss),
        "cost_spearman": correlation(loss, cost),
        "unsure_spearman": correlation(loss, -found["straight"].each["confidence"]),
        "parts": [
            {
                "judge_loss": float(loss[part].mean()),
                "agent_cost": float(cost[part].mean()),
                **{
                    f"{name}_accuracy": float(at.each["correct"][part].mean())
                    for name, at in found.items()
                },
            }
            for part in np.array_split(np.argsort(loss, kind="stable"), _PARTS)
        ],
    }


def table(record: Record) -> Table:
    """A row for each fifth of the examples."""
    columns = {
        "part": ("part", ""),
        "judge's mean loss": ("judge_loss", ".3f"),
        "agent's mean cost": ("agent_cost", ".2f"),
        **{LABELS[name]: (f"{name}_accuracy", "%") for name in COMPARED},
    }
    rows = ({"part": f"{i} of {_PARTS}", **part} for i, part in enumerate(record["parts"], 1))
    rho = lambda key: "—" if record[key] is None else f"{record[key]:.2f}"
    return tabulate(
        f"Test set of {record['test_examples']}, from easy to hard for {record['judge']} "
        f"(accuracy {percent(record['judge_accuracy'])})",
        columns,
        rows,
        COST,
        f"Spearman's ρ with the judge's loss: agent's cost {rho('cost_spearman')}, uncertainty of "
        f"the straight pass {rho('unsure_spearman')}.",
    )


STUDY = Study(
    "difficulty_judge",
    __doc__,
    measure,
    table,
    {"judge": dict(type=folder, help="workdir of another run on the same data")},
)

if __name__ == "__main__":
    STUDY.main()
