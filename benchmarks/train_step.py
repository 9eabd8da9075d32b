"""What does a training step cost, and its backward pass? The paper's Table 1, "backward time".

    python -m benchmarks.train_step [--config digits | --workdir WORKDIR] [--seconds 240]

Every arm computes a loss of the same batch, and the gradient in the networks that the arm trains.
Forward is the loss alone; backward is what the gradient takes beyond it in the same round.
Augmentation and optimiser are left out. The arms:

    plain CNN                the straight pass by itself, without agent or solves
    nobody iterates          DynaLay's program, if no sample iterates
    DynaLay, main, joint     these phases of training; joint has the agent's loss, too
    DynaLay, agent's routes  the main model's loss, each sample on the route that the agent prefers,
                             at the config's price and at a higher one
    all layers               config:model_L, every layer iterated
    unrolled                 every layer iterated 4 times, gradients through all steps
    DEQ, one layer           config:deq_*, as wide and small as the middle layer
    DEQ, all layers          DynaLay's layers with a DEQ's cells and a DEQ's solvers

The time of a solve depends on the weights. With --workdir, arms whose parameters a finished run has
get its trained weights; the others get initial ones, as their rows say. MACs are the main model's
forward pass, without the agent.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import importlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pandas as pd

from benchmarks.support import timing
from benchmarks.support.trained import Trained, trained
from configs import _variants
from dynalay_jax import Status
from dynalay_jax.adaptive import inspect, losses, routers
from dynalay_jax.adaptive import model as model_lib
from train import state as state_lib
from train import step
from train.cli import Parser, friendly
from train.console import human
from train.data import batches
from train.errors import UserError
from train.run import Run, build_task

PyTree = Any
Loss = tuple[jax.Array, dict[str, jax.Array]]
PLAIN = "plain CNN"
DYNALAY = "DynaLay, main", "DynaLay, joint", "DynaLay, agent's routes"
DEARER = 1.0  # λ of the agent's other routes


class Arm(NamedTuple):
    """What is differentiated.

    Attributes:
        task: the model and its surroundings.
        loss: (task, params, probe, x, labels, key) → scalar loss and a dict of scalar means.
        trains: the networks whose gradient is taken.
    """

    task: step.Task
    loss: Callable[..., Loss]
    trains: tuple[str, ...] = ("main",)


def straight_loss(
    task: step.Task, params: PyTree, probe: Any, x: jax.Array, labels: jax.Array, key: jax.Array
) -> Loss:
    """Cross-entropy of the straight pass, as a plain CNN is trained."""
    del probe, key
    variables = state_lib.join(params)
    logits = inspect.call(task.model, variables, model_lib.DynaLay.begin, x).logits
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    targets = optax.smooth_labels(targets, task.config.train.smoothing)
    means = {"macs": jnp.float32(task.costs.straight), "steps": jnp.float32(0)}
    return jnp.mean(optax.softmax_cross_entropy(logits, targets)), means


def routed_loss(
    router: Callable,
    price: float,
    task: step.Task,
    params: PyTree,
    probe: Any,
    x: jax.Array,
    labels: jax.Array,
    key: jax.Array,
) -> Loss:
    """The main model's loss on a router's routes, at a price λ."""
    prices, smoothing = jnp.full(labels.shape, price, jnp.float32), task.config.train.smoothing
    about = x, labels, router, prices, key, task.costs, smoothing, probe
    return losses.main_loss(task.model, state_lib.join(params), *about)


def phase_arm(task: step.Task, name: str) -> Arm:
    """The loss of a phase, with the exploration of its last step."""
    (phase,) = (phase for phase in task.phases if phase.name == name)

    def loss(task: step.Task, *args: Any) -> Any:
        value, (means, _) = step.phase_loss(task, phase, *args, jnp.int32(phase.last - 1))
        return value, means

    task = dataclasses.replace(task, model=step.trained_model(task, phase))
    return Arm(task, loss, phase.trains)


def arms(run: Run) -> dict[str, Arm]:
    """All arms by name. The run's config has an agent and all phases."""
    every = f"model_{len(run.task.model.widths)}"

    def variant(name: str, **model: Any) -> Arm:
        # By to_dict(), because a ConfigDict of a frozen one shares its parts with every other.
        config = _variants.vary(ml_collections.ConfigDict(run.config.to_dict()), name)
        config.model.update(model)
        frozen = ml_collections.FrozenConfigDict(config)
        return phase_arm(build_task(frozen, run.dataset), "main")

    main, joint, routed = DYNALAY
    routes = lambda router, price=run.config.price: Arm(
        run.task, functools.partial(routed_loss, router, price)
    )
    deq = {"cell": "free", "max_steps": 30}
    return {
        PLAIN: Arm(run.task, straight_loss),
        # A random draw: if the route were a constant, XLA would drop the solves.
        "nobody iterates": routes(routers.Random(0.0)),
        main: phase_arm(run.task, "main"),
        joint: phase_arm(run.task, "joint"),
        routed: routes(routers.Agent()),
        f"{routed}, λ = {DEARER:g}": routes(routers.Agent(), DEARER),
        "all layers": variant(every),
        "unrolled": variant("unrolled"),
        "DEQ, one layer, Anderson": variant("deq_anderson"),
        "DEQ, one layer, Broyden": variant("deq_broyden"),
        "DEQ, all layers, Anderson": variant(every, solver="anderson", **deq),
        "DEQ, all layers, Broyden": variant(every, solver="broyden", **deq),
    }


