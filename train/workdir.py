"""From a config to the parts of a run: checks, construction, and the files that describe it."""

import dataclasses
import functools
import importlib.metadata
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from configs import _base as common
import dynalay_jax
from dynalay_jax.adaptive import model as model_lib
from dynalay_jax.adaptive import objective, routers
from train import schedule as phases
from train import state
from train.console import human, print_table
from train.data.loading import Dataset
from train.errors import UserError, expect_one_of
from train.provenance import provenance
from train.step import Task

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ADJOINTS = {
    "implicit": dynalay_jax.Implicit(on_failure="jacobian_free"),
    "jacobian_free": dynalay_jax.JacobianFree(),
    "phantom": dynalay_jax.Phantom(),
    "unrolled": dynalay_jax.Unrolled(),
}
SOLVERS = {
    "picard": dynalay_jax.Picard(),
    "damped": dynalay_jax.Picard(damping=0.5),
    "anderson": dynalay_jax.Anderson(),
    "broyden": dynalay_jax.Broyden(),
}


# The least that makes sense of a field.
_LEAST = {
    "seed": 0,
    "data.validation": 1,  # prices and checkpoints are chosen on it
    "model.compact": 0,
    "model.max_steps": 1,
    "model.tol": 0,
    "train.steps_per_call": 1,
    "train.accumulate": 1,
    "eval_batch": 1,
    "checkpoint.keep": 1,
}


def check(config: ml_collections.FrozenConfigDict) -> None:
    """What can be wrong with a config as such; UserError in one line."""
    devices, batch = jax.local_device_count(), config.train.batch_size
    if batch < 1 or batch % devices:
        raise UserError(
            f"config.train.batch_size: expected a positive multiple of the {devices} devices, got "
            f"{batch}; the nearest is {max(1, round(batch / devices)) * devices}."
        )
    expect_one_of("config.checkpoint.evaluate", ("newest", "best"), config.checkpoint.evaluate)
    for name, least in _LEAST.items():
        value = functools.reduce(lambda node, key: node[key], name.split("."), config)
        if not value >= least:
            raise UserError(f"config.{name}: expected {least} or more, got {value}.")
    for name, bounds in {
        "price_range": config.price_range,
        "exploration.epsilon": config.exploration.epsilon,
        "exploration.entropy": config.exploration.entropy,
    }.items():
        if np.shape(bounds) != (2,):
            raise UserError(f"config.{name}: expected two numbers, got {bounds}.")
    low, high = config.price_range
    if not 0 < low <= high:
        raise UserError(f"config.price_range: expected 0 < low <= high, got {low}, {high}.")
    for name, prices in {"price": (config.price,), "prices": config.prices}.items():
        if not all(0 < price < math.inf for price in prices):
            raise UserError(f"config.{name}: expected positive numbers, got {prices}.")
    _check_routing(config)


def _check_routing(config: ml_collections.FrozenConfigDict) -> None:
    """The shares of routes in training, and the agent's exploration."""
    layers, train = len(config.model.widths), config.train
    shares = {name: train[name] for name in ("straight", "everything", "exploring")}
    if any(not 0 <= share <= 1 for share in shares.values()) or (
        train.straight + train.everything > 1
    ):
        raise UserError(
            "config.train: expected shares from 0 to 1, straight and everything together 1 at "
            f"most; got {', '.join(f'{name} {share}' for name, share in shares.items())}."
        )
    if not 0 <= train.everything_layers <= layers:
        raise UserError(
            f"config.train.everything_layers: expected 0 to {layers}, got "
            f"{train.everything_layers}."
        )
    most = 1 / (layers + 1)
    if not 0 <= config.exploration.floor < most or not config.exploration.share > 0:
        raise UserError(
            f"config.exploration: expected a floor from 0 to below {most:.3g}, one over the number "
            f"of actions, and a share above 0; got {config.exploration.floor} and "
            f"{config.exploration.share}."
        )


def _choose(name: str, options: dict[str, Any], got: str) -> Any:
    expect_one_of(name, options, got)
    return options[got]


def task(config: ml_collections.FrozenConfigDict, dataset: Dataset) -> Task:
    """The run's unchanging parts.

    Raises:
        UserError: a model or objective that cannot be built.
    """
    fields = dict(config.model)
    fields["dtype"] = _choose("config.model.dtype", DTYPES, fields["dtype"])
    fields["adjoint"] = _choose("config.model.adjoint", ADJOINTS, fields["adjoint"])
    fields["solver"] = _choose("config.model.solver", SOLVERS, fields["solver"])
    try:
        settings = objective.Objective(**config.objective)
        model = model_lib.DynaLay(
            classes=len(dataset.classes), vocabulary=dataset.vocabulary, **fields
        )
        shape = dataset.train.images.shape[1:]
        costs = model_lib.costs(model, shape)
        _trace(model, (config.train.batch_size // jax.local_device_count(), *shape))
    except (TypeError, ValueError) as error:
        raise UserError(f"config.model or config.objective: {error}") from error
    plan = phases.plan(config, len(dataset.train.labels))
    return Task(model, settings, costs, dataset.mean, dataset.std, config, tuple(plan))


def _trace(model: model_lib.DynaLay, shape: tuple[int, ...]) -> None:
    """Traces a routed pass, so that settings which do not go together say so now."""
    params = model_lib.shapes(model, shape[1:])
    key, x = jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
    routed = lambda params, x: model.apply(params, x, routers.Constant(), 1.0, key)
    jax.eval_shape(routed, params, x)


def describe(task: Task, dataset: Dataset) -> None:
    """Prints the data, the plan and a table of the model's parts with parameters and MACs."""
    shape = dataset.train.images.shape[1:]
    params = state.split(model_lib.shapes(task.model, shape))
    size = lambda tree: human(sum(leaf.size for leaf in jax.tree.leaves(tree)))
    main, costs = params["main"], task.costs
    rows = [["stem", size(main.get("first", {})), human(costs.stem), ""]]
    for j in range(len(task.model.widths)):
        layer = size(main[f"layers_{j}"])
        rows.append([f"layer {j + 1}", layer, human(costs.inject[j]), human(costs.step[j])])
    rows.append(["head", size([main["scale"], main["classifier"]]), human(costs.head), ""])
    rows.append(["straight pass", size(main), human(costs.straight), ""])
    rows.append(["agent", size(params["agent"]), human(costs.agent), ""])
    counts = [len(getattr(dataset, name).labels) for name in ("train", "validation", "test")]
    plan = ", ".join(f"{phase.name} {phase.steps}" for phase in task.phases)
    print(
        f"{dataset.name}: {counts[0]} training, {counts[1]} validation, {counts[2]} test examples "
        f"of {'×'.join(map(str, shape))}. Steps of {task.config.train.batch_size}: {plan}. "
        f"Devices: {jax.local_device_count()} {jax.devices()[0].device_kind}."
    )
    print_table(
        f"DynaLay, {task.model.cell} cells",
        ["part", "parameters", "MACs", "MACs an iteration"],
        rows,
    )


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
    defaults = json.loads(common.base().to_json_best_effort())
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
