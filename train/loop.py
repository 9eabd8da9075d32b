"""A run from its config to its summary: what `python -m train.main` does, for tests and notebooks.

    summary = train_and_evaluate(config, workdir)

A run resumes by itself from the newest checkpoint in its workdir. Data order, random numbers and
learning rates follow from the config and the step, so a run that was interrupted anywhere ends, on
CPU, with the same bits as one that was not.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from train import evaluate
from train.analysis import difficulty, gallery, residuals, routes
from train.analysis.summary import curve, summarise
from train.checkpoint import Checkpoints
from train.cli import Interrupted, Stop
from train.console import Progress, human, percent, print_table
from train.data import batches
from train.metrics import MetricWriter
from train.plots import run as figures
from train.recorder import Clock, Recorder
from train.run import Run, describe
from train.schedule import Phase
from train.step import Resident, replicate, train_steps, unreplicate
from train.workdir import claim, write_record

PyTree = Any


def train_and_evaluate(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Trains, or goes on training, and evaluates.

    Args:
        config: see `configs/`.
        workdir: of this run alone; gets config, metrics, checkpoints, figures and summary.json.

    Returns:
        The summary: see `summary.summarise` and `hindsight.measure`; `parameters` of the main
        model, `mean_macs` an example, `params_sha256`, `train_seconds`, and `starts`: versions and
        machine of each start that these differ in.

    Raises:
        UserError: something the user can cure.
        Interrupted: SIGTERM or Ctrl-C while training; saved.
    """
    workdir = Path(workdir)
    run = Run.prepare(config, workdir)
    describe(run.task, run.dataset)
    starts = claim(run.workdir, run.config, run.dataset)
    with contextlib.closing(run.checkpoints()) as checkpoints:
        state, seconds = _train(run, checkpoints)
    return _finish(run, state, {"train_seconds": seconds, "starts": starts})


def _train(run: Run, checkpoints: Checkpoints) -> tuple[Any, float]:
    """Trains to the end; returns the replicated state and the seconds that training took."""
    restored = checkpoints.restore_latest(run.template())
    step, state, meta = restored or (0, run.initial(), {"train_seconds": 0.0})
    if restored:
        print(f"Resumed from step {step} of {run.workdir}.")
    state, total = replicate(state), run.task.phases[-1].last
    resident = Resident(run.dataset.train)
    clock = Clock(meta["train_seconds"])
    with (
        Stop().listening() as stop,
        contextlib.closing(MetricWriter(run.workdir, step)) as writer,
        Progress(total, run.config.train.batch_size, unit="examples") as progress,
    ):
        recorder = Recorder(run.task, run.evaluate, checkpoints, writer, progress, clock)
        for phase in run.task.phases:
            if phase.last > step:
                first = max(step, phase.first)
                state = _train_phase(run, phase, first, state, resident, recorder, stop)
    return state, clock.seconds