def weights(run: Run, arm: Arm, params: PyTree) -> tuple[PyTree, bool]:
    """The given parameters if they fit the arm, otherwise initial ones; and whether they fit."""
    shape = run.dataset.train.images.shape[1:]
    own = state_lib.split(inspect.shapes(arm.task.model, shape))
    shapes = functools.partial(jax.tree.map, lambda leaf: leaf.shape)
    if shapes(own) == shapes(params):
        return params, True
    key = jax.random.key(run.config.seed)
    return state_lib.split(inspect.init(arm.task.model, key, shape)), False


def functions(arm: Arm) -> tuple[Callable, Callable]:
    """Forward and gradient, both of (params, probe, x, labels, key).

    Forward gives (loss, means), gradient ((loss, means), (gradient, account of the backward
    solves)).
    """
    forward = functools.partial(arm.loss, arm.task)

    def gradient(params: PyTree, probe: Any, *batch: jax.Array) -> Any:
        trained = {group: params[group] for group in arm.trains}
        loss = lambda trained, probe: forward({**params, **trained}, probe, *batch)
        return jax.value_and_grad(loss, (0, 1), has_aux=True)(trained, probe)

    return forward, gradient


def account(means: PyTree, backward: Any) -> dict[str, float | None]:
    """What the arm's solves did.

    Returns:
        `macs` an example; `steps` a solve; `backward_steps`, None without a backward solve.
    """
    out = {name: float(means[name]) for name in ("macs", "steps")}
    steps = np.zeros(0)
    # If nothing iterates, the probe's cotangent counts nothing.
    if backward is not None and out["steps"] > 0:
        steps = np.asarray(backward.steps)[np.asarray(backward.status) != Status.SKIPPED]
    return {**out, "backward_steps": float(steps.mean()) if steps.size else None}


