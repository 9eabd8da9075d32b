"""The committed results: of a config that several scales have run, the record with most seeds.

Of as many seeds it is the newest. Where a table of the page says nothing of that config in that
scale, as the question was not asked there, it is the next one.
"""

import json
from typing import Any

from benchmarks import measure
from configs import baselines
from train.sections import Row

SCALES = ("small", "medium", "full")


def read(name: str) -> Any:
    """Content of results/NAME.json, None where there is none."""
    path = measure.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def newest(name: str) -> dict | None:
    """What was timed last under a name, of all scales."""
    found = filter(None, (read(f"{scale}/{name}") for scale in SCALES))
    return max(found, key=lambda record: record["environment"]["date"], default=None)


def scales(config: str) -> list[str]:
    """The scales that have run a config or a variant, the best record's first."""
    known = {scale: record for scale in SCALES if (record := read(f"{scale}/{config}"))}
    worth = lambda scale: (len(known[scale]["runs"]), known[scale]["ran"].rpartition(", ")[2])
    return sorted(known, key=worth, reverse=True)


def record(config: str) -> dict | None:
    """The best record of a config or a variant, None where no scale has one."""
    return next((read(f"{scale}/{config}") for scale in scales(config)), None)


def family(config: str) -> dict[str, dict]:
    """The best records of a config, which comes first, and of its variants."""
    paths = [path for scale in SCALES for path in (measure.RESULTS / scale).glob(f"{config}*.json")]
    names = sorted({path.stem for path in paths})
    return {name: record(name) for name in names if baselines.split(name)[0] == config}


def table(title: str) -> str:
    """A table of the pages in Markdown, each config's rows from its best scale that has any."""
    found = {
        scale: part
        for scale in SCALES
        for part in read(f"{scale}/tables") or ()
        if part["title"] == title
    }
    if not found:
        return "Not run."
    columns = list(dict.fromkeys(column for part in found.values() for column in part["columns"]))
    rows: dict[str, dict[str, list[Row]]] = {}
    for scale, part in found.items():
        for cells in part["rows"]:
            by_column = dict(zip(part["columns"], cells, strict=True))
            row = [by_column.get(column, "—") for column in columns]
            rows.setdefault(cells[0], {}).setdefault(scale, []).append(row)
    best = [
        row
        for config, by_scale in rows.items()
        for row in next(by_scale[scale] for scale in scales(config) if scale in by_scale)
    ]
    newest_note = next(iter(found.values()))["note"]
    return f"{measure.markdown(best, columns)}\n\n{newest_note}"
