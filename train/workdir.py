"""From a config to the parts of a run: checks, construction, and the files that describe it."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
from pathlib import Path
import platform
import subprocess
from typing import Any

import jax
import ml_collections
import numpy as np

from configs import _base
import dynalay_jax
from train.data.types import Dataset
from train.errors import UserError


def versions() -> dict[str, Any]:
    """Packages that matter, and where the run runs."""
    names = ("jax", "jaxlib", "flax", "optax", "chex", "orbax-checkpoint", "numpy")
    return {
        **provenance(),
        "devices": jax.local_device_count(),
        "dynalay_jax": dynalay_jax.__version__,
        **{name: importlib.metadata.version(name) for name in names},
    }


def claim(
    config: ml_collections.FrozenConfigDict, dataset: Dataset, workdir: Path
) -> list[dict[str, Any]]:
    """Writes config.json, versions.json and data.json, or refuses a workdir of another config.

    Returns:
        Content of versions.json: `versions()` of each start of the run, without repetition.

    Raises:
        UserError: the workdir cannot be written, or belongs to a run with another config.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot use workdir {workdir}: {error.strerror}.") from error
    compare(config, workdir)
    wanted = json.loads(config.to_json_best_effort())
    if former(workdir) not in (None, wanted):
        # What was measured with other prices, or another router, is not this config's.
        for name in RECORDS:
            for path in workdir.glob(f"{name}.json"):
                path.unlink()
    statistics = {"mean": dataset.mean.tolist(), "std": dataset.std.tolist()}
    starts, now = _read(workdir / "versions.json") or [], versions()
    starts += [now] if now not in starts else []
    for name, record in {
        "config": wanted,
        "versions": starts,
        "data": statistics,
    }.items():
        write(workdir / f"{name}.json", json.dumps(record, indent=1, sort_keys=True))
    return starts


# What is evaluated at the end of a run, or of it later.
RECORDS = (
    "summary", "curve", "difficulty", "gallery", "residuals", "robustness", "halting", "agreement",
    "solves", "calibrated_*", "extrapolation_*", "routers_*", "training_*",
)  # fmt: skip
# What may change between two starts of the same run: it does not touch the training.
FREE = ("router", "price", "prices", "eval_batch", "checkpoint", "data.data_dir")


def compare(
    config: ml_collections.FrozenConfigDict, workdir: Path, free: tuple[str, ...] = FREE
) -> None:
    """Refuses a workdir of a run with another config.

    Args:
        config: wanted.
        workdir: of the run; without config.json it is nobody's yet.
        free: fields that may differ.

    Raises:
        UserError: config.json is of another config, or cannot be read.
    """
    old = former(workdir)
    if old is None:
        return
    wanted = json.loads(config.to_json_best_effort())
    differences = _differences(old, wanted, free)
    if differences:
        raise UserError(
            f"{workdir} holds a run with another {', '.join(differences)}; give this run another "
            "--workdir, or repeat that run's options."
        )


def saved_config(workdir: Path) -> ml_collections.ConfigDict:
    """The config that the run in workdir was trained with.

    Raises:
        UserError: workdir is not a run's.
    """
    if not all((workdir / f"{name}.json").exists() for name in ("config", "data")):
        raise UserError(
            f"{workdir}: expected the workdir of a run, but config.json or data.json is missing. "
            "Train first, with python -m train.main."
        )
    return ml_collections.ConfigDict(former(workdir))


def former(workdir: Path) -> dict[str, Any] | None:
    """Content of the workdir's config.json, None if there is none.

    Fields that it lacks, as one of an older version may, have the defaults: a new field's leaves
    everything as it was. The data's fields are each task's own.
    """
    saved = _read(workdir / "config.json")
    if saved is None:
        return None
    defaults = json.loads(_base.base().to_json_best_effort())
    return _filled(saved, defaults | {"data": {}})


def _filled(saved: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    inner = {
        key: _filled(saved[key], value)
        for key, value in defaults.items()
        if isinstance(value, dict) and key in saved
    }
    return {**defaults, **saved, **inner}


def _read(path: Path) -> Any:
    """Content of a JSON file of the workdir, None if it is not there."""
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {error}. Give another --workdir.") from error


def statistics(dataset: Dataset, workdir: Path) -> Dataset:
    """The data set with the mean and std that the run in workdir was trained with."""
    saved = json.loads((workdir / "data.json").read_text())
    mean, std = (np.asarray(saved[name], np.float32) for name in ("mean", "std"))
    return dataclasses.replace(dataset, mean=mean, std=std)


def _differences(old: Any, new: Any, free: tuple[str, ...], path: str = "") -> list[str]:
    if path in free or old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        inner = lambda key: f"{path}.{key}" if path else key
        pairs = ((old.get(key), new.get(key), free, inner(key)) for key in sorted({*old, *new}))
        return [name for pair in pairs for name in _differences(*pair)]
    return [f"config.{path}"]


def write(path: Path, text: str) -> None:
    """Replaces a file at once, so that a kill leaves the old one or the new one."""
    scratch = path.with_name(path.name + ".tmp")
    try:
        scratch.write_text(text + "\n")
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from error


def provenance() -> dict[str, Any]:
    """Date, commit (None outside a git checkout), Python, device, processor and cores."""
    device = jax.devices()[0]
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "python": platform.python_version(),
        "device": f"{device.platform}: {device.device_kind}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
