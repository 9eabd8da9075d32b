"""A run from its config to its summary: what `python -m train.main` does, for tests and notebooks.

    summary = train_and_evaluate(config, workdir)

The phases are those of the paper (Sec. 4.4-4.5): the main model, then the agent, then both. A run
resumes from the newest checkpoint in its workdir. The order of the data, random numbers and
learning rates follow from the config and the step: a run that was interrupted ends, on CPU, with
the same bits as one that was not.
"""

import contextlib
import dataclasses
from pathlib import Path
import re
import signal
from typing import Any

import jax
import ml_collections
import numpy as np

from train import export
from train import workdir as workdirs
from train.analysis.summary import analyse
from train.checkpoint import Checkpoints
from train.cli import Interrupted, Stop
from train.config import check
from train.console import Clock, Progress, human, percent, print_table, shown
from train.data import batches, loading
from train.data.types import Dataset
from train.errors import UserError
from train.evaluate import Evaluator, Report, reports
from train.metrics import MetricWriter
from train.parallel import Resident, measured, replicate, train_steps, unreplicate
from train.plots.run import draw
from train.run import Run, describe
from train.schedule import Phase
from train.state import TrainState, fingerprint
from train.step import Task

PyTree = Any


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: str | Path, dataset: Dataset | None = None
) -> dict[str, Any]:
    """Trains, or goes on training, and evaluates. A finished run stays as it is.

    Args:
        config: see `configs/`.
        workdir: folder of this run alone; gets config, metrics, checkpoints, figures and records.
        dataset: of images, in place of the one that `config.data` names; see `loading.complete`.

    Returns:
        The summary: see `analysis.summary.analyse`; `router`, `price`, `seed` and `data` of the
        run; `parameters` of the main model, `mean_macs` an example, `steps`, `params_sha256`,
        `train_seconds`, and `starts`: versions and machine of each start, without repetition.

    Raises:
        UserError: something the user can cure.
        Interrupted: a signal while training; the run is saved.
    """
    workdir = Path(workdir)
    if dataset is not None:
        config = ml_collections.ConfigDict({**config.to_dict(), "data": loading.given(dataset)})
    frozen = check(config, jax.local_device_count())
    with workdirs.held(workdir):
        if summary := workdirs.summary_if_finished(workdir, frozen):
            print(
                f"The run in {workdir} is finished: nothing to train. --mode=eval evaluates it "
                "with another router or price."
            )
            return summary
        if dataset is None:
            with Progress(f"Loading {frozen.data.name}"):
                dataset = loading.load(frozen.data)
        run = Run.of(frozen, workdir, dataset)
        describe(run.task, dataset)
        starts = workdirs.claim(workdir, frozen, dataset)
        state, seconds = _train(run)
        with Progress("Evaluating the test split"):
            summary, records = _measure(run, state)
        summary |= {"train_seconds": seconds, "starts": starts}
        for name, record in records.items():
            workdirs.write_record(workdir, name, {**run.settings(summary["steps"]), **record})
        params = unreplicate(state.evaluated)
        export.write(run, params, summary["steps"], records["curve"], workdir / export.FOLDER)
        with Progress("Drawing the figures"):
            draw(workdir)
        # Last: a run that has its summary has everything.
        workdirs.write_record(workdir, "summary", summary)
    _print_summary(summary, run)
    return summary


def _train(run: Run) -> tuple[TrainState, float]:
    """Trains by phases; returns the replicated state and the seconds that training took."""
    total, batch = run.task.phases[-1].last, run.config.train.batch_size
    with contextlib.closing(run.checkpoints()) as checkpoints:
        restored = checkpoints.restore_latest(run.template())
        step, state, meta = restored or (0, run.initial(), {"train_seconds": 0.0})
        if restored:
            print(f"Resumed from step {step} of {run.workdir}.")
        state, data = replicate(state), Resident(run.dataset.train)
        clock = Clock(meta["train_seconds"])
        with (
            contextlib.closing(Stop("saving")) as stop,
            contextlib.closing(MetricWriter(run.workdir, step)) as writer,
            Progress("", total, batch, unit="examples", clock=clock, after=0.0) as progress,
        ):
            recorder = Recorder(run.task, run.evaluate, checkpoints, writer, progress, clock)
            for phase in run.task.phases:
                first = max(step, phase.first)
                if first < phase.last:
                    state = _train_phase(run, phase, first, state, data, recorder, stop)
        if stop.by:
            raise _saved(stop.by, total)
        return state, clock.seconds


