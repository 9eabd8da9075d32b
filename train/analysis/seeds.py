"""Finished runs of a config that differ in nothing but their seeds, and what is said of all."""

from collections.abc import Iterable, Sequence
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from configs import _variants
from train.errors import UserError
from train.workdir import read_config, read_record


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of a config, by seed.

    Attributes:
        name: of the config.
        workdirs: of the runs.
        summaries: content of their summary.json.
        config: what they share.
    """

    name: str
    workdirs: tuple[Path, ...]
    summaries: tuple[dict[str, Any], ...]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def task(self) -> str:
        """The config without its baseline or variant."""
        return _variants.split(self.name)[0]

    @property
    def variant(self) -> str:
        """The baseline or variant, "" for the config as it is."""
        return _variants.split(self.name)[1]

    @property
    def has_agent(self) -> bool:
        """False for a baseline."""
        return self.summaries[0]["router"] == "agent"

    @property
    def ran(self) -> str:
        """Where the runs ran."""
        starts = [start for summary in self.summaries for start in summary["starts"]]
        first, commits = starts[0], dict.fromkeys(str(start["commit"]) for start in starts)
        return (
            f"{first['processor']}, {first['cores']} cores, {first['device']}, Python "
            f"{first['python']}, jax {first['jax']}, flax {first['flax']}, commit "
            f"{' and '.join(commits)}, {first['date']}"
        )


def groups(workdirs: Iterable[Path]) -> list[Group]:
    """Runs by config, in the order given. A workdir is named NAME or NAME-SEED.

    NAME is of a config, or CONFIG_BASELINE, as `main.label` has it.

    Raises:
        UserError: a workdir is not a finished run's, or runs of a name differ in more than their
            seeds, or not in these.
    """
    found: dict[str, dict[Path, tuple[dict, dict]]] = {}
    for workdir in workdirs:
        config, summary = read_config(workdir), read_record(workdir, "summary")
        if config is None or summary is None:
            raise UserError(
                f"{workdir}: expected the workdir of a finished run, with config.json and "
                "summary.json."
            )
        found.setdefault(workdir.resolve().name.partition("-")[0], {})[workdir] = config, summary
    for name, runs in found.items():
        seeds = [summary["seed"] for _, summary in runs.values()]
        settings = [_setting(config) for config, _ in runs.values()]
        if len(set(seeds)) < len(seeds) or any(other != settings[0] for other in settings):
            raise UserError(
                f"{name}: expected runs of one config with different seeds, got seeds "
                f"{', '.join(map(str, seeds))} of {', '.join(map(str, runs))}."
            )
    out = []
    for name, runs in found.items():
        configs, summaries = zip(*runs.values(), strict=True)
        out.append(Group(name, tuple(runs), summaries, configs[0]))
    return out


def _setting(config: dict) -> dict:
    """A config without what may differ: seed, and where data and checkpoints are."""
    data = {key: value for key, value in config["data"].items() if key != "data_dir"}
    rest = {key: value for key, value in config.items() if key not in ("seed", "checkpoint")}
    return rest | {"data": data}


def mean(
    summaries: Sequence[dict[str, Any]],
    key: str,
    form: str = ".1f",
    factor: float = 100,
    spread: bool = True,
) -> str:
    """Mean ± sample standard deviation over the summaries that have a value, "—" if none has.

    Where some have none, it says of how many the mean is. The deviation can be left out.
    """
    values = [summary.get(key) for summary in summaries]
    known = factor * np.array([value for value in values if value is not None])
    if not len(known):
        return "—"
    deviation = f" ± {known.std(ddof=1):{form}}" if spread and len(known) > 1 else ""
    some = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return f"{known.mean():{form}}{deviation}{some}"


def shares(summaries: Sequence[dict[str, Any]]) -> str:
    """Shares of the samples that iterate nothing, layer 1, layer 2, …, in per cent."""
    return " / ".join(
        f"{100 * share:.0f}" for share in np.mean([s["actions"] for s in summaries], 0)
    )


def as_many_macs(own: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> bool:
    """Whether the runs of two configs take as many MACs an example, to 20 %."""
    macs = lambda summaries: np.mean([summary["mean_macs"] for summary in summaries])
    return bool(abs(macs(other) / macs(own) - 1) <= 0.2)
