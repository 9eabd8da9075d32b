"""Evaluates a finished run on other test data than it was trained for: larger, or of one scale.

    python -m train.studies.extrapolate WORKDIR grid=12,16,20
    python -m train.studies.extrapolate WORKDIR "blocks=(1,),(2,)"

A field of config.data that makes the test split takes each value in turn; the weights, and the
scale of the images, stay those of the run. Of a baseline, the one route that it was trained on is
evaluated. Writes extrapolation_FIELD.json into the workdir, and a figure.
"""

from ast import literal_eval
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train import evaluate
from train import run as finished
from train.cli import Parser, friendly
from train.console import percent, print_table
from train.data.loading import TEST_FIELDS
from train.errors import UserError
from train.evaluate import COMPARED
from train.plots import run as figures
from train.run import Run
from train.workdir import trained_config, write_record


def extrapolate(workdir: str | Path, field: str, values: Sequence[Any]) -> dict[str, Any]:
    """Evaluates on each value of a field, says and writes what came of it.

    Args:
        workdir: of the run.
        field: of config.data, see `data.TEST_FIELDS`.
        values: of the field, in the order of the table.

    Returns:
        What is written: `field`, `trained` (its value in training), and `rows`, each with `value`,
        `test_examples`, and for straight, agent and all_layers, or a baseline's one of them,
        `ROUTER_accuracy`, `ROUTER_cost`, `ROUTER_steps` and `ROUTER_converged` (share of the
        samples all whose solves did); with an agent also its `actions`.

    Raises:
        UserError: workdir is not a trained run's, or it was trained on the first layers alone, its
            task has no such field, or a value does not go with it.
    """
    workdir = Path(workdir)
    config = trained_config(workdir)
    if field not in TEST_FIELDS or field not in config.data:
        known = ", ".join(name for name in TEST_FIELDS if name in config.data)
        raise UserError(f"{field}: expected a field that makes the test split: {known or 'none'}.")
    names = _names(config)
    trained, rows = config.data[field], []
    for value in values:
        # A run's config comes from JSON, which has no tuples.
        value = list(value) if isinstance(value, tuple) else value
        if type(value) is not type(trained):
            raise UserError(
                f"{field}: expected values like the run's own, {trained!r}, got {value!r}."
            )
        run = finished.reopen(workdir, changes={f"data.{field}": value}, baseline=True)
        rows.append({"value": value, **_measure(run, names)})
    record = {"field": field, "trained": trained, "rows": rows}
    write_record(workdir, f"extrapolation_{field}", record)
    _say(record)
    return record


def _measure(run: Run, names: Sequence[str]) -> dict[str, Any]:
    _, params = run.restored()
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


def _names(config: Any) -> list[str]:
    """Of `COMPARED`: all, or a baseline's own route."""
    names = [name for name, route in COMPARED.items() if config.router in ("agent", route)]
    if not names:
        raise UserError(
            f"config.router: expected a run with an agent, or with none or all of its layers "
            f"iterated, got {config.router!r}."
        )
    return names


def _say(record: dict[str, Any]) -> None:
    names = [name for name in COMPARED if f"{name}_cost" in record["rows"][0]]
    iterating = [name for name in names if name != "straight"]
    rows = [
        [
            str(row["value"]),
            *(percent(row[f"{name}_accuracy"]) for name in names),
            *(f"{row[f'{name}_cost']:.2f}" for name in iterating),
            *(percent(row[f"{name}_converged"]) for name in iterating),
            " / ".join(f"{100 * share:.0f}" for share in row.get("actions", ())),
        ]
        for row in record["rows"]
    ]
    title = f"Trained with {record['field']}={record['trained']}"
    about = (f"{name}, {what}" for what in ("cost", "converged") for name in iterating)
    print_table(title, [record["field"], *names, *about, "actions (%)"], rows)


def main() -> None:
    """The command."""
    parser = Parser("python -m train.studies.extrapolate", description=__doc__.split("\n")[0])
    parser.add_argument("workdir", help="of a finished run")
    parser.add_argument("values", help="FIELD=VALUE,VALUE,...")
    options = parser.parse_args()
    field, _, text = options.values.partition("=")
    try:
        values = literal_eval(f"[{text}]")
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{options.values}: expected FIELD=VALUE,VALUE,...") from error
    extrapolate(options.workdir, field, values)
    figures.draw(Path(options.workdir))


if __name__ == "__main__":
    with friendly():
        main()
