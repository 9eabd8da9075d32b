"""The figures of one run, from the files in its workdir."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from train.metrics import read_metrics
from train.plots import cost_curves, records, style, training
from train.plots.style import painted
from train.records import as_written
from train.workdir import read_config, read_record

# Figures of one record each, by the record's name.
_OF_RECORDS: dict[str, Callable[[dict], Figure | None]] = {
    "difficulty": records.difficulty,
    "gallery": records.gallery,
    "residuals": records.residuals,
    "corruption": records.corruption,
    "extrapolate_*": records.extrapolate,
}


def draw(workdir: Path) -> list[Path]:
    """Draws the `figures` as PNG into the workdir's folder `figures`.

    Returns:
        The files written.

    Raises:
        UserError: as `figures`, or a figure cannot be written.
    """
    workdir = Path(workdir)
    with matplotlib.rc_context(style.STYLE):
        return [style.save(figure, workdir, name) for name, figure in figures(workdir).items()]


def figures(workdir: Path) -> dict[str, Figure]:
    """The figures whose records are in the workdir, by name; nothing is written.

    A run without some records, because a phase was off, lacks some figures, or lines in them.

    Raises:
        UserError: there is no `metrics.jsonl`, or a record is damaged.
    """
    metrics = training.of_trained_agent(read_metrics(workdir))
    validated = ((read_config(workdir) or {}).get("data") or {}).get("validation")
    curve, summary, exits = (
        read_record(workdir, name) or {} for name in ("curve", "summary", "early_exit")
    )
    choices, by_price = "The agent's choices", cost_curves.actions_by_price
    with as_written(f"{workdir}"):
        found = {
            "loss": painted("Loss", training.loss, metrics),
            "accuracy": painted(
                "Validation accuracy by router", training.accuracy, metrics, validated
            ),
            "reward": painted("Reward and its terms", training.reward, metrics, heights=(3, 2)),
            "selection": painted(
                f"{choices} in training, at random prices", training.selection, metrics
            ),
            "price_actions": painted(f"{choices} by price", by_price, curve, summary),
            "price_curve": painted("Accuracy against cost", cost_curves.by_cost, curve, summary),
            "halting": painted(
                "Accuracy against cost: halting rules", cost_curves.halting, exits, curve, summary
            ),
        }
        with matplotlib.rc_context(style.STYLE):
            for name, figure in _OF_RECORDS.items():
                for path in sorted(workdir.glob(f"{name}.json")):
                    found[path.stem] = figure(read_record(workdir, path.stem))
    return {name: figure for name, figure in found.items() if figure}
