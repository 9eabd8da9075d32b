"""What does a training step cost, and its backward pass? The paper's Table 1, "backward time".

    python -m benchmarks.train_step [--config digits | --workdir WORKDIR] [--seconds 240]

Every arm takes a loss of the same batch and its gradient in the networks that the arm trains:
forward is the loss alone, backward what the gradient takes beyond it in the same round. What is the
same for all arms, augmentation and optimiser, is left out. The arms:

    plain CNN                the straight pass by itself, without agent or solves
    nobody iterates          DynaLay's program on the plain CNN's route, not known beforehand
    DynaLay, main, joint     these phases of training; joint is with the agent's loss
    DynaLay, agent's routes  the main model's loss, each sample on the route that the agent prefers
                             at the price of evaluation, and at a dearer one
    all layers               config:model_L, uniform FPI
    unrolled                 every layer iterated 4 times, gradients through all iterations
    DEQ, one layer           config:deq_*, as wide and small as the middle layer
    DEQ, all layers          DynaLay's layers with a DEQ's cells, all iterated with a DEQ's solvers

How long a solve takes depends on the weights. With --workdir, arms that have a finished run's
parameters have its trained weights, the others those of an initialisation, as the rows say. MACs
are the main model's forward pass; the agent's, and those of actions it only tries, do not count.
"""

from collections.abc import Callable
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

from benchmarks.paper.published import BACKWARD
from benchmarks.support import timed, timing
from configs import _variants
from dynalay_jax import Status
from dynalay_jax.adaptive import inspect, objective, routers
from dynalay_jax.adaptive import model as model_lib
from train import parallel, step
from train import run as finished
from train import state as state_lib
from train.cli import Parser, friendly
from train.console import human
from train.data import batches
from train.errors import UserError
from train.run import Run, build_task

PyTree = Any
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
    loss: Callable
    trains: tuple[str, ...] = ("main",)


def straight_loss(
    task: step.Task, params: PyTree, probe: Any, x: jax.Array, labels: jax.Array, key: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of the straight pass, as a plain CNN would be trained."""
    del probe, key
    variables = state_lib.join(params)
    logits = inspect.call(task.model, variables, model_lib.DynaLay.begin, x).logits
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    targets = optax.smooth_labels(targets, task.config.train.smoothing)
    none = jnp.float32(0)
    means = {"macs": jnp.float32(task.costs.straight), "steps": none, "unconverged": none}
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
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The main model's loss on a router's routes, at a price λ."""
    return objective.main_loss(
        task.model,
        state_lib.join(params),
        x,
        labels,
        router,
        jnp.full(labels.shape, price, jnp.float32),
        key,
        task.costs,
        task.config.train.smoothing,
        probe,
    )


def phase_arm(task: step.Task, name: str) -> Arm:
    """The loss of a phase, exploring as little as in its last step."""
    (phase,) = (phase for phase in task.phases if phase.name == name)

    def loss(task: step.Task, *args: Any) -> Any:
        return step.phase_loss(task, phase, *args, jnp.int32(phase.last - 1))

    task = dataclasses.replace(task, model=step.trained_model(task, phase))
    return Arm(task, loss, phase.trains)


def arms(run: Run) -> dict[str, Arm]:
    """All arms by name; the run is of a config with an agent, in all phases."""
    every = f"model_{len(run.task.model.widths)}"

    def baseline(name: str, **model: Any) -> Arm:
        # Of to_dict(), as a ConfigDict of a frozen one shares its parts with every other.
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
        timed.PLAIN: Arm(run.task, straight_loss),
        # Draws all the same: of a constant, XLA would drop all that iterates.
        "nobody iterates": routes(routers.Random(0.0)),
        main: phase_arm(run.task, "main"),
        joint: phase_arm(run.task, "joint"),
        routed: routes(routers.Agent()),
        f"{routed}, λ = {DEARER:g}": routes(routers.Agent(), DEARER),
        "all layers": baseline(every),
        "unrolled": baseline("unrolled"),
        "DEQ, one layer, Anderson": baseline("deq_anderson"),
        "DEQ, one layer, Broyden": baseline("deq_broyden"),
        "DEQ, all layers, Anderson": baseline(every, solver="anderson", **deq),
        "DEQ, all layers, Broyden": baseline(every, solver="broyden", **deq),
    }


