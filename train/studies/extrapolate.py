"""How does a run do on other test data than in training: larger, or of one scale?

    python -m train.studies.extrapolate WORKDIR grid=12,16,20
    python -m train.studies.extrapolate WORKDIR "blocks=(1,),(2,)"

A field of config.data that makes the test split takes each value in turn. The weights, and the
scale of the images, stay those of the run. A run without an agent is evaluated on its own route.
"""

import argparse
from ast import literal_eval
from collections.abc import Sequence
from typing import Any

from train import evaluate
from train.data.loading import TEST_FIELDS
from train.errors import UserError
from train.evaluate import COMPARED, LABELS
from train.run import Run, reopen
from train.step import PyTree
from train.studies.runner import Record, Study, Table, tabulate


def measure(run: Run, params: PyTree, values: tuple[str, Sequence[Any]]) -> Record:
    """Evaluates on each value of a field of config.data, see `TEST_FIELDS`.

    Returns:
        `field`, `trained` (its value in training), and `rows`, each with `value`, `test_examples`,
        and `ROUTER_accuracy`, `ROUTER_cost`, `ROUTER_steps` and `ROUTER_converged` (share of the
        samples all whose solves converged) for straight, agent and all_layers. A run without an
        agent has only the route that it was trained on; with an agent there are also `actions`.

    Raises:
        UserError: the run was trained on the first layers alone, its data have no such field, or a
            value does not fit the field.
    """
    field, wanted = values
    config = run.config
    if field not in TEST_FIELDS or field not in config.data:
        known = ", ".join(name for name in TEST_FIELDS if name in config.data)
        what = f"one of {known}" if known else "a run on generated data, such as connectivity"
        raise UserError(
            f"{field}: expected a field of {config.data.name} that makes the test split: {what}."
        )
    names = [name for name, route in COMPARED.items() if config.router in ("agent", route)]
    if not names:
        raise UserError(
            "config.router: expected a run with an agent, or with none or all of its layers "
            f"iterated, got {config.router!r}."
        )
    # Config files are JSON, which has no tuples.
    plain = lambda value: list(value) if isinstance(value, tuple) else value
    trained, rows = plain(config.data[field]), []
    for value in map(plain, wanted):
        if type(value) is not type(trained):
            raise UserError(
                f"{field}: expected values like the run's own, {trained!r}, got {value!r}."
            )
        other = reopen(
            run.workdir, config.data.get("data_dir"), {f"data.{field}": value}, without_agent=True
        )
        rows.append({"value": value, **_row(other, params, names)})
    return {"field": field, "trained": trained, "rows": rows}


def _row(run: Run, params: PyTree, names: Sequence[str]) -> dict[str, Any]:
    report = evaluate.reports(run.evaluate, params, run.config.price)
    out: dict[str, Any] = {"test_examples": len(run.dataset.test.labels)}
    for name in names:
        result = report("test", COMPARED[name])
        out |= {
            f"{name}_accuracy": result.accuracy,
            f"{name}_cost": result.mean_cost,
            f"{name}_steps": float(result.each["steps"].mean()),
            f"{name}_converged": float(result.each["converged"].mean()),
        }
    return out | ({"actions": report("test").actions} if "agent" in names else {})


def _values(text: str) -> tuple[str, list[Any]]:
    field, _, values = text.partition("=")
    try:
        found = literal_eval(f"[{values}]")
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
        found = []
    if not found or not field:
        raise argparse.ArgumentTypeError(f"expected FIELD=VALUE,VALUE,..., got {text}")
    return field, found


def table(record: Record) -> Table:
    """A row for each value."""
    names = [name for name in COMPARED if f"{name}_cost" in record["rows"][0]]
    iterating = [name for name in names if name != "straight"]
    shares = lambda row: " / ".join(f"{100 * share:.0f}" for share in row.get("actions", ()))
    columns = {
        record["field"]: ("value", ""),
        **{f"{LABELS[name]}: accuracy": (f"{name}_accuracy", "%") for name in names},
        **{f"{LABELS[name]}: cost": (f"{name}_cost", ".2f") for name in iterating},
        **{f"{LABELS[name]}: converged": (f"{name}_converged", "%") for name in iterating},
        "straight pass / layer 1 / … (%)": ("shares", ""),
    }
    rows = (row | {"value": str(row["value"]), "shares": shares(row)} for row in record["rows"])
    return tabulate(f"Trained with {record['field']}={record['trained']}", columns, rows)


STUDY = Study(
    "extrapolate",
    __doc__,
    measure,
    table,
    {"values": dict(type=_values, metavar="FIELD=VALUE,VALUE,...")},
    ending="field",
    without_agent=True,
)

if __name__ == "__main__":
    STUDY.main()
