"""Checkpoints of a run: written beside training, checked when read, safe to kill at any moment.

The only file that imports orbax. A step is a folder `<step>/` with two items: `state`, the arrays
by name, and `meta`, a JSON document with the caller's own values, the validation accuracy, and
type, shape and checksum of every array. Orbax writes under a temporary name and renames: what has a
step's name is whole. The checksums find what went wrong later.
"""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import json
import logging
import math
from pathlib import Path
import re
import shutil
import sys
import textwrap
from typing import Any
import zlib

from absl import logging as absl_logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from train.errors import UserError

PyTree = Any
Restored = tuple[int, PyTree, dict]
_policies = ocp.checkpoint_managers


class Checkpoints:
    """The newest checkpoints of a run, and the best one.

    Other processes may read the folder while a run writes to it.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        """Opens `folder`, which the first save creates; reading changes nothing on disk.

        Args:
            folder: belongs to this class alone.
            keep: how many of the newest checkpoints stay, ≥ 1; the best one stays besides.

        Raises:
            UserError: the folder cannot be read.
        """
        self._folder = Path(folder).absolute()
        self._metrics: dict[int, float] = {}
        self._damaged: set[int] = set()
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(_quiet_orbax())
        policy = _policies.AnyPreservationPolicy([_policies.LatestN(keep), _Best(self._metrics)])
        with self._reported("open"):
            self._manager = ocp.CheckpointManager(
                self._folder,
                options=ocp.CheckpointManagerOptions(create=False, preservation_policy=policy),
            )
        for step in self._manager.all_steps():
            with contextlib.suppress(_DamagedError):
                self._rate(step, self._document(step)["metric"])

    def save(self, step: int, state: PyTree, meta: dict, metric: float | None = None) -> None:
        """Copies the state and writes it in the background, after the save before has ended.

        A step saved again is overwritten; a damaged checkpoint that a restore passed over goes.

        Args:
            step: optimiser steps taken, ≥ 0.
            state: pytree of arrays; may be donated or changed at once.
            meta: what JSON can hold.
            metric: validation accuracy, by which the best checkpoint is kept.

        Raises:
            UserError: this save or the one before failed (disk full, folder not writable), or the
                folder holds a later step.
        """
        metric = None if metric is None else float(metric)
        # Views at most; orbax copies them before it returns.
        arrays = {name: np.asarray(leaf) for name, leaf in _named(state).items()}
        leaves = {name: [*_signature(a), _checksum(a)] for name, a in arrays.items()}
        document = _seal({"meta": meta, "metric": metric, "leaves": leaves})
        latest = max(set(self._steps()) - self._damaged, default=step)
        if latest > step:
            raise UserError(
                f"Cannot save step {step}: {self._folder} already holds step {latest}. Resume from "
                "it, or use another workdir."
            )
        with self._reported(f"save step {step}"):
            self._make_room(step)
            self._rate(step, metric)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    # Orbax refuses arrays without elements.
                    state=ocp.args.StandardSave({k: a for k, a in arrays.items() if a.size}),
                    meta=ocp.args.JsonSave(document),
                ),
                force=True,
            )

    def restore_latest(self, template: PyTree) -> Restored | None:
        """Restores the newest checkpoint that is whole; prints a line for each passed over.

        Args:
            template: pytree of arrays or `jax.ShapeDtypeStruct`, as the state that was saved.

        Returns:
            `(step, state, meta)`, the state with NumPy arrays in the template's structure, bit by
            bit as saved; None if there is no checkpoint.

        Raises:
            UserError: a leaf differs from the template, or no checkpoint is whole.
        """
        return self._first_whole(self._steps()[::-1], template)

    def restore_best(self, template: PyTree) -> Restored | None:
        """As `restore_latest`, from the highest metric down; None if none has a metric."""
        rated = [step for step in self._steps() if step in self._metrics]
        return self._first_whole(sorted(rated, key=lambda s: (-self._metrics[s], s)), template)

    def newest(self) -> Path | None:
        """Folder of the newest checkpoint that is on disk or on its way."""
        steps = self._steps()
        return self._folder / str(steps[-1]) if steps else None

    def wait(self) -> None:
        """Returns once the last save is on disk; UserError if it failed."""
        try:
            with self._reported("save"):
                self._manager.wait_until_finished()
        except UserError:
            # Orbax has already forgotten the checkpoints that this save was to replace.
            with contextlib.suppress(OSError):
                self._manager.reload()
            raise

    def close(self) -> None:
        """Waits, as `wait` does, and frees what orbax holds; nothing may be called after it."""
        with self._quiet:
            try:
                self.wait()
            finally:
                self._manager.close()

    def _steps(self) -> list[int]:
        """Steps on disk, in order."""
        self.wait()
        return sorted(self._manager.all_steps())

    def _first_whole(self, steps: Sequence[int], template: PyTree) -> Restored | None:
        reasons = []
        for step in steps:
            try:
                return step, *self._read(step, template)
            except _DamagedError as error:
                self._damaged.add(step)
                reasons.append(f"step {step}: {error}")
                if step != steps[-1]:
                    print(f"Passing over a damaged checkpoint in {self._folder}, {reasons[-1]}")
        if reasons:
            raise UserError(
                f"Cannot restore from {self._folder}, damaged: {'; '.join(reasons)}. Put back a "
                "copy of the folder, or use another workdir."
            )
        return None

    def _read(self, step: int, template: PyTree) -> tuple[PyTree, dict]:
        """State and meta of a step.

        Raises:
            UserError: names, types or shapes of the leaves differ from the template's.
        """
        document = self._document(step)
        saved = {name: tuple(leaf[:2]) for name, leaf in document["leaves"].items()}
        wanted = {name: _signature(leaf) for name, leaf in _named(template).items()}
        if names := [name for name in saved | wanted if saved.get(name) != wanted.get(name)]:
            there, here = (_describe(leaves.get(names[0])) for leaves in (saved, wanted))
            more = f", and {len(names) - 1} more leaves differ" if names[1:] else ""
            raise UserError(
                f"Checkpoint {self._folder / str(step)} is of another model: {names[0]} is {there} "
                f"there, {here} here{more}. Use the config that it was written with, or another "
                "workdir."
            )
        empty = {name: np.empty(shape, dtype) for name, (dtype, shape) in wanted.items()}
        to_read = {name: array for name, array in empty.items() if array.size}
        arrays = empty | self._item(step, state=ocp.args.StandardRestore(to_read))
        for name, (_, _, checksum) in document["leaves"].items():
            if _checksum(arrays[name]) != checksum:
                raise _DamagedError(f"{name} fails its checksum")
        treedef = jax.tree.structure(template)
        return jax.tree.unflatten(treedef, [arrays[name] for name in wanted]), document["meta"]

    def _document(self, step: int) -> dict:
        return _open(self._item(step, meta=ocp.args.JsonRestore()))

    def _item(self, step: int, **args: ocp.args.CheckpointArgs) -> Any:
        """Reads one item; whatever orbax stumbles over, the item is damaged."""
        (name,) = args
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**args))[name]
        except Exception as error:
            raise _DamagedError(f"{name}: {_reason(error)}") from error

    def _make_room(self, step: int) -> None:
        """Removes what stands in the way of a save; no other save is running."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover)
        for stale in (self._damaged | {step}) & set(self._manager.all_steps()):
            self._manager.delete(stale)
        self._damaged.clear()

    def _rate(self, step: int, metric: float | None) -> None:
        self._metrics.pop(step, None)
        if metric is not None and not math.isnan(metric):
            self._metrics[step] = metric

    @contextlib.contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        """Turns what orbax raises, in whichever thread, into one line for the user."""
        try:
            yield
        except Exception as error:
            raise UserError(
                f"Cannot {doing} in {self._folder}: {_reason(error)}. Check that the disk has "
                "room and the folder may be written, then resume."
            ) from error


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Keeps orbax from printing what it also raises, and from logging every save.

    When a write fails, every other write that is under way complains as well.
    """
    own = lambda record: "orbax" not in record.pathname
    unseen = lambda record: "never retrieved" not in record.getMessage()
    absl, asyncio = absl_logging.get_absl_logger(), logging.getLogger("asyncio")
    hook = sys.unraisablehook

    def quiet_hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    absl.addFilter(own)
    asyncio.addFilter(unseen)
    sys.unraisablehook = quiet_hook
    try:
        yield
    finally:
        absl.removeFilter(own)
        asyncio.removeFilter(unseen)
        if sys.unraisablehook is quiet_hook:
            sys.unraisablehook = hook


class _DamagedError(Exception):
    """A checkpoint that cannot be read, or is not what was written."""


@dataclasses.dataclass
class _Best:
    """Orbax's preservation policy: the step with the highest metric, the earliest of equals."""

    metrics: dict[int, float]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        rated = [info.step for info in checkpoints if info.step in self.metrics]
        best = max(rated, key=self.metrics.__getitem__, default=None)
        return [info.step == best for info in checkpoints]


def _named(tree: PyTree) -> dict[str, Any]:
    """Leaves by name, as `params/dense/kernel`, in the order of `jax.tree.leaves`."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _signature(leaf: Any) -> tuple[str, list[int]]:
    return np.dtype(leaf.dtype).name, list(leaf.shape)


def _describe(signature: tuple[str, list[int]] | None) -> str:
    return "absent" if signature is None else f"{signature[0]}{signature[1]}"


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def _seal(content: dict) -> dict:
    """JSON keeps order and repeats floats exactly, so that the text's checksum lasts."""
    return content | {"checksum": zlib.crc32(json.dumps(content).encode())}


def _open(document: Any) -> dict:
    content = dict(document) if isinstance(document, dict) else {}
    if content.pop("checksum", None) != _seal(content)["checksum"]:
        raise _DamagedError("meta fails its checksum")
    return content


def _reason(error: Exception) -> str:
    """What went wrong, in one line, without the paths that orbax and tensorstore put around it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    system = re.search(r"([^:]+) \[os_error_code=", line)
    return system[1].strip() if system else textwrap.shorten(line, 160, placeholder=" …")
