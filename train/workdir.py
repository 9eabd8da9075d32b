"""The records of a run: JSON files in its folder, read and written here alone.

A run's folder holds `config.json`, `versions.json` and `data.json`, which say what the run is;
`metrics.jsonl` (see `train.metrics`) and `checkpoints/` (see `train.checkpoint`); and a record
`NAME.json` for everything that was measured, `summary.json` first of all.
"""

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

from configs import _schema
import dynalay_jax
from train.data.types import Dataset
from train.errors import UserError

# Fields that may differ between two starts of a run: they do not touch the training.
FREE = ("router", "price", "prices", "eval_batch", "checkpoint", "data.data_dir")
# What a run is. All other records are measurements.
_IDENTITY = ("config", "versions", "data")


def claim(
    workdir: Path, config: ml_collections.FrozenConfigDict, dataset: Dataset
) -> list[dict[str, Any]]:
    """Makes the folder this run's: writes what the run is, or refuses the folder of another run.

    Measurements are removed if a field of `FREE` has changed since.

    Returns:
        Content of versions.json: `versions()` of each start of the run, without repetition.

    Raises:
        UserError: the folder cannot be written, or holds a run with another config.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot use workdir {workdir}: {error.strerror}.") from error
    old, wanted = compare(workdir, config), json.loads(config.to_json_best_effort())
    if old not in (None, wanted):
        for path in workdir.glob("*.json"):
            if path.stem not in _IDENTITY and not path.stem.startswith("eval_"):
                path.unlink()
    starts, now = read_record(workdir, "versions") or [], versions()
    starts += [now] if now not in starts else []
    write_record(workdir, "config", wanted)
    write_record(workdir, "versions", starts)
    write_record(workdir, "data", {"mean": dataset.mean.tolist(), "std": dataset.std.tolist()})
    return starts


def compare(
    workdir: Path, config: ml_collections.FrozenConfigDict, free: tuple[str, ...] = FREE
) -> dict[str, Any] | None:
    """Refuses the folder of a run with another config.

    Args:
        workdir: of the run; a folder without config.json belongs to nobody yet.
        config: wanted.
        free: fields that may differ.

    Returns:
        The config of the folder, None if it has none.

    Raises:
        UserError: config.json is of another config, or cannot be read.
    """
    old = read_config(workdir)
    wanted = json.loads(config.to_json_best_effort())
    differences = [] if old is None else _differences(old, wanted, free)
    if differences:
        raise UserError(
            f"{workdir} holds a run with another {', '.join(differences)}; give this run another "
            "--workdir, or repeat that run's options."
        )
    return old


def _differences(old: Any, new: Any, free: tuple[str, ...], path: str = "") -> list[str]:
    if path in free or old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        inner = lambda key: f"{path}.{key}" if path else key
        pairs = ((old.get(key), new.get(key), free, inner(key)) for key in sorted({*old, *new}))
        return [name for pair in pairs for name in _differences(*pair)]
    return [f"config.{path}"]


def read_config(workdir: Path) -> dict[str, Any] | None:
    """Content of config.json, None if there is none.

    A config of an older version is completed, see `_schema.completed`.
    """
    saved = read_record(workdir, "config")
    # Through JSON, as what is saved: tuples become lists.
    return None if saved is None else json.loads(json.dumps(_schema.completed(saved)))


def trained_config(workdir: Path) -> ml_collections.ConfigDict:
    """The config that the run in the folder was trained with.

    Raises:
        UserError: the folder is not a run's.
    """
    if not all((workdir / f"{name}.json").exists() for name in ("config", "data")):
        raise UserError(
            f"{workdir}: expected the workdir of a run, but config.json or data.json is missing. "
            "Train first, with python -m train.main."
        )
    return ml_collections.ConfigDict(read_config(workdir))


def with_trained_statistics(dataset: Dataset, workdir: Path) -> Dataset:
    """The data set with the mean and std that the run in the folder was trained with."""
    saved = read_record(workdir, "data")
    mean, std = (np.asarray(saved[name], np.float32) for name in ("mean", "std"))
    return dataclasses.replace(dataset, mean=mean, std=std)


def read_record(workdir: Path, name: str) -> Any:
    """Content of NAME.json, None if there is no such file.

    Raises:
        UserError: the file cannot be read, or is not JSON.
    """
    path = workdir / f"{name}.json"
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise UserError(
            f"Cannot read {path}: {error}. Remove the file and measure again, or give another "
            "workdir."
        ) from error


def write_record(workdir: Path, name: str, record: Any) -> None:
    """Writes NAME.json.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    write_text(workdir / f"{name}.json", json.dumps(record, indent=1))


def write_text(path: Path, text: str) -> None:
    """Replaces a file at once: a kill leaves the old file or the new one."""
    scratch = path.with_name(path.name + ".tmp")
    try:
        scratch.write_text(text + "\n")
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from error


def versions() -> dict[str, Any]:
    """Versions of the packages that matter, and where the run runs (see `provenance`)."""
    names = ("jax", "jaxlib", "flax", "optax", "chex", "orbax-checkpoint", "numpy")
    return {
        **provenance(),
        "devices": jax.local_device_count(),
        "dynalay_jax": dynalay_jax.__version__,
        **{name: importlib.metadata.version(name) for name in names},
    }


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
