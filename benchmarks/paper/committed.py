"""The committed results: of a config that several scales have run, the record with most seeds.

Of as many seeds it is the one begun last, on the same day that of the larger scale. Where a scale's
table says nothing of a config, as the question was not asked there, it is the next one's.
"""

from collections.abc import Sequence
import json
from typing import Any

from benchmarks.paper.results import SHOWN
from benchmarks.support import timing
from configs import _variants

# The larger ones first: among equals the first is taken.
SCALES = ("full", "medium", "small")


def read(name: str) -> Any:
    """Content of results/NAME.json, None where there is none."""
    path = timing.RESULTS / f"{name}.json"
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
    paths = [path for scale in SCALES for path in (timing.RESULTS / scale).glob(f"{config}*.json")]
    names = sorted({path.stem for path in paths})
    return {name: record(name) for name in names if _variants.split(name)[0] == config}


def table(title: str) -> str:
    """A table of the pages in Markdown, each config's rows from its best scale that has any.

    Where tables differ, columns and note are those of the one with most columns.
    """
    parts = {
        scale: part
        for scale in SCALES
        for part in read(f"{scale}/tables") or ()
        if part["title"] == title
    }
    fullest = max(parts.values(), key=lambda part: len(part["columns"]), default=None)
    names = dict.fromkeys(row[0] for part in parts.values() for row in part["rows"])
    known = {name: found for name in names if (found := scales(name))}
    if not fullest or not known:
        return "Not run."
    rows = []
    for name in sorted(known, key=_place):
        told = (_rows(parts[scale], name) for scale in known[name] if scale in parts)
        best = next(filter(None, told))
        rows += [[row.get(column, "—") for column in fullest["columns"]] for row in best]
    return f"{timing.markdown(rows, fullest['columns'])}\n\n{fullest['note']}"


def _rows(part: dict, name: str) -> Sequence[dict[str, str]]:
    """A config's rows of a table, each by column."""
    return [dict(zip(part["columns"], row, strict=True)) for row in part["rows"] if row[0] == name]


def _place(name: str) -> int:
    """Where a config or variant comes among those that are shown."""
    return SHOWN.index(_variants.split(name)[0])
