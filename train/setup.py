"""From a config to the parts of a run: checks, construction, and the files that describe it."""

import importlib.metadata
import json
from pathlib import Path
import platform
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

import dynalay_jax
from dynalay_jax import model as model_lib
from dynalay_jax import objective
from train import phases, state
from train.data import Dataset
from train.errors import UserError, expect_one_of
from train.progress import human, print_table
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
    "anderson": dynalay_jax.Anderson(),
    "broyden": dynalay_jax.Broyden(),
}


def check(config: ml_collections.FrozenConfigDict) -> None:
    """What can be wrong with a config as such; UserError in one line."""
    devices, batch = jax.local_device_count(), config.train.batch_size
    if batch < 1 or batch % devices:
        raise UserError(
            f"config.train.batch_size: expected a positive multiple of the {devices} devices, got "
            f"{batch}; the nearest is {max(1, round(batch / devices)) * devices}."
        )
    for name in ("steps_per_call", "accumulate"):
        if config.train[name] < 1:
            raise UserError(f"config.train.{name}: expected 1 or more, got {config.train[name]}.")
    if config.data.validation < 1:
        raise UserError(
            "config.data.validation: expected at least 1 example, got "
            f"{config.data.validation}; prices and checkpoints are chosen on it."
        )
    low, high = config.price_range
    if not 0 < low <= high:
        raise UserError(f"config.price_range: expected 0 < low <= high, got {low}, {high}.")
    if config.price <= 0:
        raise UserError(f"config.price: expected a positive number, got {config.price}.")


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
        model = model_lib.DynaLay(classes=len(dataset.classes), **fields)
        costs = model_lib.costs(model, dataset.train.images.shape[1:])
    except (TypeError, ValueError) as error:
        raise UserError(f"config.model or config.objective: {error}") from error
    plan = phases.plan(config, len(dataset.train.labels))
    return Task(model, settings, costs, dataset.mean, dataset.std, config, tuple(plan))


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


def versions() -> dict[str, str]:
    """Of Python, the packages that matter, and the kind of device."""
    names = ("jax", "jaxlib", "flax", "optax", "chex", "orbax-checkpoint", "numpy")
    return {
        "python": platform.python_version(),
        "dynalay_jax": dynalay_jax.__version__,
        **{name: importlib.metadata.version(name) for name in names},
        "device": f"{jax.local_device_count()} {jax.devices()[0].device_kind}",
    }


def write_config(config: ml_collections.FrozenConfigDict, workdir: Path) -> None:
    """config.json and versions.json; a workdir of another config is refused, but for its length.

    Raises:
        UserError: the workdir cannot be written, or belongs to a run with another config.
    """
    text = json.dumps(json.loads(config.to_json_best_effort()), indent=1, sort_keys=True)
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        former = path.read_text() if path.exists() else text
    except OSError as error:
        raise UserError(f"Cannot use workdir {workdir}: {error.strerror}.") from error
    differences = _differences(json.loads(former), json.loads(text))
    if differences:
        raise UserError(
            f"{workdir} holds a run with another {', '.join(differences)}; give this run another "
            "--workdir, or repeat that run's options."
        )
    write(path, text)
    write(workdir / "versions.json", json.dumps(versions(), indent=1))


# What may change between two starts of the same run: it does not touch the training.
_FREE = ("router", "price", "prices", "eval_batch", "checkpoint", "data.data_dir")


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if path in _FREE or old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        inner = lambda key: f"{path}.{key}" if path else key
        pairs = ((old.get(key), new.get(key), inner(key)) for key in sorted({*old, *new}))
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
