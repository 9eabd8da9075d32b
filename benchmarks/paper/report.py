"""One page about finished runs: tables over seeds, the paper's tables, figures and claims.

    python -m benchmarks.paper.report WORKDIR ... [--out=report]

A workdir is named as its config, or NAME-SEED for one of several seeds, as `train.sweep` has it.
The page stands by itself; its figures also lie beside it, in OUT/figures, what its tables say in
OUT/tables.json, and the ledger of claims in OUT/ledger.json. What was asked of the runs since, and
timed with their weights, is in it where the workdirs have it.
"""

import base64
from collections.abc import Sequence
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.paper import figures, sections, study_sections, verdicts
from benchmarks.paper import tables as reproduction
from benchmarks.paper.verdicts import Entry
from benchmarks.support import timed as timings
from train.analysis import seeds
from train.analysis.seeds import Group
from train.cli import Parser, friendly
from train.errors import UserError
from train.plots import run
from train.workdir import write_text

# Title, note, and columns: heading, key of summary.json, format, factor.
_TABLES: dict[str, tuple[str, dict[str, tuple[str, str, float]]]] = {
    "Accuracy (%)": (
        "Random and confidence: at the agent's cost. Two thresholds: on confidence, each with a "
        "route of its own. Two looks: the least sure iterate a layer, those still unsure another; "
        "of configs with two rounds. Shuffled: the agent's choices dealt to other samples. Oracle: "
        "the best choice for each sample, by its label, of those that the agent has, at its cost. "
        "Surest: each sample on the route that would be surest of its answer, at that cost. "
        "Gap closed: the agent's share of the way from random to the oracle.",
        {
            "no operation": ("straight_accuracy", ".1f", 100),
            "random": ("random_accuracy", ".1f", 100),
            "shuffled": ("shuffled_accuracy", ".1f", 100),
            "confidence": ("confidence_accuracy", ".1f", 100),
            "two thresholds": ("graded_accuracy", ".1f", 100),
            "two looks": ("cascade_accuracy", ".1f", 100),
            "agent": ("test_accuracy", ".1f", 100),
            "all layers": ("all_layers_accuracy", ".1f", 100),
            "surest": ("surest_accuracy", ".1f", 100),
            "oracle": ("oracle_accuracy", ".1f", 100),
            "gap closed": ("gap_closed", "z.0f", 100),
        },
    ),
    "Cost": (
        "Beyond the straight pass, in multiples of its multiply-accumulates. Times are in the "
        "figures of accuracy against time, where they were measured.",
        {
            "agent": ("mean_cost", ".2f", 1),
            "shuffled": ("shuffled_cost", ".2f", 1),
            "all layers": ("all_layers_cost", ".2f", 1),
            "minutes of training": ("train_seconds", ".1f", 1 / 60),
        },
    ),
    "Where the thinking goes": (
        "Rescued and overthought: samples that only the agent's route gets right, and only the "
        "straight pass. Spearman: of steps with the task's own difficulty.",
        {
            "steps, straight wrong": ("steps_when_straight_wrong", ".2f", 1),
            "steps, straight right": ("steps_when_straight_right", ".2f", 1),
            "rescued (%)": ("rescued", ".1f", 100),
            "overthought (%)": ("overthought", ".1f", 100),
            "Spearman": ("difficulty_spearman", ".2f", 1),
            "median residual": ("median_residual", ".0e", 1),
            "converged (%)": ("converged", ".1f", 100),
        },
    ),
}
_STATIC: dict[str, tuple[str, str, float]] = {
    "accuracy (%)": ("test_accuracy", ".1f", 100),
    "parameters (k)": ("parameters", ",.0f", 1e-3),
    "MACs an example (M)": ("mean_macs", ".2f", 1e-6),
    "minutes of training": ("train_seconds", ".1f", 1 / 60),
}
# Pixels; a figure of one pair of axes has 900.
_WIDE = 1000


def tables(found: Sequence[Group]) -> list[dict[str, Any]]:
    """The tables over seeds, each with `title`, `columns`, `rows` of text, and a `note`."""
    agents = [group for group in found if group.has_agent]
    out = [_table(title, columns, agents, note) for title, (note, columns) in _TABLES.items()]
    thinking = out[-1]
    thinking["columns"].append("no operation / layer 1 / … (%)")
    for row, group in zip(thinking["rows"], agents, strict=True):
        row.append(seeds.shares(group.summaries))
    parts = [
        study_sections.halting(found),
        study_sections.calibrated(found),
        study_sections.extrapolated(found),
    ]
    parts += [
        study_sections.corrupted(found),
        study_sections.noise(found),
        study_sections.judged(found),
    ]
    parts += [study_sections.solved(found)]
    parts += [sections.calibration(found), sections.certificate(found)]
    note = "Baselines are trained on one route, and have no agent."
    static = _table("Against baselines", _STATIC, found, note)
    return [*out, *(dataclasses.asdict(part) for part in parts if part.rows), static]


