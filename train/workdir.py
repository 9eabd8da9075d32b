"""The records of a run: JSON files in its folder, read and written here alone.

A run's folder holds `config.json`, `versions.json` and `data.json`, which say what the run is;
`metrics.jsonl` (see `train.metrics`) and `checkpoints/` (see `train.checkpoint`); and a record
`NAME.json` for everything that was measured, `summary.json` first of all.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import datetime
import fcntl
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

import dynalay_jax
from train import records
from train.config import check
from train.data.types import Dataset
from train.errors import UserError

# Fields that may differ between two starts of a run: they do not touch the training.
FREE = ("router", "price", "prices", "eval_batch", "checkpoint", "data.data_dir", "data.path")
# Of these, the ones that do not touch the summary either.
_UNMEASURED = ("eval_batch", "checkpoint", "data.data_dir", "data.path")


@contextlib.contextmanager
def held(workdir: Path, option: str = "--workdir") -> Iterator[None]:
    """Makes the folder, and keeps other trainings out of it as long as this process lives.

    Args:
        workdir: the folder.
        option: by which the user names it.

    Raises:
        UserError: the folder cannot be written, or another process trains in it.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        folder = os.open(workdir, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"Cannot use workdir {workdir}: {error.strerror}.") from error
    try:
        if not os.access(workdir, os.W_OK):
            raise UserError(f"Cannot use workdir {workdir}: it cannot be written.")
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"Another process trains in {workdir}. Wait for its end, or choose another "
                f"{option}."
            ) from error
        yield
    finally:
        os.close(folder)
        with contextlib.suppress(OSError):
            workdir.rmdir()  # if a failed start has left it empty


def begun(workdir: Path) -> bool:
    """Whether the folder holds a run with a checkpoint or a summary: others are refused."""
    steps = (path for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())
    return (workdir / "summary.json").exists() or any(steps)


def summary_if_finished(
    workdir: Path, config: ml_collections.FrozenConfigDict
) -> dict[str, Any] | None:
    """The summary of the run in the folder, None if there is work to do for this config.

    Raises:
        UserError: the folder holds another run, or this one finished with another router or price.
    """
    if not begun(workdir):
        return None
    refuse_another(workdir, config)
    if summary := read_record(workdir, "summary"):
        refuse_another(
            workdir,
            config,
            _UNMEASURED,
            "The run is finished, there is nothing to train. Did you mean --mode=eval? To measure "
            "the whole run anew, move its summary.json away first.",
        )
    return summary


def claim(
    workdir: Path, config: ml_collections.FrozenConfigDict, dataset: Dataset
) -> list[dict[str, Any]]:
    """Writes what the run is.

    Returns:
        Content of versions.json: `versions()` of each start of the run, without repetition.
    """
    starts, now = (read_record(workdir, "versions") or [] if begun(workdir) else []), versions()
    starts += [now] if now not in starts else []
    write_record(workdir, "config", json.loads(config.to_json_best_effort()))
    write_record(workdir, "versions", starts)
    write_record(workdir, "data", {"mean": dataset.mean.tolist(), "std": dataset.std.tolist()})
    return starts


def refuse_another(
    workdir: Path,
    config: ml_collections.FrozenConfigDict,
    free: tuple[str, ...] = FREE,
    cure: str = "Give this run another --workdir, or repeat the options of that run.",
) -> None:
    """Raises UserError if the run in the folder has other values than `config`.

    Args:
        workdir: of the run.
        config: wanted.
        free: fields that may differ.
        cure: what the user can do.
    """
    if different := differences(workdir, config, free):
        raise UserError(f"{workdir} holds a run where {in_words(different)}. {cure}")


def differences(
    workdir: Path, config: ml_collections.FrozenConfigDict, free: tuple[str, ...] = ()
) -> dict[str, tuple[Any, Any]]:
    """The fields in which the run in the folder differs from `config`, with both values."""
    old, new = _flat(trained_config(workdir)), _flat(config)
    pairs = {name: (old.get(name), new.get(name)) for name in sorted({*old, *new})}
    fixed = lambda name: not any(f"{name}.".startswith(f"{field}.") for field in free)
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b and fixed(name)}


