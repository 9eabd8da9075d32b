"""One page about finished runs: a verdict and a picture first, then one table a question.

    python -m benchmarks.paper.report WORKDIR ... [--out=report]

A workdir has the name of its config, NAME, or NAME-SEED for one of several seeds, as `train.sweep`
gives it. What is no finished run is left out. The page is OUT/report.html, its pictures lie in
OUT/images; nothing else is written. The page shows the follow-up studies and the times that the
workdirs have.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
import re
from typing import Any

import jinja2
import pandas as pd

from benchmarks.paper import figures, published, sections, verdicts
from benchmarks.paper.results import Records, collect, frame
from train.analysis import seeds
from train.analysis.seeds import spread
from train.cli import Parser, folder, friendly
from train.errors import UserError
from train.metrics import read_metrics
from train.records import as_written, known
from train.workdir import read_record, write_text

Timed = Sequence[Mapping[str, Any]]
# What a picture shows, by its kind.
CAPTIONS = {
    "price_curve": "Accuracy against cost: the agent at several prices, beside other routers.",
    "halting": "Accuracy against cost of halting rules, beside the agent.",
    "price_actions": "What the agent iterates at each price, and its accuracy.",
    "loss": "The loss during training, and on the validation split.",
    "accuracy": "Validation accuracy of the agent, the straight pass and all layers.",
    "reward": "The agent's reward during training, and its terms.",
    "selection": "How often the agent chose each layer during training.",
    "warmup": "Validation accuracy of the agent with and without pre-training, a line a seed.",
    "gallery": "The test examples on which the agent spends least, and most.",
    "difficulty": "Examples from easy to hard: accuracy, steps and the agent's choices.",
    "residuals": "How close to a fixed point the solves end.",
    "corruption": "Accuracy, cost and calibration on corrupted images, by severity.",
    "times": "Accuracy against the measured time of an example, by router.",
    "extrapolate": "Accuracy, steps and choices on other test data than in training.",
}


def answers(records: Records, steps: Timed, passes: Timed) -> dict[str, Any]:
    """The ledger, the answers to our questions, and the paper's tables and figures.

    Args:
        records: of finished runs.
        steps, passes: records of `benchmarks.train_step` and `benchmarks.routed_pass`.
    """
    return {
        "ledger": verdicts.ledger(records, steps),
        "Questions": sections.sections(records, passes),
        "The paper's tables and figures": published.sections(records, steps),
    }


def verdict(records: Records, ledger: pd.DataFrame) -> str:
    """Two sentences: what the agent reaches, and how many claims hold."""
    runs = frame(records)
    agents = runs[(runs.router == "agent") & (runs.variant == "")]
    macs = (1 + agents.get("mean_cost", 0)) / (1 + agents.get("all_layers_cost", 0))
    if agents.empty:
        reached = "None of these runs is of a config with an agent."
    elif len(names := agents.name.unique()) == 1:
        share = lambda key: f"{spread(agents[f'{key}_accuracy'])} %"
        reached = (
            f"On {names[0]} (n = {len(agents)}) the agent is right on {share('test')} of the test "
            f"examples, with {macs.mean():.0%} of the MACs of all layers; the straight pass is "
            f"right on {share('straight')}, all layers on {share('all_layers')}, and a threshold "
            f"on confidence at the agent's cost on {share('confidence')}."
        )
    else:
        near = agents.test_accuracy >= agents.all_layers_accuracy - 0.01
        better = agents.test_accuracy > agents.confidence_accuracy
        reached = (
            f"In {near.sum()} of {len(agents)} runs the agent is at most 1 point less accurate "
            f"than all layers, with {macs.mean():.0%} of their MACs on average, and in "
            f"{better.sum()} it is more accurate than a threshold on confidence at its cost."
        )
    if ledger.empty:
        return f"{reached} The claims of the ledger are about other configs."
    every, none = ledger.held == ledger["count"], ledger.held == 0
    return (
        f"{reached} Of the {len(ledger)} claims that these runs decide, {every.sum()} hold in all "
        f"of them, {len(ledger) - every.sum() - none.sum()} in some, and {none.sum()} in none."
    )


def page(records: Records, answers: Mapping[str, Any], images: Path) -> str:
    """The page as HTML.

    Args:
        records: of finished runs.
        answers: to show, see `answers`.
        images: folder of the pictures; the page shows those that are there.
    """

    def html(table: pd.DataFrame, kind: str = "") -> str:
        known = table.loc[:, (table != "—").any()]
        return known.to_html(index=False, border=0, classes=kind)

    def pictures(kind: str) -> list[dict[str, str]]:
        caption = CAPTIONS[kind.partition("_")[0] if kind not in CAPTIONS else kind]
        there = [name for name in records if (images / f"{name}_{kind}.png").exists()]
        return [{"file": f"{name}_{kind}.png", "caption": f"{name}. {caption}"} for name in there]

    parts = {
        heading: [
            {
                "title": section.title,
                "table": html(section.table),
                "note": section.note,
                "pictures": [
                    shown
                    for kind in section.pictures
                    if kind != "price_curve"  # at the top
                    for shown in pictures(kind)
                ],
            }
            for section in found.values()
        ]
        for heading, found in answers.items()
        if heading != "ledger"
    }
    ledger = answers["ledger"]
    decided = ledger[ledger["count"] > 0]
    columns = ["whose", "claim", "the paper", "verdict"], ["claim", "measured", "note"]
    claims, details = (html(decided[names], "text") for names in columns)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["anchor"] = lambda title: re.sub(r"\W+", "-", title.lower()).strip("-")
    template = environment.from_string(Path(__file__).with_name("report.html").read_text())
    return template.render(
        verdict=verdict(records, decided),
        first=pictures("price_curve"),
        claims=claims,
        details=details,
        decided=len(decided),
        undecided=len(ledger) - len(decided),
        parts={heading: found for heading, found in parts.items() if found},
        runs=[(name, len(found[0]["runs"]), found[0]["ran"]) for name, found in records.items()],
        images=images.name,
    )


def finished(workdirs: Sequence[Path]) -> list[Path]:
    """The workdirs of finished runs that go together. Prints which are left out, and why.

    Raises:
        UserError: there is none.
    """
    found = []
    for workdir in workdirs:
        try:
            seeds.groups([*found, workdir])
            read_metrics(workdir)
            for path in sorted(workdir.glob("*.json")):
                if known(path.stem):
                    read_record(workdir, path.stem)
        except UserError as error:
            print(f"{workdir} is left out. {error}", flush=True)
        else:
            found.append(workdir)
    if not found:
        raise UserError("expected the workdir of a finished run whose files are whole, got none.")
    return found


def main() -> None:
    """The command."""
    parser = Parser("python -m benchmarks.paper.report", description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="of finished runs")
    parser.add_argument("--out", type=folder, default=Path("report"), help="folder for report.html")
    options = parser.parse_args()
    groups = seeds.groups(finished(options.workdirs))
    records = {group.name: [collect(group)] for group in groups}
    steps, passes = (
        [
            record
            for group in groups
            for workdir in group.workdirs
            if (record := read_record(workdir, f"{kind}_{group.name}"))
        ]
        for kind in ("train_step", "routed_pass")
    )
    images = options.out / "images"
    with as_written(", ".join(records)):
        found = answers(records, steps, passes)
        try:
            images.mkdir(parents=True, exist_ok=True)
            figures.of_workdirs(groups, images)
            for name, figure in figures.of_records(records, passes).items():
                figures.save(figure, images / f"{name}.png")
        except OSError as error:
            raise UserError(f"Cannot write to {options.out}: {error.strerror}.") from error
        write_text(options.out / "report.html", page(records, found, images))
    print(f"wrote {options.out / 'report.html'} and its pictures in {images}")


if __name__ == "__main__":
    with friendly():
        main()
