"""One page about finished runs: tables over seeds, the ledger of the paper's claims, all figures.

    python -m train.report WORKDIR ... [--out=report]

A workdir is named as its config, or NAME-SEED for one of several seeds, as `train.sweep` has it.
"""

import base64
from collections.abc import Callable, Sequence
import dataclasses
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from train import figures, ledger
from train.command import Parser, friendly
from train.errors import UserError
from train.setup import write

# Title, note, and columns: heading, key of summary.json, factor, format.
_TABLES: dict[str, tuple[str, dict[str, tuple[str, float, str]]]] = {
    "Accuracy at equal cost (%)": (
        "Shuffled: the agent's choices dealt to other samples. Gap closed: its share of the "
        "way from random routing to the oracle.",
        {
            "straight pass": ("straight_accuracy", 100, ".1f"),
            "random": ("random_accuracy", 100, ".1f"),
            "shuffled": ("shuffled_accuracy", 100, ".1f"),
            "confidence": ("confidence_accuracy", 100, ".1f"),
            "agent": ("test_accuracy", 100, ".1f"),
            "all layers": ("all_layers_accuracy", 100, ".1f"),
            "oracle": ("oracle_accuracy", 100, ".1f"),
            "gap closed": ("gap_closed", 100, ".0f"),
        },
    ),
    "Cost": (
        "Milliseconds an example, in batches, of the whole pass.",
        {
            "agent": ("mean_cost", 1, ".2f"),
            "random": ("random_cost", 1, ".2f"),
            "confidence": ("confidence_cost", 1, ".2f"),
            "all layers": ("all_layers_cost", 1, ".2f"),
            "ms, straight pass": ("straight_milliseconds", 1, ".3f"),
            "ms, agent": ("milliseconds", 1, ".3f"),
            "ms, all layers": ("all_layers_milliseconds", 1, ".3f"),
            "minutes of training": ("train_seconds", 1 / 60, ".1f"),
        },
    ),
    "Where the thinking goes": (
        "Rescued and overthought: samples that only the agent's route gets right, and only the "
        "straight pass. Spearman: of steps with the task's own difficulty.",
        {
            "steps, straight pass wrong": ("steps_when_straight_wrong", 1, ".2f"),
            "steps, straight pass right": ("steps_when_straight_right", 1, ".2f"),
            "rescued (%)": ("rescued", 100, ".1f"),
            "overthought (%)": ("overthought", 100, ".1f"),
            "Spearman": ("difficulty_spearman", 1, ".2f"),
            "median residual": ("median_residual", 1, ".0e"),
            "converged (%)": ("converged", 100, ".1f"),
        },
    ),
}
# In the order of the page; those that a run does not have are left out.
_FIGURES = ("price_curve", "time_curve", "difficulty", "accuracy", "selection", "reward", "loss")


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of a config that differ in their seeds."""

    name: str
    workdirs: list[Path]
    summaries: list[dict[str, Any]]

    def cell(self, key: str, factor: float, form: str) -> str:
        """Mean ± sample standard deviation over those seeds that have a value."""
        values = [summary.get(key) for summary in self.summaries]
        known = factor * np.array([value for value in values if value is not None])
        if not len(known):
            return "—"
        spread = f" ± {known.std(ddof=1):{form}}" if len(known) > 1 else ""
        return f"{known.mean():{form}}{spread}"

    @property
    def about(self) -> str:
        """Where the runs ran."""
        starts = [start for summary in self.summaries for start in summary["starts"]]
        commits = dict.fromkeys(str(start["commit"]) for start in starts)
        first = starts[0]
        return (
            f"n = {len(self.summaries)}; {self.summaries[0]['test_examples']:,} test examples; "
            f"{first['processor']}, {first['cores']} cores, {first['device']}; jax {first['jax']}; "
            f"commit {' and '.join(commits)}; {first['date']}. Figures are of the first seed."
        )


def groups(workdirs: Sequence[Path]) -> list[Group]:
    """Finished runs by config, in the order given.

    Raises:
        UserError: a workdir has no summary.
    """
    named: dict[str, list[Path]] = {}
    for workdir in workdirs:
        if not (workdir / "summary.json").exists():
            raise UserError(f"{workdir}: expected the workdir of a finished run (summary.json).")
        named.setdefault(workdir.resolve().name.partition("-")[0], []).append(workdir)
    read = lambda workdir: json.loads((workdir / "summary.json").read_text())
    return [Group(name, found, [*map(read, found)]) for name, found in named.items()]


def page(found: Sequence[Group]) -> str:
    """The page as HTML, with all pictures in it."""
    rows: Callable[[dict], list[list[str]]] = lambda columns: [
        [group.name, str(len(group.summaries)), *(group.cell(*c) for c in columns.values())]
        for group in found
    ]
    tables = [
        {"title": title, "columns": ["config", "n", *columns], "rows": rows(columns), "note": note}
        for title, (note, columns) in _TABLES.items()
    ]
    claims = ledger.entries({group.name: group.summaries for group in found})
    tables.append(
        {
            "title": "The paper's claims",
            "columns": ["claim", "paper", "here", "n", "verdict", "why"],
            "rows": [dataclasses.astuple(entry) for entry in claims],
            "kind": "text",
        }
    )
    runs = [
        {"name": group.name, "about": group.about, "figures": _pictures(group.workdirs[0])}
        for group in found
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = Path(__file__).with_name("report.html").read_text()
    return environment.from_string(template).render(tables=tables, runs=runs)


def _pictures(workdir: Path) -> list[dict[str, Any]]:
    files = {path.stem: path for path in figures.draw(workdir)}
    return [
        {
            "name": name.replace("_", " "),
            "wide": name == "difficulty",
            "data": base64.b64encode(files[name].read_bytes()).decode(),
        }
        for name in _FIGURES
        if name in files
    ]


def main() -> None:
    """The command."""
    parser = Parser("python -m train.report", description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="of finished runs")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for report.html")
    options = parser.parse_args()
    text = page(groups(options.workdirs))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write to {options.out}: {error.strerror}.") from error
    write(options.out / "report.html", text)
    print(f"wrote {options.out / 'report.html'}")


if __name__ == "__main__":
    with friendly():
        main()
