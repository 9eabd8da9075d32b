"""A run: its config, data, model and optimisers, built anew or reopened from a workdir.

`train.loop` trains and evaluates a run; studies and benchmarks reopen a finished one.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from dynalay_jax.adaptive import inspect, objective, routers
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.adaptive.names import NAMED
from dynalay_jax.layers.base import STATISTICS
from dynalay_jax.layers.whitening import whiten
from train import schedule
from train import workdir as workdirs
from train.checkpoint import Checkpoints
from train.config import check
from train.console import Progress, human, print_table
from train.data import loading
from train.data.types import Dataset
from train.errors import UserError
from train.evaluate import Evaluator
from train.parallel import replicate
from train.state import TrainState, create, optimizers, split
from train.step import Task

PyTree = Any
# Training images that a whitening stem is measured on.
_WHITENED = 5_000
# Fields of the config that may differ when a trained run is evaluated.
EVALUATED = (*workdirs.FREE, *(f"data.{name}" for name in loading.TEST_FIELDS))


@dataclasses.dataclass
class Run:
    """What does not change during a run, and the folder on disk."""

    config: ml_collections.FrozenConfigDict
    workdir: Path
    dataset: Dataset
    task: Task
    transforms: dict[str, optax.GradientTransformation]
    evaluate: Evaluator

    @classmethod
    def prepare(cls, config: ml_collections.ConfigDict, workdir: Path) -> "Run":
        """Checks the config, loads the data and builds the model. Writes nothing."""
        frozen = check(config, jax.local_device_count())
        return cls.of(frozen, workdir, loading.load(frozen.data))

    @classmethod
    def to_evaluate(cls, config: ml_collections.ConfigDict, workdir: Path) -> "Run":
        """A run to evaluate. Fields that may differ from those of the training: `EVALUATED`.

        Raises:
            UserError: the workdir is not a run's, or another field differs.
        """
        frozen = check(config, jax.local_device_count())
        workdirs.refuse_another(workdir, frozen, EVALUATED, "--mode=eval cannot change these.")
        with Progress(f"Loading {frozen.data.name}"):
            dataset = loading.load(frozen.data)
        return cls.of(frozen, workdir, workdirs.with_trained_statistics(dataset, workdir))

    @classmethod
    def of(cls, config: ml_collections.FrozenConfigDict, workdir: Path, dataset: Dataset) -> "Run":
        """A run on a data set, from a config that `check` has checked."""
        task = build_task(config, dataset)
        transforms = optimizers(config, list(task.phases))
        return cls(config, workdir, dataset, task, transforms, Evaluator(task, dataset))

    def initial(self) -> TrainState:
        """The state before the first step."""
        shape = self.dataset.train.images.shape[1:]
        variables = inspect.init(self.task.model, jax.random.key(self.config.seed), shape)
        if side := self.task.model.whitening:
            some = self.task.normalise(jnp.asarray(self.dataset.train.images[:_WHITENED]))
            variables[STATISTICS]["first"]["kernel"] = whiten(some, side)
        return create(variables, self.transforms, bool(self.config.train.ema))

    def template(self) -> TrainState:
        """Shapes and dtypes of the state."""
        return jax.eval_shape(self.initial)

    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints. The caller closes them."""
        return Checkpoints(self.workdir / "checkpoints", self.config.checkpoint.keep)

    def restored(self) -> tuple[int, PyTree]:
        """Step and replicated parameters of the newest or best checkpoint, as the config says.

        Raises:
            UserError: there is none.
        """
        with contextlib.closing(self.checkpoints()) as checkpoints:
            best = self.config.checkpoint.evaluate == "best"
            restore = checkpoints.restore_best if best else checkpoints.restore_latest
            found = restore(self.template())
        if found is None:
            raise UserError(f"No checkpoint in {self.workdir}: train first, with --mode=train.")
        step, state, _ = found
        return step, replicate(state.evaluated)

    def settings(self, step: int) -> dict[str, Any]:
        """What a record of the run belongs to: step of the checkpoint, router and price."""
        return {"step": step, "router": self.config.router, "price": self.config.price}


def build_task(config: ml_collections.FrozenConfigDict, dataset: Dataset) -> Task:
    """Model, objective, costs and phases of a run, from a config that `check` has checked.

    Raises:
        UserError: a model that cannot be built, or a batch of more examples than there are.
    """
    plan = schedule.plan(config, len(dataset.train.labels))
    settings = objective.Objective(**config.objective)
    fields = dict(config.model)
    for name, known in NAMED.items():
        fields[name] = known[fields[name]]
    try:
        model = DynaLay(classes=len(dataset.classes), vocabulary=dataset.vocabulary, **fields)
        shape = dataset.train.images.shape[1:]
        costs = inspect.costs(model, shape)
        _trace(model, (config.train.batch_size // jax.local_device_count(), *shape))
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        # The library's own messages begin with a field's name.
        if text.partition(":")[0] in fields:
            raise UserError(f"config.model.{text}") from error
        raise UserError(
            f"config.model: expected settings that fit each other and {dataset.name}, got {text!r}."
        ) from error
    return Task(model, settings, costs, dataset.mean, dataset.std, config, tuple(plan))


def _trace(model: DynaLay, shape: tuple[int, ...]) -> None:
    """Traces a routed pass: settings that do not fit together raise now, not in training."""
    params = inspect.shapes(model, shape[1:])
    key, x = jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
    routed = lambda params, x: model.apply(params, x, routers.Constant(), 1.0, key)
    jax.eval_shape(routed, params, x)


def describe(task: Task, dataset: Dataset) -> None:
    """Prints the data, the plan and a table of the model's parts with parameters and MACs."""
    shape = dataset.train.images.shape[1:]
    params = split(inspect.shapes(task.model, shape))
    size = lambda tree: human(sum(leaf.size for leaf in jax.tree.leaves(tree)))
    main, costs = params["main"], task.costs
    rows = [["stem", size(main.get("first", {})), human(costs.stem), ""]]
    for j in range(len(task.model.widths)):
        layer = size(main[f"layers_{j}"])
        rows.append([f"layer {j + 1}", layer, human(costs.inject[j]), human(costs.step[j])])
    rows.append(["head", size([main.get("scale"), main["classifier"]]), human(costs.head), ""])
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


def reopen(
    workdir: str | Path,
    data_dir: str | None = None,
    changes: Mapping[str, Any] = {},
    without_agent: bool = False,
) -> Run:
    """The run in a workdir, as it was configured.

    Args:
        workdir: of the run.
        data_dir: where the data are, if not where they were in training.
        changes: fields of the config to change, as "data.grid"; of the data, only what the test
            split is made of.
        without_agent: whether a run of a variant without an agent is accepted.

    Raises:
        UserError: workdir is not that of a trained run, or not of one with an agent.
    """
    config = workdirs.trained_config(Path(workdir))
    config.update_from_flattened_dict(dict(changes))
    if data_dir is not None:
        field = next((name for name in ("data_dir", "path") if name in config.data), None)
        if field is None:
            raise UserError(f"--data_dir: {config.data.name} has no such folder; leave it out.")
        config.data[field] = data_dir
    run = Run.to_evaluate(config, Path(workdir))
    has_agent = config.router == "agent" and run.task.phases[-1].trains_agent
    if not has_agent and not (without_agent and config.router != "agent"):
        raise UserError(f"{workdir}: expected a run with an agent, got a variant without one.")
    return run
