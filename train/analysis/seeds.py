"""Groups of finished runs that differ only in their seeds: means and spreads over the runs."""

from collections.abc import Iterable
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from configs import _variants
from train.errors import UserError
from train.workdir import read_config, read_record


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of a config with different seeds.

    Attributes:
        name: of the config, with its variant.
        workdirs: of the runs.
        summaries: content of their summary.json.
        config: of the first run.
    """

    name: str
    workdirs: tuple[Path, ...]
    summaries: tuple[dict[str, Any], ...]
    config: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The variant, "" for the config itself."""
        return _variants.split(self.name)[1]

    @property
    def ran(self) -> str:
        """Machine, versions and commits of the runs, in words."""
        starts = [start for summary in self.summaries for start in summary["starts"]]
        first, commits = starts[0], dict.fromkeys(str(start["commit"]) for start in starts)
        return (
            f"{first['processor']}, {first['cores']} cores, {first['device']}, Python "
            f"{first['python']}, jax {first['jax']}, flax {first['flax']}, commit "
            f"{' and '.join(commits)}, {first['date']}"
        )


def name(workdir: Path, seed: int) -> str:
    """Config and variant of the run in a workdir, which has this name, or NAME-SEED."""
    return workdir.resolve().name.removesuffix(f"-{seed}")


def groups(workdirs: Iterable[Path]) -> list[Group]:
    """Runs by config, in the order given.

    A workdir is named CONFIG, CONFIG_VARIANT, CONFIG-SEED or CONFIG_VARIANT-SEED.

    Raises:
        UserError: a workdir is not a finished run's, or two runs of a name have the same seed or
            different settings.
    """
    found: dict[str, dict[Path, tuple[dict, dict]]] = {}
    for workdir in workdirs:
        config, summary = read_config(workdir), read_record(workdir, "summary")
        if not config or not summary:
            raise UserError(
                f"{workdir}: expected the workdir of a finished run, with config.json and "
                "summary.json."
            )
        of = name(workdir, config["seed"])
        found.setdefault(of, {})[workdir] = config, summary
    for label, runs in found.items():
        seeds = [summary["seed"] for _, summary in runs.values()]
        settings = [_setting(config) for config, _ in runs.values()]
        if len(set(seeds)) < len(seeds) or any(other != settings[0] for other in settings):
            raise UserError(
                f"{label}: expected runs of one config with different seeds, got seeds "
                f"{', '.join(map(str, seeds))} of {', '.join(map(str, runs))}."
            )
    out = []
    for label, runs in found.items():
        configs, summaries = zip(*runs.values(), strict=True)
        out.append(Group(label, tuple(runs), summaries, configs[0]))
    return out


def _setting(config: dict) -> dict:
    """A config without the fields that may differ: seed, checkpoints, and where the data are."""
    data = {key: value for key, value in config["data"].items() if key != "data_dir"}
    rest = {key: value for key, value in config.items() if key not in ("seed", "checkpoint")}
    return rest | {"data": data}


def spread(
    values: Iterable[float | None], form: str = ".1f", factor: float = 100, deviation: bool = True
) -> str:
    """Mean ± sample standard deviation of the values that are known; "—" if none is.

    If some are None or NaN, the text ends with how many are known, as "(2 of 3)".

    Args:
        values: of the runs.
        form: format of the numbers.
        factor: of the numbers; 100 for per cent.
        deviation: whether the deviation is shown.
    """
    given = np.array(list(values), float)
    known = factor * given[~np.isnan(given)]
    if not len(known):
        return "—"
    deviates = f" ± {known.std(ddof=1):{form}}" if deviation and len(known) > 1 else ""
    some = f" ({len(known)} of {len(given)})" if len(known) < len(given) else ""
    return f"{known.mean():{form}}{deviates}{some}"