def in_words(different: Mapping[str, tuple[Any, Any]]) -> str:
    """What `differences` found, for a message."""
    said = [f"config.{name} is {old}, not {new}" for name, (old, new) in different.items()]
    more = f", and {len(said) - 4} more fields differ" if said[4:] else ""
    return ", ".join(said[:4]) + more


def _flat(config: ml_collections.ConfigDict | ml_collections.FrozenConfigDict) -> dict[str, Any]:
    """Values by dotted name."""
    leaves = jax.tree.leaves_with_path(config.to_dict(), is_leaf=lambda v: not isinstance(v, dict))
    return {jax.tree_util.keystr(path, simple=True, separator="."): v for path, v in leaves}


def read_config(workdir: Path) -> dict[str, Any] | None:
    """Content of config.json, None if there is none.

    A config of an older version is completed, see `_schema.completed`.

    Raises:
        UserError: the file cannot be read, or is not the config of a run.
    """
    saved = read_record(workdir, "config")
    if saved is None:
        return None
    # The images of a run may have moved since: whoever loads them looks at their path.
    data = saved.get("data")
    moved = {"path": data["path"]} if isinstance(data, dict) and "path" in data else {}
    placeless = saved | ({"data": data | {"path": ""}} if moved else {})
    try:
        # Through JSON, as what is saved: tuples become lists.
        config = json.loads(check(ml_collections.ConfigDict(placeless)).to_json_best_effort())
    except UserError as error:
        cure = records.cure("config")
        raise UserError(f"Cannot read {workdir}/config.json: {error} {cure}") from error
    return config | {"data": config["data"] | moved}


def print_defaults(workdir: Path) -> None:
    """Says which fields the config of the run lacks, as one of an older version does."""
    saved, whole = read_record(workdir, "config"), _flat(trained_config(workdir))
    lacking = whole.keys() - _flat(ml_collections.ConfigDict(saved))
    if said := [f"config.{name} is {whole[name]}" for name in sorted(lacking)]:
        more = f", and {len(said) - 4} more" if said[4:] else ""
        print(
            f"{workdir}/config.json lacks {len(said)} of today's fields; their defaults are used: "
            f"{', '.join(said[:4])}{more}."
        )


def trained_config(workdir: Path) -> ml_collections.ConfigDict:
    """The config that the run in the folder was trained with.

    Raises:
        UserError: the folder is not a run's.
    """
    config = read_config(workdir)
    if config is None or not (workdir / "data.json").exists():
        raise UserError(
            f"{workdir}: expected the workdir of a run, but config.json or data.json is missing. "
            "Train first, with python -m train.main."
        )
    # Frozen first: a list becomes a tuple.
    return ml_collections.ConfigDict(ml_collections.FrozenConfigDict(config).to_dict())


def with_trained_statistics(dataset: Dataset, workdir: Path) -> Dataset:
    """The data set with the mean and std that the run in the folder was trained with."""
    saved = read_record(workdir, "data")
    mean, std = (np.asarray(saved[key], np.float32) for key in ("mean", "std"))
    if not mean.shape == std.shape == dataset.mean.shape:
        raise UserError(
            f"Cannot read {workdir}/data.json: expected mean and std of {len(dataset.mean)} "
            f"channels, got {saved}. {records.cure('data')}"
        )
    now = np.stack([dataset.mean, dataset.std])
    if dataset.name == "images" and not np.allclose(now, [mean, std], atol=1e-6):
        raise UserError(
            f"config.data.path: expected the images that the run in {workdir} was trained with, "
            "got others, so that training images may be among the test images. Put the files back."
        )
    return dataclasses.replace(dataset, mean=mean, std=std)


def read_record(workdir: Path, name: str) -> Any:
    """Content of NAME.json, None if there is no such file.

    Raises:
        UserError: the file cannot be read, or does not hold what `records` says.
    """
    path = workdir / f"{name}.json"
    try:
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        records.check(name, record)
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"Cannot read {path}: {said}. {records.cure(name)}") from error
    return record


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
        path.parent.mkdir(parents=True, exist_ok=True)
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
