"""One page about finished runs: the verdicts first, then one table a question, with pictures.

    python -m benchmarks.paper.report WORKDIR ... [--out=report]

A workdir has the name of its config, NAME, or NAME-SEED for one of several seeds, as `train.sweep`
gives it. The page is OUT/report.html, its pictures lie in OUT/images. The page shows the follow-up
studies and the times that the workdirs have.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.paper import figures, published, sections, verdicts
from benchmarks.paper.results import Records, collect
from train.analysis import seeds
from train.cli import Parser, friendly
from train.errors import UserError
from train.workdir import read_record, write_text

Timed = Sequence[Mapping[str, Any]]


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


def page(records: Records, answers: Mapping[str, Any], images: Path) -> str:
    """The page as HTML.

    Args:
        records: of finished runs.
        answers: to show, see `answers`.
        images: folder of the pictures; the page shows those that are there.
    """
    html = lambda table, kind="": table.to_html(index=False, border=0, classes=kind)
    there = lambda kind: [n for r in records if (images / f"{(n := f'{r}_{kind}')}.png").exists()]
    parts = {
        heading: [
            {
                "title": section.title,
                "table": html(section.table),
                "note": section.note,
                "pictures": [name for kind in section.pictures for name in there(kind)],
            }
            for section in found.values()
        ]
        for heading, found in answers.items()
        if heading != "ledger"
    }
    ran = [(name, len(found[0]["runs"]), found[0]["ran"]) for name, found in records.items()]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("report.html").read_text())
    columns = ["whose", "claim", "the paper", "verdict"], ["claim", "measured", "note"]
    verdict, details = (html(answers["ledger"][names], "text") for names in columns)
    return template.render(
        verdict=verdict, details=details, parts=parts, runs=ran, images=images.name
    )


def main() -> None:
    """The command."""
    parser = Parser("python -m benchmarks.paper.report", description=__doc__.split("\n")[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="of finished runs")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for report.html")
    options = parser.parse_args()
    groups = seeds.groups(options.workdirs)
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
    try:
        images.mkdir(parents=True, exist_ok=True)
        figures.of_workdirs(groups, images)
        for name, figure in figures.of_records(records, passes).items():
            figures.save(figure, images / f"{name}.png")
    except OSError as error:
        raise UserError(f"Cannot write to {options.out}: {error.strerror}.") from error
    write_text(options.out / "report.html", page(records, answers(records, steps, passes), images))
    print(f"wrote {options.out / 'report.html'} and its pictures in {images}")


if __name__ == "__main__":
    with friendly():
        main()
