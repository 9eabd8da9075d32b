"""Collects what training runs measured, for the README and for whoever compares.

    python -m train.main --config=configs/connectivity.py --workdir=workdir/connectivity
    python -m benchmarks.runs workdir/connectivity ...

A run's folder has its config's name. Several seeds are several folders, NAME-1, NAME-2, ...: their
summaries are averaged. Writes results/NAME.json and, from the first seed, results/NAME.png.
"""

import argparse
from collections import defaultdict
import json
from pathlib import Path
import shutil
from typing import Any

import numpy as np

from benchmarks import measure

# The figure that a README would show of a run, if it has it.
FIGURES = ("difficulty", "price_curve")
SHOWN = ("digits", "connectivity", "cifar10_small", "cifar10", "cifar100")


def collect(workdirs: list[Path]) -> dict[str, Any]:
    """One record of the runs of a config with different seeds."""
    runs = [{name: _read(folder, name) for name in ("summary", "curve")} for folder in workdirs]
    first = workdirs[0]
    record: dict[str, Any] = {
        "environment": measure.environment() | runs[0]["summary"].pop("versions"),
        "config": _read(first, "config"),
        "runs": runs,
    }
    for run in runs[1:]:
        run["summary"].pop("versions")
    if (first / "difficulty.json").exists():
        record["difficulty"] = [_read(folder, "difficulty")["bins"] for folder in workdirs]
    return record


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def table(records: dict[str, dict[str, Any] | None]) -> str:
    """Markdown: a row for each config; one without a record says that it was not run."""
    from tabulate import tabulate

    columns = [
        "config", "test examples", "seeds", "straight pass", "agent", "random", "confidence",
        "all layers", "cost: agent", "cost: all layers", "steps, straight wrong / right",
        "minutes",
    ]  # fmt: skip
    rows = []
    for name, record in records.items():
        if record is None:
            rows.append([name, "not run"])
            continue
        summaries = [run["summary"] for run in record["runs"]]
        of = lambda key, s=summaries: np.mean([summary[key] for summary in s])
        percent = lambda key, of=of: f"{100 * of(f'{key}_accuracy'):.1f} %"
        accuracies = map(percent, ("straight", "test", "random", "confidence", "all_layers"))
        steps = [f"{of(f'steps_when_straight_{what}'):.1f}" for what in ("wrong", "right")]
        costs = [f"{of('mean_cost'):.2f}", f"{of('all_layers_cost'):.1f}"]
        minutes = f"{of('train_seconds') / 60:.1f}"
        counts = [summaries[0]["test_examples"], len(summaries)]
        rows.append([name, *counts, *accuracies, *costs, " / ".join(steps), minutes])
    return tabulate(rows, columns, tablefmt="github", disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path)
    groups = defaultdict(list)
    for folder in parser.parse_args().workdirs:
        groups[folder.resolve().name.partition("-")[0]].append(folder)
    for name, folders in groups.items():
        measure.write_json(measure.RESULTS / f"{name}.json", collect(folders))
        shown = [folders[0] / "figures" / f"{figure}.png" for figure in FIGURES]
        figure = next(path for path in shown if path.exists())
        shutil.copyfile(figure, measure.RESULTS / f"{name}.png")


if __name__ == "__main__":
    main()
