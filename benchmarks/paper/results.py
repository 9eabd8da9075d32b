"""Collects the measurements of finished runs into benchmarks/results, one file a config.

    python -m train.sweep --configs=digits,mazes --seeds=0,1,2 --out=workdir/sweep
    python -m benchmarks.paper.results workdir/sweep/*/

A workdir has the name of its config or variant, NAME or NAME-SEED. The file CONFIG.json holds the
records of a config and its variants. If a name was run before, the record with more seeds is shown,
of two with equally many seeds the newer one. A picture that docs/images shows is replaced by the
new run's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
import shutil
from typing import Any

import pandas as pd

from benchmarks.support import timing
from configs import _variants
from train.analysis import seeds
from train.cli import Parser, friendly
from train.workdir import read_record

Record = dict[str, Any]
# By name of a config or variant: its records, the one that tables show first.
Records = dict[str, list[Record]]
CONFIGS = (
    "digits", "connectivity", "scales", "mazes", "parity", "parity_extrapolation",
    "imdb", "wikitext2", "cifar10_small", "cifar10", "cifar100",
)  # fmt: skip
IMAGES = Path(__file__).parents[2] / "docs" / "images"
# What a run's record holds, beside its summary. Records of examples are too large.
_STUDIES = (
    "curve", "residuals", "early_exit", "fixed_points", "corruption", "difficulty_judge",
    "calibrate_*", "extrapolate_*",
)  # fmt: skip
# What was timed with a run's weights has a file of its own.
_TIMED = "train_step", "routed_pass"


def collect(group: seeds.Group) -> Record:
    """The record of runs that differ in their seeds: config, where they ran, and measurements."""
    runs = []
    for workdir, summary in zip(group.workdirs, group.summaries, strict=True):
        paths = [path for name in _STUDIES for path in workdir.glob(f"{name}.json")]
        studies = {path.stem: read_record(workdir, path.stem) for path in paths}
        difficulty = read_record(workdir, "difficulty")
        bins = {"difficulty": difficulty["bins"]} if difficulty else {}
        runs.append({"summary": summary, **studies, **bins})
    # A path of this machine tells readers nothing.
    data = {key: value for key, value in group.config["data"].items() if key != "data_dir"}
    return {"config": group.config | {"data": data}, "ran": group.ran, "runs": runs}


def ranked(records: Iterable[Record]) -> list[Record]:
    """The best record first. Of the others, those with a study that no better record has."""
    date = lambda record: record["ran"].rpartition(", ")[2]
    best_first = sorted(records, key=lambda r: (len(r["runs"]), date(r)), reverse=True)
    kept, known = [], set[str]()
    for record in best_first:
        studies = {study for run in record["runs"] for study in run}
        if studies - known:
            kept.append(record)
            known |= studies
    return kept


def read(name: str) -> Any:
    """Content of benchmarks/results/NAME.json, None if there is no such file."""
    return read_record(timing.RESULTS, name)


def committed() -> Records:
    """All committed records, in the order of `CONFIGS`."""
    return {name: found for config in CONFIGS for name, found in (read(config) or {}).items()}


def frame(records: Mapping[str, Sequence[Record]], study: str = "") -> pd.DataFrame:
    """A row for each run: `name`, `config`, `variant`, `cell`, the summary and the studies.

    `finer_rule_accuracy` is that of the better finer rule: two thresholds, or two rounds of one.

    Args:
        records: by name.
        study: if given, rows of the best record that has this study, and only runs that have it.
    """
    rows = []
    for name, found in records.items():
        config, variant = _variants.split(name)
        having = [
            record for record in found if not study or any(study in r for r in record["runs"])
        ]
        for record in having[:1]:
            cell = record["config"]["model"]["cell"]
            about = {"name": name, "config": config, "variant": variant, "cell": cell}
            rows += [
                {**about, **run["summary"], **run}
                for run in record["runs"]
                if not study or study in run
            ]
    # Without runs the columns that tables filter by are still there.
    columns = None if rows else ["name", "config", "variant", "cell", "router"]
    table = pd.DataFrame(rows or None, columns=columns)
    finer = table.reindex(columns=["two_thresholds_accuracy", "two_rounds_accuracy"])
    return table.assign(finer_rule_accuracy=finer.astype(float).max(axis=1))


def static_nets(runs: pd.DataFrame, config: str) -> list[str]:
    """The static nets whose MACs equal the agent's to 20 %, the most accurate on test data first.

    Args:
        runs: rows of `frame`.
        config: that the nets are variants of.
    """
    own = runs[runs.name == config].mean_macs.mean()
    nets = runs[(runs.config == config) & (runs.variant != "") & (runs.router == "none")]
    means = nets.groupby("name")[["mean_macs", "test_accuracy"]].mean()
    equal = means[(means.mean_macs / own - 1).abs() <= 0.2]
    return list(equal.sort_values("test_accuracy", ascending=False).index)


def _refresh_pictures(workdir: Path, config: str) -> None:
    for path in (workdir / "figures").glob("*.png"):
        if (picture := IMAGES / f"{config}_{path.stem}.png").exists():
            shutil.copyfile(path, picture)


def main() -> None:
    """The command."""
    parser = Parser("python -m benchmarks.paper.results", description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="of finished runs")
    for group in seeds.groups(parser.parse_args().workdirs):
        config, variant = _variants.split(group.name)
        records = read(config) or {}
        records[group.name] = ranked([collect(group), *records.get(group.name, ())])
        timing.write_json(timing.RESULTS / f"{config}.json", records)
        for name in (f"{kind}_{config}" for kind in _TIMED) if not variant else ():
            for workdir in group.workdirs:
                if timed := read_record(workdir, name):
                    timing.write_json(timing.RESULTS / f"{name}.json", timed)
        if not variant:
            _refresh_pictures(group.workdirs[0], config)


if __name__ == "__main__":
    with friendly():
        main()