def _saved(by: signal.Signals, step: int) -> Interrupted:
    return Interrupted(by, f" at step {step}; saved. The same command goes on from there.")


def _train_phase(
    run: Run,
    phase: Phase,
    first: int,
    state: TrainState,
    data: Resident,
    recorder: "Recorder",
    stop: Stop,
) -> TrainState:
    """Takes the steps `first` … of a phase; returns the state at its end."""
    settings, per_call = run.config.train, run.config.train.steps_per_call
    run_steps = train_steps(run.task, run.transforms, phase)
    steps_between = run.config.eval_every * (data.count // settings.batch_size)
    calls_between_evaluations = max(1, round(steps_between / per_call))
    recorder.progress.begin(phase.name, first, "compiling")
    unread: tuple[int, list[PyTree]] | None = None
    for step in range(first, phase.last, per_call):
        indices = batches.batch_indices(
            data.count, settings.batch_size, run.config.seed, step, per_call
        )
        state, metrics = run_steps(state, data, indices)
        # The metrics of the call before are read only now, so that the devices never wait for us.
        recorder.record(phase, unread)
        after = step + per_call
        unread = (after, metrics)
        # Until the first call is compiled there is nothing to save.
        stop.listen()
        evaluation_due = after == phase.last or after // per_call % calls_between_evaluations == 0
        stopped_by = stop.by
        if evaluation_due or stopped_by:
            recorder.record(phase, unread)
            unread = None
            recorder.save(after, phase, state, evaluation_due)
        if stopped_by:
            raise _saved(stopped_by, after)
    return state


def _measure(run: Run, state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """The summary and the records of a trained run, on the test split."""
    params = unreplicate(state.evaluated)
    summary, records = analyse(reports(run.evaluate, state.evaluated, run.config.price), run)
    summary |= {
        "router": run.config.router,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params["main"])),
        "mean_macs": run.task.costs.straight * (1 + summary["mean_cost"]),
        "steps": run.task.phases[-1].last,
        "seed": run.config.seed,
        "data": run.dataset.name,
        "price": run.config.price,
        "params_sha256": fingerprint(params),
    }
    return summary, records


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
    title = f"Test set of {summary['test_examples']}; cost in straight passes, beyond the first"
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
    print(
        f"Trained for {human(summary['train_seconds'])} s. Everything is in {run.workdir}, "
        f"the model in {run.workdir / export.FOLDER}."
    )


