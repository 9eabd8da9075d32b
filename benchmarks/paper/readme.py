"""Writes what the committed results say into README.md, docs/results.md and the configs.

    python -m benchmarks.paper.readme

Replaces the text between the markers <!-- NAME: ... --> and <!-- end -->, the paragraph
"Measured …" in docstrings of configs, pictures in docs/images that show records, and
docs/report.html.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
import re
import textwrap
from typing import Any

from benchmarks import backward, convolution, fixed_point, harness, routed_pass, train_step
from benchmarks.paper import figures, report, results, tables
from benchmarks.paper.results import IMAGES, Record, Records
from benchmarks.support.timing import markdown, provenance_line
from train.analysis.seeds import spread

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")


def timed(kind: str) -> list[Record]:
    """The records of `benchmarks.KIND`, one a config."""
    return [record for name in results.CONFIGS if (record := results.read(f"{kind}_{name}"))]


def render(records: Records, answers: Mapping[str, Any]) -> dict[str, str]:
    """The text of each generated part of the pages, by the name of its marker.

    Args:
        records: of finished runs.
        answers: of `report.answers`.
    """
    names = ("fixed_point", "backward", "convolution", "harness_digits")
    solved, gradients, convolved, bare = map(results.read, names)
    passes = timed("routed_pass")
    shown = [row for row in gradients["rows"] if row["steps"] in (10, 50, 200)]
    ledger = answers["ledger"].assign(verdict=lambda t: t.verdict.str.removeprefix("holds in "))
    ledger = ledger.rename(columns={"the paper": "the paper says", "verdict": "holds in"})
    found = {
        name: part for key in answers if key != "ledger" for name, part in answers[key].items()
    }
    noted = lambda record, text: f"{text}\n\n{provenance_line(record)}"
    return {
        "results": markdown(tables.summary_table(records)),
        "peers": noted(solved, fixed_point.summary(solved["results"])),
        "ledger": markdown(ledger[["claim", "the paper says", "holds in"]]),
        **{
            name: f"**{part.title}**\n\n{markdown(part.table)}\n\n{part.note}"
            for name, part in found.items()
        },
        **{
            f"train_step_{record['config']}": noted(record, train_step.table(record))
            for record in timed("train_step")
        },
        **{
            f"routed_pass_{record['config']}": noted(record, routed_pass.table(record))
            for record in passes
        },
        "saved": routed_pass.saved(passes),
        "harness": noted(bare, harness.sentence(bare)),
        "fixed_point": noted(solved, fixed_point.table(solved["results"])),
        "backward": noted(gradients, backward.table(shown)),
        "convolution": noted(convolved, convolution.table(convolved["rows"])),
        "ran": "\n".join(f"- `{name}`: {best['ran']}" for name, (best, *_) in records.items()),
    }


def insert(text: str, parts: Mapping[str, str]) -> str:
    """Replaces what stands between the markers of each part that the text has.

    Raises:
        ValueError: there is no part of a marker's name.
    """

    def put(found: re.Match) -> str:
        if found["name"] not in parts:
            names = ", ".join(parts)
            raise ValueError(f"marker {found['name']!r}: expected one of {names}.")
        return f"{found['marker']}\n{parts[found['name']]}\n<!-- end -->"

    pattern = r"(?P<marker><!-- (?P<name>\w+): [^\n]*-->)\n.*?<!-- end -->"
    return re.sub(pattern, put, text, flags=re.DOTALL)


def measured(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """What a config reached: the paragraph of its docstring that begins with "Measured".

    Args:
        name: of the config.
        runs: their summaries.
    """
    of = lambda key, *form: spread([run.get(key) for run in runs], *form)
    plain = lambda *key: of(*key, False)
    accuracy = lambda key: f"{of(f'{key}_accuracy')} %"
    seeds = ", ".join(str(run["seed"]) for run in runs)
    minutes = plain("train_seconds", ".0f", 1 / 60)
    text = (
        f"Measured on {plain('test_examples', ',.0f', 1)} test examples with seed"
        f"{'s' * (len(runs) > 1)} {seeds}, trained in {minutes} minute{'s' * (minutes != '1')} on "
        f"half of 2 CPU cores, beside other work: agent {accuracy('test')} at a cost of "
        f"{plain('mean_cost', '.2f', 1)} straight passes, at which random routing has "
        f"{accuracy('random')} and a threshold on confidence {accuracy('confidence')}; straight "
        f"pass {accuracy('straight')}, all layers {accuracy('all_layers')} at a cost of "
        f"{plain('all_layers_cost', '.2f', 1)}. More in benchmarks/results/{name}.json."
    )
    # What belongs together stays on one line: a no-break space is no place to wrap at.
    joined = re.sub(r" (?=[±%])|(?<=±) ", "\N{NO-BREAK SPACE}", text)
    filled = textwrap.fill(joined, 100, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def with_measured(source: str, paragraph: str) -> str:
    """A config's source with this paragraph in place of the one that begins with "Measured".

    Raises:
        ValueError: the source does not have exactly one.
    """
    parts = re.compile(r"^Measured\b.*?(?=\n\n|\n\"\"\")", re.MULTILINE | re.DOTALL)
    source, found = parts.subn(lambda _: paragraph, source)
    if found != 1:
        raise ValueError(f"docstring: expected one paragraph 'Measured …', found {found}.")
    return source


def texts() -> dict[Path, str]:
    """The content of every file that is written here, pictures apart."""
    records = results.committed()
    answers = report.answers(records, timed("train_step"), timed("routed_pass"))
    parts = render(records, answers)
    written = {page: insert(page.read_text(), parts) for page in PAGES}
    for name in results.CONFIGS:
        if name in records:
            path = ROOT / "configs" / f"{name}.py"
            runs = [run["summary"] for run in records[name][0]["runs"]]
            written[path] = with_measured(path.read_text(), measured(name, runs))
    written[ROOT / "docs" / "report.html"] = report.page(records, answers, IMAGES)
    return written


def main() -> None:
    """The command."""
    for name, figure in figures.of_records(results.committed(), timed("routed_pass")).items():
        if (path := IMAGES / f"{name}.png").exists():
            figures.save(figure, path)
    for path, text in texts().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