def measure_arms(
    run: Run, chosen: dict[str, Arm], params: PyTree, seconds: float
) -> list[dict[str, Any]]:
    """Compiles the arms and times them in turn, on the first batch of training.

    The second half of the time goes to all arms except DEQs: a round of DEQs takes several times as
    long as a round of all others.

    Returns:
        A row an arm: `arm`, `given` (whether it has the given weights), `account`, and `forward`,
        `backward`, `gradient` in milliseconds.
    """
    split, batch = run.dataset.train, run.config.train.batch_size
    (index,) = batches.batch_indices(len(split.labels), batch, run.config.seed, 0, 1)
    x, labels = run.task.normalise(jnp.asarray(split.images[index])), split.labels[index]
    rows, calls = [], {}
    for name, arm in chosen.items():
        own, given = weights(run, arm, params)
        probe = inspect.probes(arm.task.model, batch)
        args = (own, probe, x, jnp.asarray(labels), jax.random.key(run.config.seed))
        row: dict[str, Any] = {"arm": name, "given": given}
        for part, function in zip(("forward", "gradient"), functions(arm), strict=True):
            compiled, row[part] = timing.compile_function(function, *args)
            calls[name, part] = functools.partial(compiled, *args)
        (_, means), (_, backward) = calls[name, "gradient"]()
        rows.append(row | account(means, backward))
        seconds_taken = row["forward"]["compile_s"] + row["gradient"]["compile_s"]
        print(f"{name}: compiled in {seconds_taken:.0f} s", flush=True)
    samples = timing.interleave(calls, seconds / 2)
    quick = {key: call for key, call in calls.items() if not key[0].startswith("DEQ")}
    for key, more in timing.interleave(quick, seconds / 2).items():
        samples[key] += more
    for row in rows:
        forward, gradient = (samples[row["arm"], part] for part in ("forward", "gradient"))
        row["backward"] = timing.summary(np.subtract(gradient, forward))
        row["forward"] |= timing.rounds(forward)
        row["gradient"] |= timing.rounds(gradient)
    return rows


def times(record: Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Milliseconds of each round by arm: `backward`, and `gradient`, which is the whole step."""
    found = {}
    for row in record["rows"]:
        forward, whole = (np.array(row[part]["samples_ms"]) for part in ("forward", "gradient"))
        found[row["arm"]] = {"backward": whole - forward, "gradient": whole}
    return found


def table(record: Mapping[str, Any]) -> str:
    """The record as Markdown, a row an arm."""
    arms = times(record)
    ratio = lambda name, part: str(timing.ratio(arms[name][part], arms[PLAIN][part]))
    steps = lambda value: "—" if value is None else f"{value:.1f}"
    rows = [
        {
            "arm": row["arm"] + ("" if row["given"] else " *"),
            "MACs": human(row["macs"]),
            "steps: forward / backward": f"{row['steps']:.1f} / {steps(row['backward_steps'])}",
            "forward ms": f"{row['forward']['median_ms']:.3g}",
            "backward ms": f"{row['backward']['median_ms']:.3g}",
            f"backward ÷ {PLAIN}": ratio(row["arm"], "backward"),
            f"whole step ÷ {PLAIN}": ratio(row["arm"], "gradient"),
        }
        for row in record["rows"]
    ]
    return (
        f"{timing.markdown(pd.DataFrame(rows))}\n\n"
        f"Weights: {record['weights']}; initial ones where the arm has a star. Ratios are of "
        "medians over the rounds that both arms have, with 95 % confidence intervals."
    )


def prepare(name: str, workdir: Path | None) -> tuple[Trained, str]:
    """A run and parameters for its DynaLay, and how to call these.

    Raises:
        UserError: the workdir is not a trained run's, or the config has no agent.
    """
    if workdir is None:
        run = Run.prepare(importlib.import_module(f"configs.{name}").get_config(), Path())
        params = jax.tree.map(jnp.asarray, run.initial().params)
        of, called = Trained(name, run, 0, params), "initial"
    else:
        of = trained(workdir)
        called = f"trained, step {of.step}"
    trains = [phase.name for phase in of.run.task.phases]
    if not {"main", "joint"} <= {*trains}:
        raise UserError(
            f"{workdir or name}: expected a config with phases main and joint, got "
            f"{', '.join(trains)}; a variant without an agent has fewer."
        )
    return of, called


def main() -> None:
    parser = Parser("python -m benchmarks.train_step", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", default="digits", help="name of a file in configs/")
    source.add_argument("--workdir", type=Path, help="of a finished run, for trained weights")
    parser.add_argument("--seconds", type=float, default=240.0, help="for all arms together")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the result")
    with friendly():
        args = parser.parse_args()
        of, called = prepare(args.config, args.workdir)
        rows = measure_arms(of.run, arms(of.run), of.params, args.seconds)
    record = {
        "environment": timing.environment(),
        "config": of.name,
        "batch_size": of.run.config.train.batch_size,
        "weights": called,
        "rows": rows,
    }
    timing.write_json(args.out / f"train_step_{of.name}.json", record)
    print(table(record))


if __name__ == "__main__":
    main()