def weights(run: Run, arm: Arm, params: PyTree) -> tuple[PyTree, bool]:
    """The parameters given, where the arm has such; else initial ones; and whether they are."""
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
        `macs` an example; `steps` a solve, and the share of solves `unconverged`; `backward_steps`
        and `backward_unconverged` likewise, None where there was no backward solve.
    """
    out = {name: float(means[name]) for name in ("macs", "steps", "unconverged")}
    # Where nothing is iterated, the probe's cotangent is nobody's account.
    ran = backward is not None and out["steps"] > 0
    solved = np.asarray(backward.status) != Status.SKIPPED if ran else np.zeros((), bool)
    if not solved.any():
        return {**out, "backward_steps": None, "backward_unconverged": None}
    failed = np.asarray(backward.status)[solved] != Status.CONVERGED
    steps = np.asarray(backward.steps)[solved]
    return {
        **out,
        "backward_steps": float(steps.mean()),
        "backward_unconverged": float(failed.mean()),
    }


def measure_arms(
    run: Run, chosen: dict[str, Arm], params: PyTree, seconds: float
) -> list[dict[str, Any]]:
    """Compiles the arms and times them in turn, on the first batch of training.

    For half of the time all of them, for the other half DEQs no more: a round of them takes several
    times as long as one of all others.

    Returns:
        A row an arm: `arm`, `given` (whether it has the weights given), `account`, and `forward`,
        `backward`, `gradient` in milliseconds.
    """
    split, batch = run.dataset.train, run.config.train.batch_size
    (index,) = batches.batch_indices(len(split.labels), batch, run.config.seed, 0, 1)
    x, labels = run.task.normalise(jnp.asarray(split.images[index])), split.labels[index]
    rows, calls = [], {}
    for name, arm in chosen.items():
        own, given = weights(run, arm, params)
        probe = model_lib.probes(arm.task.model, batch)
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
        for part, times in (("forward", forward), ("gradient", gradient)):
            row[part] |= timing.summary(times)
            row[part]["samples_ms"] = [float(f"{t:.4g}") for t in times]
    return rows


def table(record: dict[str, Any]) -> str:
    """The record as Markdown: a row an arm, and what the paper says of it."""
    rows = {row["arm"]: row for row in record["rows"]}
    arms = {arm.name: arm for arm in timed.arms(record)}
    plain, joint = arms[timed.PLAIN], arms[DYNALAY[1]]
    backward = {name: timed.ratio(arm.backward, plain.backward) for name, arm in arms.items()}
    time = lambda name, part: rows[name][part]["median_ms"]
    headers = [
        "arm", "weights", "MACs", "steps: forward / backward", "unconverged", "rounds",
        "forward ms", "backward ms", "p10–p90", f"backward / {plain.name}",
        f"backward / {joint.name}", f"whole / {plain.name}",
    ]  # fmt: skip
    shown = lambda value, form: "—" if value is None else format(value, form)
    lines = [
        [
            name,
            record["weights"] if row["given"] else "initial",
            human(row["macs"]),
            f"{row['steps']:.1f} / {shown(row['backward_steps'], '.1f')}",
            f"{row['unconverged']:.0%} / {shown(row['backward_unconverged'], '.0%')}",
            str(len(arms[name].whole)),
            f"{time(name, 'forward'):.3g}",
            f"{time(name, 'backward'):.3g}",
            f"{row['backward']['p10_ms']:.3g}–{row['backward']['p90_ms']:.3g}",
            str(backward[name]),
            f"{timed.ratio(arms[name].backward, joint.backward).value:.2f}",
            str(timed.ratio(arms[name].whole, plain.whole)),
        ]
        for name, row in rows.items()
    ]
    here = ", ".join(f"{backward[name].value:.2f} ({name})" for name in DYNALAY)
    ours, theirs, deq = (BACKWARD[arm] for arm in ("DynaLay", "plain CNN", "DEQ"))
    return (
        f"{timing.markdown(lines, headers)}\n\n"
        "Ratios are of medians over the rounds that both arms were in, in parentheses their 95 % "
        "confidence intervals. "
        "DynaLay's backward pass against the plain CNN's: in the paper "
        f"{ours / theirs:.3g}, here {here}. A DEQ's against DynaLay's: in "
        f"the paper {deq / ours:.1f}, if its units are the same."
    )


def prepare(name: str, workdir: Path | None) -> tuple[str, Run, PyTree, str]:
    """The result's name, a run, parameters for its DynaLay and what they are called.

    Raises:
        UserError: workdir is not a trained run's, or there is no agent.
    """
    if workdir is None:
        config = importlib.import_module(f"configs.{name}").get_config()
        run = Run.prepare(config, Path())
        params, called = run.initial().params, "initial"
    else:
        run = finished.reopen(workdir)
        trained, replicated = run.restored()
        name, params = workdir.resolve().name.partition("-")[0], parallel.unreplicate(replicated)
        called = f"trained, step {trained}"
    trains = [phase.name for phase in run.task.phases]
    if not {"main", "joint"} <= {*trains}:
        raise UserError(
            f"{workdir or name}: expected a config with phases main and joint, got "
            f"{', '.join(trains)}; a baseline has no agent."
        )
    return name, run, jax.tree.map(jnp.asarray, params), called


def main() -> None:
    parser = Parser("python -m benchmarks.train_step", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", default="digits", help="name of a file in configs/")
    source.add_argument("--workdir", type=Path, help="of a finished run, for trained weights")
    parser.add_argument("--seconds", type=float, default=240.0, help="for all arms together")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the result")
    with friendly():
        args = parser.parse_args()
        name, run, params, called = prepare(args.config, args.workdir)
        rows = measure_arms(run, arms(run), params, args.seconds)
    record = {
        "environment": timing.environment(),
        "config": name,
        "batch_size": run.config.train.batch_size,
        "weights": called,
        "rows": rows,
    }
    timing.write_json(args.out / f"training_{name}.json", record)
    print(table(record))


if __name__ == "__main__":
    main()