def _train_phase(
    run: Run,
    phase: Phase,
    first: int,
    state: Any,
    resident: Resident,
    recorder: Recorder,
    stop: Stop,
) -> Any:
    """Steps `first` … of a phase; returns the state at its end."""
    train, per_call = run.config.train, run.config.train.steps_per_call
    call = train_steps(run.task, run.transforms, phase)
    waiting: tuple[int, list[PyTree]] | None = None
    every = max(1, round(run.config.eval_every * (resident.count // train.batch_size) / per_call))
    for step in range(first, phase.last, per_call):
        order = batches.batch_indices(
            resident.count, train.batch_size, run.config.seed, step, per_call
        )
        state, metrics = call(state, resident, order)
        # What the call before measured is read only now, so that the devices never wait for us.
        recorder.record(phase, waiting)
        after = step + per_call
        waiting = (after, metrics)
        ends, evaluates = after == phase.last, after // per_call % every == 0
        stopped_by = stop.by
        if ends or evaluates or stopped_by:
            recorder.record(phase, waiting)
            waiting = None
            recorder.save(after, phase, state, evaluates or ends)
        if stopped_by:
            raise Interrupted(
                stopped_by, f" at step {after}; saved. The same command goes on from there."
            )
    return state


def _finish(run: Run, state: Any, training: dict[str, Any]) -> dict[str, Any]:
    """Evaluates on the test split; writes summary and records (JSON) and the figures."""
    test = run.dataset.test
    # Once for nothing, so that no time is measured that compiles.
    run.evaluate(state.evaluated, "test")
    config, params = run.config, unreplicate(state.evaluated)
    report = evaluate.reports(run.evaluate, state.evaluated, config.price)
    summary = summarise(report, test.difficulty, config.router)
    summary |= {
        "router": config.router,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params["main"])),
        "mean_macs": run.task.costs.straight * (1 + summary["mean_cost"]),
        "steps": run.task.phases[-1].last,
        "seed": config.seed,
        "data": run.dataset.name,
        "price": config.price,
        "params_sha256": fingerprint(params),
        **training,
    }
    agent = config.router == "agent"
    prices, rounds = config.prices if agent else (), run.task.model.rounds
    records = {"curve": curve(report, prices, summary["confidence_route"], rounds)}
    if agent:
        summary |= routes.measure(report, summary["random_accuracy"], rounds)
        if not run.dataset.vocabulary:
            records["gallery"] = gallery.measure(report, test, run.dataset.classes)
        records["residuals"] = residuals.measure(report, config.model.tol)
    if agent and test.difficulty is not None:
        records["difficulty"] = difficulty.measure(report, test, run.dataset.difficulty)
    for name, record in records.items():
        write_record(run.workdir, name, record)
    figures.draw(run.workdir)
    # Last: a run that has its summary has everything.
    write_record(run.workdir, "summary", summary)
    _print_summary(summary, run)
    return summary


def _print_summary(summary: dict[str, Any], run: Run) -> None:
    rows = [
        [name, percent(summary[f"{key}_accuracy"]), f"{cost:.2f}"]
        for name, key, cost in (
            ("straight pass", "straight", 0.0),
            (summary["router"], "test", summary["mean_cost"]),
            ("random", "random", summary["random_cost"]),
            ("confidence", "confidence", summary["confidence_cost"]),
            ("all layers", "all_layers", summary["all_layers_cost"]),
        )
    ]
    title = f"Test set of {summary['test_examples']}; cost beyond the straight pass, in multiples"
    print_table(title, ["router", "accuracy", "mean cost"], rows)
    steps = [summary["steps_when_straight_wrong"], summary["steps_when_straight_right"]]
    shown = ["—" if s is None else f"{s:.2f}" for s in steps]
    print(
        f"Mean steps spent where the straight pass is wrong: {shown[0]}, where it is right: "
        f"{shown[1]}."
    )
    if summary["median_residual"] is not None:
        print(
            f"Of the samples iterated, {percent(summary['converged'])} converged; median residual "
            f"{summary['median_residual']:.1e}, tolerance {run.config.model.tol:g}."
        )
    print(f"Trained for {human(summary['train_seconds'])} s. Everything is in {run.workdir}.")


def fingerprint(tree: PyTree) -> str:
    """SHA-256 over all leaves: names, shapes, dtypes and bytes, in the order of the tree."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def evaluate_only(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Evaluates a checkpoint with `config.router` at `config.price` on the test split.

    Raises:
        UserError: there is no checkpoint, or no such router.
    """
    workdir = Path(workdir)
    run = Run.reopen(config, workdir)
    step, params = run.restored()
    run.evaluate(params, "test", config.router)  # compiles
    report = run.evaluate(params, "test", config.router)
    result = {
        "router": config.router,
        "price": config.price,
        "step": step,
        "test_examples": len(report.each["correct"]),
        **report.point(),
        "actions": report.actions,
        "images_per_second": len(report.each["correct"]) / report.seconds,
    }
    speed = human(result["images_per_second"])
    row = [config.router, config.price, percent(report.accuracy), f"{report.mean_cost:.2f}", speed]
    columns = ["router", "price", "accuracy", "mean cost", "images/s"]
    print_table(f"Step {step}, test set of {result['test_examples']}", columns, [row])
    name = f"eval_{config.router.replace(':', '_')}_{config.price:g}"
    write_record(run.workdir, name, result)
    return result
