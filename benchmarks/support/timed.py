"""What was timed with finished runs' weights: records that lie in their workdirs.

python -m benchmarks.train_step --workdir=WORKDIR --out=WORKDIR   # what training steps cost
python -m benchmarks.routed_pass WORKDIR --out=WORKDIR              # how long routed passes take
"""

from collections.abc import Callable, Iterable
import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from train.analysis.seeds import Group
from train.errors import UserError

# What every arm is held against.
PLAIN = "plain CNN"
_DRAWS = 2_000  # of the bootstrap


@dataclasses.dataclass(frozen=True)
class Arm:
    """How long training steps of an arm take.

    Attributes:
        config: whose weights and batch it was.
        name: of the arm, as `benchmarks.training` has it.
        backward: milliseconds of the backward pass, a sample a round.
        whole: of forward and backward pass.
    """

    config: str
    name: str
    backward: np.ndarray
    whole: np.ndarray


class Ratio(NamedTuple):
    """A ratio of medians and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


def ratio(times: ArrayLike, to: ArrayLike) -> Ratio:
    """How many times as long something takes, by the medians of the rounds that both were in.

    The interval is the bootstrap's, which draws rounds: what slows a round slows both. It tells of
    rounds of this process alone. Where the other's time may be 0, as a difference of noisy times
    may, it has no end; nor is there any of a single round.

    Args:
        times, to: samples, a round each, the first rounds the same.
    """
    samples = np.asarray(times), np.asarray(to)
    rounds = min(map(len, samples))
    pair = samples[0][:rounds], samples[1][:rounds]
    drawn = np.random.default_rng(0).integers(rounds, size=(_DRAWS, rounds))
    # The first line is the samples as they are.
    drawn[0] = np.arange(rounds)
    own, other = (np.median(each[drawn], axis=1) for each in pair)
    ratios = np.divide(own, other, out=np.full(_DRAWS, np.inf), where=other > 0)
    ends = np.quantile(ratios, (0.025, 0.975), method="nearest") if rounds > 1 else (0.0, np.inf)
    return Ratio(float(ratios[0]), *map(float, ends))


def training(groups: Iterable[Group]) -> list[Arm]:
    """The arms of the records of training steps; of each config the plain CNN is among them.

    Raises:
        UserError: a file is no such record.
    """
    return [arm for group in groups for arm in _first(group, "training", arms) or []]


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


def arms(record: dict[str, Any]) -> list[Arm]:
    """The arms of a record of `benchmarks.training`."""
    out = []
    for row in record["rows"]:
        forward, whole = (np.array(row[part]["samples_ms"]) for part in ("forward", "gradient"))
        if not len(whole):
            raise ValueError(f"expected times of {row['arm']!r}")
        out.append(Arm(record["config"], row["arm"], whole - forward, whole))
    if PLAIN not in (arm.name for arm in out):
        raise ValueError(f"expected an arm {PLAIN!r}")
    return out


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    keys = "kind", "price", "median_ms", "p10_ms", "p90_ms", "macs", "accuracy"
    _ = record["config"], [row[key] for row in record["rows"] for key in keys]
    return record
