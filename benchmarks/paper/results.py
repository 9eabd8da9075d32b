"""Collects what training runs measured, for the README and for whoever compares.

    python -m train.main --config=configs/connectivity.py --workdir=workdir/connectivity
    python -m benchmarks.paper.results workdir/connectivity ...

A run's folder has its config's name. Several seeds are several folders, NAME-1, NAME-2, ...: their
summaries are averaged. Writes results/NAME.json; what was asked of the finished runs is in it, too.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import shutil
from typing import Any

import numpy as np

from benchmarks.paper.claim import share_of_gap
from benchmarks.support import timing
from train.analysis import seeds
from train.evaluate import COMPARED

Record = dict[str, Any]
Records = Mapping[str, Record | None]
# Records of a run that hold numbers alone; the gallery has images.
_RECORDS = (
    "curve",
    "halting",
    "robustness",
    "agreement",
    "residuals",
    "solves",
    "calibrated_*",
    "extrapolation_*",
)
_GAPS = "confidence_gap", "gap_closed", "surest_gap"
# What was timed with a run's weights is a file of its own.
_TIMED = ("training_*", "routers_*")
SHOWN = (
    "digits", "connectivity", "scales", "mazes", "parity", "parity_extrapolation",
    "imdb", "wikitext2", "cifar10_small", "cifar10", "cifar100",
)  # fmt: skip


def collect(group: seeds.Group) -> Record:
    """One record of the runs of a config with different seeds."""
    read = lambda folder, name: json.loads((folder / f"{name}.json").read_text())
    # Where the data lay is that machine's own affair.
    data = {key: value for key, value in group.config["data"].items() if key != "data_dir"}
    config = group.config | {"data": data}
    runs = [
        {
            "summary": summary,
            **{
                p.stem: read(folder, p.stem)
                for name in _RECORDS
                for p in folder.glob(f"{name}.json")
            },
        }
        for folder, summary in zip(group.workdirs, group.summaries, strict=True)
    ]
    record: Record = {"config": config, "ran": group.ran, "runs": runs}
    if (group.workdirs[0] / "difficulty.json").exists():
        record["difficulty"] = [read(folder, "difficulty")["bins"] for folder in group.workdirs]
    return record


def table(records: Records, nets: Mapping[str, Sequence[Record]]) -> str:
    """Markdown: a row for each config; one without a record says that it was not run.

    Args:
        records: by config.
        nets: by config, records of static nets with as many MACs as its agent; the best is shown.
    """
    columns = [
        "config", "test examples", "seeds", "no operation", "random", "confidence", "agent",
        "static net", "all layers", "gap closed (%)", "cost: agent / all", "minutes",
    ]  # fmt: skip
    rows = [
        [f"`{name}.py`", *(_row(record, nets.get(name, ())) if record else ["not run"])]
        for name, record in records.items()
    ]
    return timing.markdown(rows, columns)


def _row(record: Record, nets: Sequence[Record]) -> list[str]:
    summaries = [run["summary"] for run in record["runs"]]
    # Only accuracies show their spread, to keep the table readable.
    costs = (plain(summaries, key, ".2f") for key in ("mean_cost", "all_layers_cost"))
    static = [[run["summary"] for run in net["runs"]] for net in nets]
    mean = lambda summaries: np.mean([summary["test_accuracy"] for summary in summaries])
    return [
        plain(summaries, "test_examples", ".0f"),
        str(len(summaries)),
        *_accuracies(summaries, "straight", "random", "confidence", "test"),
        _net(max(static, key=mean, default=[]), len(summaries)),
        *_accuracies(summaries, "all_layers"),
        plain(summaries, "gap_closed", "z.0f", 100),
        " / ".join(costs),
        plain(summaries, "train_seconds", ".1f", 1 / 60),
    ]


def _net(summaries: Sequence[Record], seeds_beside: int) -> str:
    """A static net's accuracy; it says of how many seeds where that is another number."""
    (accuracy,) = _accuracies(summaries, "test")
    other = summaries and len(summaries) != seeds_beside
    return f"{accuracy} (n = {len(summaries)})" if other else accuracy