def page(
    found: Sequence[Group],
    training: Sequence[timings.Arm],
    claimed: Sequence[Entry],
    drawn: dict[str, Path],
    shown: Sequence[dict[str, Any]],
) -> str:
    """The page as HTML, with all pictures in it.

    Args:
        found: runs by config.
        training: what training steps cost, as of `timings.training`.
        claimed: the ledger of both.
        drawn: figures by name, as `draw` gives them.
        shown: the tables, as of `tables`.
    """
    of_paper = [dataclasses.asdict(part) for part in reproduction.sections(found, training, drawn)]
    claims = {
        "title": "The paper's claims",
        "columns": ["claim", "paper", "here", "n", "verdict", "why"],
        "rows": [dataclasses.astuple(entry) for entry in claimed],
        "kind": "text",
    }
    placed = [name for part in of_paper for name in part["figures"]]
    runs = [
        {
            "name": group.name,
            "about": f"n = {len(group.summaries)}; {group.summaries[0]['test_examples']:,} test "
            f"examples; {group.ran}. Figures are of the first seed.",
            "figures": [name for name in _names(group, drawn) if name not in placed],
        }
        for group in found
        if not group.variant
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("report.html").read_text())
    pictures = {name: _picture(path) for name, path in drawn.items()}
    return template.render(
        tables=shown, of_paper=of_paper, claims=claims, runs=runs, pictures=pictures
    )


def draw(found: Sequence[Group], folder: Path) -> dict[str, Path]:
    """Draws the figures of each config's first seed, and those that compare it with variants.

    Args:
        found: runs by config.
        folder: for the PNGs.

    Returns:
        Paths by name, CONFIG_FIGURE.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for group in (group for group in found if not group.variant):
        for path in run.draw(group.workdirs[0]):
            name = f"{group.name}_{path.stem}"
            drawn[name] = _reduced(path, folder / f"{name}.png")
    runs, timed = sections.Found(found), timings.routers(found)
    several: dict[str, Figure | None] = dict(study_sections.extrapolation_figures(found))
    for task in runs.tasks:
        own = runs.get(task)
        several |= {
            f"{task}_static": figures.static(own, runs.static(task)) if own else None,
            f"{task}_warmup": figures.warmup(task, runs.schedules(task)),
            f"{task}_models": figures.models(task, *runs.models(task)),
            f"{task}_times": figures.times(task, timed[task]) if task in timed else None,
        }
    for name, figure in several.items():
        if figure:
            path = folder / f"{name}.png"
            figure.savefig(path)
            drawn[name] = _reduced(path, path)
    return drawn


def _reduced(picture: Path, path: Path) -> Path:
    """Writes a picture with 256 colours, which takes a third of the room."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)
    return path


def _names(group: Group, drawn: dict[str, Path]) -> list[str]:
    """The figures of a config."""
    of_run = (group.workdirs[0] / "figures").glob("*.png")
    own = {"static", "times", *(path.stem for path in of_run)}
    return [name for name in drawn if name.removeprefix(f"{group.name}_") in own]


def _picture(path: Path) -> dict[str, Any]:
    content = io.BytesIO()
    with Image.open(path) as image:
        wide = image.width > _WIDE
        # Without loss, in three quarters of a PNG's room.
        image.convert("RGB").save(content, "WEBP", lossless=True)
    return {"wide": wide, "data": base64.b64encode(content.getvalue()).decode()}


def _table(
    title: str, columns: dict[str, tuple[str, str, float]], rows: Sequence[Group], note: str
) -> dict[str, Any]:
    cells = lambda group: [seeds.mean(group.summaries, *column) for column in columns.values()]
    return {
        "title": title,
        "columns": ["config", "n", *columns],
        "rows": [[group.name, str(len(group.summaries)), *cells(group)] for group in rows],
        "note": note,
    }


def main() -> None:
    """The command."""
    parser = Parser("python -m benchmarks.paper.report", description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="of finished runs")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for report.html")
    options = parser.parse_args()
    found = seeds.groups(options.workdirs)
    try:
        drawn = draw(found, options.out / "figures")
    except OSError as error:
        raise UserError(f"Cannot write to {options.out}: {error.strerror}.") from error
    training = timings.training(found)
    claimed = verdicts.entries(found, training)
    rows = [dataclasses.asdict(entry) for entry in claimed]
    write_text(options.out / "ledger.json", json.dumps(rows, indent=1, ensure_ascii=False))
    shown = tables(found)
    write_text(options.out / "tables.json", json.dumps(shown, indent=1, ensure_ascii=False))
    write_text(options.out / "report.html", page(found, training, claimed, drawn, shown))
    names = f"{options.out / 'report.html'}, tables.json, ledger.json"
    print(f"wrote {names} and {len(drawn)} figures beside it")


if __name__ == "__main__":
    with friendly():
        main()
