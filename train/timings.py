"""What was timed with finished runs' weights: records that lie in their workdirs.

python -m benchmarks.training --workdir=WORKDIR --out=WORKDIR   # what training steps cost
python -m benchmarks.routers WORKDIR --out=WORKDIR              # how long routed passes take
"""

from collections.abc import Callable, Iterable
import json
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.seeds import Group


def training(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Rows {"config", "arm", "backward_ms", "ratio_to_plain"} of the records of training steps.

    Raises:
        UserError: a file is no such record.
    """
    return [row for group in groups for row in _first(group, "training", _training_rows) or []]


def routers(groups: Iterable[Group]) -> dict[str, dict[str, Any]]:
    """The records of routed passes, by config.

    Raises:
        UserError: a file is no such record.
    """
    found = {group.name: _first(group, "routers", _checked) for group in groups}
    return {name: record for name, record in found.items() if record}


def _first(group: Group, kind: str, read: Callable[[dict[str, Any]], Any]) -> Any:
    """What was read from the first record of that kind that a run has; None if none has."""
    for workdir in group.workdirs:
        path = Path(workdir) / f"{kind}_{group.name}.json"
        if not path.exists():
            continue
        try:
            return read(json.loads(path.read_text()))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{path}: expected a record of benchmarks/{kind}.py, got {error!r}; remove it, or "
                "measure it again."
            ) from error
    return None


def _training_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    times = {row["arm"]: row["backward"]["median_ms"] for row in record["rows"]}
    plain = times["plain CNN"]
    return [
        {
            "config": record["config"],
            "arm": arm,
            "backward_ms": time,
            "ratio_to_plain": time / plain,
        }
        for arm, time in times.items()
    ]


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    keys = ("kind", "price", "median_ms", "macs", "accuracy")
    _ = record["config"], [row[key] for row in record["rows"] for key in keys]
    return record