def evaluate_only(config: ml_collections.ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Evaluates a checkpoint with `config.router` at `config.price` on the test split.

    The record's name says which of the run's settings were changed, as eval_agent_0.3_grid_16.

    Raises:
        UserError: there is no checkpoint, or no such router.
    """
    run = Run.to_evaluate(config, Path(workdir))
    step, params = run.restored()
    with Progress("Evaluating the test split"):
        run.evaluate(params, "test", config.router)  # compiles: the second call alone is timed
        report = run.evaluate(params, "test", config.router)
    changed = workdirs.differences(run.workdir, run.config, workdirs.FREE)
    result = {
        **run.settings(step),
        "data": run.config.data.to_dict(),
        "test_examples": len(report.each["correct"]),
        **report.point(),
        "actions": report.actions,
        "images_per_second": len(report.each["correct"]) / report.seconds,
    }
    speed = human(result["images_per_second"])
    row = [config.router, config.price, percent(report.accuracy), f"{report.mean_cost:.2f}", speed]
    columns = ["router", "price", "accuracy", "mean cost", "images/s"]
    print_table(f"Step {step}, test set of {result['test_examples']}", columns, [row])
    parts = ["eval", config.router, f"{config.price:.9g}"]
    parts += [f"{field.rpartition('.')[2]}_{value}" for field, (_, value) in changed.items()]
    parts += [f"step_{step}"] if step < run.task.phases[-1].last else []
    name = re.sub(r"[^\w.]+", "_", "_".join(parts))
    workdirs.write_record(run.workdir, name, result)
    return result


@dataclasses.dataclass
class Recorder:
    """Writes down what a run does: metrics, progress, checkpoints."""

    task: Task
    evaluate: Evaluator
    checkpoints: Checkpoints
    writer: MetricWriter
    progress: Progress
    clock: Clock

    def record(self, phase: Phase, unread: tuple[int, list[PyTree]] | None) -> None:
        """Writes and shows the means of a call.

        Args:
            phase: of the call.
            unread: the step after the call, and its metrics on the devices; None if there are none.

        Raises:
            UserError: the loss or its gradient is not finite; names the first such step.
        """
        if unread is None:
            return
        last, metrics = unread
        each = measured(metrics)
        finite = np.isfinite(each["loss"]) & np.isfinite(each["gradient_norm"])
        if not finite.all():
            step = last - len(finite) + int(np.argmin(finite)) + 1
            raise self._not_finite("loss or its gradient", step)
        means = {key: float(np.mean(value)) for key, value in each.items()}
        self.writer.write(last, "train", {**means, "phase": phase.name})
        self.progress.update(last, shown(means))

    def save(self, step: int, phase: Phase, state: TrainState, evaluation_due: bool) -> None:
        """Evaluates on the validation split if an evaluation is due, and saves a checkpoint."""
        seconds, accuracy = self.clock.seconds, None
        with self.clock.paused():
            if evaluation_due:
                accuracy = self._validate(step, phase, state)
            host = unreplicate(state)
            self.checkpoints.save(step, host, {"train_seconds": seconds}, accuracy)

    def _validate(self, step: int, phase: Phase, state: TrainState) -> float | None:
        report = lambda router: self.evaluate(state.evaluated, "validation", router)
        name = self.task.config.router  # the agent, or the route of a variant without one
        own, straight, all_layers = map(report, (name, "none", "all"))
        values = {
            f"{name}_accuracy": own.accuracy,
            "straight_accuracy": straight.accuracy,
            "all_layers_accuracy": all_layers.accuracy,
            "loss": own.loss,
            "mean_cost": own.mean_cost,
            "all_layers_cost": all_layers.mean_cost,
            **{f"action_{i}": share for i, share in enumerate(own.actions)},
        }
        self.writer.write(step, "validation", {**values, "phase": phase.name})
        if not np.isfinite([own.loss, straight.loss, all_layers.loss]).all():
            # The training loss was still finite: the last update broke the parameters.
            raise self._not_finite("validation loss", step)
        print(
            f"step {step}: validation accuracy {percent(own.accuracy)} at cost "
            f"{own.mean_cost:.2f} (straight {percent(straight.accuracy)} at 0, all layers "
            f"{percent(all_layers.accuracy)} at {all_layers.mean_cost:.2f})",
            flush=True,
        )
        self._warn_if_collapsed(own, straight, all_layers, phase)
        # Before the agent is trained, no checkpoint can be the best.
        return own.accuracy if name != "agent" or phase.trains_agent else None

    def _not_finite(self, what: str, step: int) -> UserError:
        return UserError(
            f"The {what} is not finite at step {step}; last good checkpoint: "
            f"{self.checkpoints.newest() or 'none was saved'}. Try a lower "
            "config.train.learning_rate, or a lower config.train.clip."
        )

    def _warn_if_collapsed(
        self, agent: Report, straight: Report, all_layers: Report, phase: Phase
    ) -> None:
        """Warns if nearly all samples take one route although others would be right for more."""
        most = max(range(len(agent.actions)), key=lambda i: agent.actions[i])
        other = straight.each["correct"] | all_layers.each["correct"]
        missed = np.mean(other & ~agent.each["correct"])
        if phase.trains_agent and agent.actions[most] > 0.98 and missed > 0.02:
            print(
                f"Warning: the agent takes action {most} for {percent(agent.actions[most])} of the "
                f"validation examples, but {percent(float(missed))} would be right otherwise; try "
                "a lower config.price or a higher config.exploration.entropy."
            )
