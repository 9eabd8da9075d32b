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
    config = _read(workdirs[0], "config")
    # Where the data lay is that machine's own affair.
    config["data"].pop("data_dir", None)
    record: dict[str, Any] = {"config": config, "runs": runs}
    if (workdirs[0] / "difficulty.json").exists():
        record["difficulty"] = [_read(folder, "difficulty")["bins"] for folder in workdirs]
    return record


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def table(records: dict[str, dict[str, Any] | None]) -> str:
    """Markdown: a row for each config; one without a record says that it was not run."""
    from tabulate import tabulate

    columns = [
        "config", "test examples", "seeds", "straight pass", "agent", "random", "confidence",
        "all layers", "cost: agent / all", "ms: straight / agent / all",
        "steps, straight wrong / right", "median residual", "minutes",
    ]  # fmt: skip
    rows = [
        [f"`{name}.py`", *(_row(record) if record else ["not run"])]
        for name, record in records.items()
    ]
    return tabulate(rows, columns, tablefmt="github", disable_numparse=True)


def _row(record: dict[str, Any]) -> list[str]:
    summaries = [run["summary"] for run in record["runs"]]
    values = lambda key: np.array([s[key] for s in summaries if s[key] is not None], float)
    mean = lambda key, form: f"{values(key).mean():{form}}" if len(values(key)) else "—"
    means = lambda form, *keys: " / ".join(mean(key, form) for key in keys)

    def accuracy(key: str) -> str:
        percent = 100 * values(f"{key}_accuracy")
        spread = f" ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else ""
        return f"{percent.mean():.1f}{spread} %"

    return [
        mean("test_examples", ".0f"),
        str(len(summaries)),
        *map(accuracy, ("straight", "test", "random", "confidence", "all_layers")),
        means(".2f", "mean_cost", "all_layers_cost"),
        means(".2f", "straight_milliseconds", "milliseconds", "all_layers_milliseconds"),
        means(".2f", "steps_when_straight_wrong", "steps_when_straight_right"),
        mean("median_residual", ".0e"),
        f"{values('train_seconds').mean() / 60:.1f}",
    ]


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