def routes_table(records: Records) -> str:
    """Markdown: for each config that was run, more routes that the same weights can take."""
    columns = [
        "config", "shuffled", "two thresholds", "two looks", "agent", "gap closed: confidence (%)",
        "gap closed: agent (%)", "gap closed: surest (%)", "no operation / layer 1 / … (%)",
        "each layer alone (%)", "its cost", "agent's cost",
    ]  # fmt: skip
    rows = []
    for name, record in records.items():
        if not record:
            continue
        summaries = [_with_shares(run["summary"]) for run in record["runs"]]
        layers = range(len(summaries[0]["layer_accuracies"]))
        routers = [run["curve"]["routers"] for run in record["runs"] if "curve" in run]
        alone = [[each[f"layer {layer + 1}"] for each in routers] for layer in layers]
        rows.append(
            [
                f"`{name}.py`",
                *_accuracies(summaries, "shuffled", "graded", "cascade", "test"),
                *(plain(summaries, key, "z.0f", 100) for key in _GAPS),
                seeds.shares(summaries),
                " / ".join(plain(layer, "accuracy", ".1f", 100) for layer in alone),
                " / ".join(plain(layer, "mean_cost", ".2f", 1) for layer in alone),
                plain(summaries, "mean_cost", ".2f", 1),
            ]
        )
    return timing.markdown(rows, columns)


def _with_shares(summary: Record) -> Record:
    """With how far others than the agent go from random routing to the oracle."""
    others = ("confidence", "surest")
    return summary | {f"{name}_gap": share_of_gap(summary, name) for name in others}


def plain(summaries: Sequence[Record], key: str, form: str, factor: float = 1) -> str:
    """As `seeds.mean`, without the spread."""
    return seeds.mean(summaries, key, form, factor, spread=False)


def _accuracies(summaries: Sequence[Record], *names: str) -> list[str]:
    return [_percent(seeds.mean(summaries, f"{name}_accuracy")) for name in names]


def _percent(number: str) -> str:
    return number if number == "—" else f"{number} %"


def static_table(records: Mapping[str, Record], times: Mapping[str, float]) -> str:
    """Markdown: a config and its baselines, by what they cost.

    Args:
        records: by name of the run, the config itself first.
        times: milliseconds an example, of those that were timed.
    """
    rows = []
    for name, record in records.items():
        summaries = [run["summary"] for run in record["runs"]]
        rows.append(
            [
                f"`{name}`",
                str(len(summaries)),
                f"{seeds.mean(summaries, 'test_accuracy')} %",
                plain(summaries, "parameters", ",.1f", 1e-3),
                plain(summaries, "mean_macs", ",.3f", 1e-6),
                f"{1e3 * times[name]:.3g}" if name in times else "—",
            ]
        )
    rows.sort(key=lambda row: float(row[4].replace(",", "")))
    columns = ["run", "seeds", "accuracy", "parameters (k)", "MACs an example (M)", "µs an example"]
    if not times.keys() & records.keys():
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    return timing.markdown(rows, columns)


def larger_table(records: Mapping[str, Record], field: str) -> str:
    """Markdown: accuracy on test data of other sizes than in training, static nets beside it.

    Args:
        records: by name of the run, the config itself first, then those of its baselines.
        field: of config.data, see `train.extrapolate`.
    """
    name, *baselines = records
    answer = f"extrapolation_{field}"
    asked = {
        run: [row for r in record["runs"] if answer in r for row in r[answer]["rows"]]
        for run, record in records.items()
    }
    rows = []
    for value in dict.fromkeys(row["value"] for row in asked[name]):
        of = lambda run, value=value: [row for row in asked[run] if row["value"] == value]
        accuracies = [
            *(seeds.mean(of(name), f"{router}_accuracy") for router in COMPARED),
            *(seeds.mean(of(run), "straight_accuracy") for run in baselines),
        ]
        spent = [seeds.mean(of(name), f"agent_{what}", ".1f", 1) for what in ("cost", "steps")]
        rows.append([str(value), *map(_percent, accuracies), *spent])
    columns = [
        field, "no operation", "agent", "all layers",
        *(run.removeprefix(f"{name}_") for run in baselines), "agent's cost", "agent's steps",
    ]  # fmt: skip
    return timing.markdown(rows, columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the results")
    args = parser.parse_args()
    for group in seeds.groups(args.workdirs):
        timing.write_json(args.out / f"{group.name}.json", collect(group))
        for name in _TIMED:
            for path in group.workdirs[0].glob(f"{name}.json"):
                shutil.copyfile(path, args.out / path.name)


if __name__ == "__main__":
    main()
