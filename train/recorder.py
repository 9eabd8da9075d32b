"""What a run leaves behind while it goes: metrics, progress, validation, checkpoints."""

from collections.abc import Iterator
import contextlib
import dataclasses
import time
from typing import Any

import numpy as np

from train.checkpoint import Checkpoints
from train.console import Progress, percent
from train.errors import UserError
from train.evaluate import Evaluator, Report
from train.metrics import MetricWriter
from train.schedule import Phase
from train.step import Task, measured, unreplicate

PyTree = Any


class Clock:
    """Seconds spent training, evaluation left out, over all restarts."""

    def __init__(self, before: float) -> None:
        self._before, self._start = before, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._start += time.monotonic() - start


@dataclasses.dataclass
class Recorder:
    """Writes down what a run does: metrics, progress, checkpoints."""

    task: Task
    evaluate: Evaluator
    checkpoints: Checkpoints
    writer: MetricWriter
    progress: Progress
    clock: Clock

    def record(self, phase: Phase, waiting: tuple[int, list[PyTree]] | None) -> None:
        """Means over a call's steps, to file and screen; raises if they are not finite."""
        if waiting is None:
            return
        last, metrics = waiting
        each = measured(metrics)
        finite = np.isfinite(each["loss"]) & np.isfinite(each["gradient_norm"])
        if not finite.all():
            step = last - len(finite) + int(np.argmin(finite)) + 1
            raise self._broken("loss or its gradient", step)
        means = {key: float(np.mean(value)) for key, value in each.items()}
        self.writer.write(last, "train", {**means, "phase": phase.name})
        self.progress.update(last, phase.name, means)

    def save(self, step: int, phase: Phase, state: Any, evaluates: bool) -> None:
        """Evaluates on the validation split if asked, and saves a checkpoint."""
        seconds, accuracy = self.clock.seconds, None
        with self.progress.paused(), self.clock.paused():
            if evaluates:
                accuracy = self._validate(step, phase, state)
            host = unreplicate(state)
            self.checkpoints.save(step, host, {"train_seconds": seconds}, accuracy)

    def _validate(self, step: int, phase: Phase, state: Any) -> float | None:
        report = lambda router: self.evaluate(state.evaluated, "validation", router)
        name = self.task.config.router  # the agent's, or the route that a baseline is about
        agent, straight, everything = map(report, (name, "none", "all"))
        values = {
            f"{name}_accuracy": agent.accuracy,
            "straight_accuracy": straight.accuracy,
            "all_layers_accuracy": everything.accuracy,
            "loss": agent.loss,
            "mean_cost": agent.mean_cost,
            "all_layers_cost": everything.mean_cost,
            **{f"action_{i}": share for i, share in enumerate(agent.actions)},
        }
        self.writer.write(step, "validation", {**values, "phase": phase.name})
        if not np.isfinite([agent.loss, straight.loss, everything.loss]).all():
            # The update after the last loss that was looked at did it; nothing is saved of it.
            raise self._broken("validation loss", step)
        self.progress.message(
            f"step {step}: validation accuracy {percent(agent.accuracy)} at cost "
            f"{agent.mean_cost:.2f} (straight {percent(straight.accuracy)} at 0, all layers "
            f"{percent(everything.accuracy)} at {everything.mean_cost:.2f})"
        )
        self._warn_if_collapsed(agent, straight, everything, phase)
        # Before the agent is trained, no checkpoint can be the best.
        return agent.accuracy if name != "agent" or "agent" in phase.trains else None

    def _broken(self, what: str, step: int) -> UserError:
        return UserError(
            f"The {what} is not finite at step {step}; last good checkpoint: "
            f"{self.checkpoints.newest() or 'none was saved'}. Try a lower "
            "config.train.learning_rate, or a lower config.train.clip."
        )

    def _warn_if_collapsed(
        self, agent: Report, straight: Report, everything: Report, phase: Phase
    ) -> None:
        """One action for nearly all, though some samples would be right under another."""
        most = max(range(len(agent.actions)), key=lambda i: agent.actions[i])
        other = straight.each["correct"] | everything.each["correct"]
        missed = np.mean(other & ~agent.each["correct"])
        if "agent" in phase.trains and agent.actions[most] > 0.98 and missed > 0.02:
            self.progress.message(
                f"Warning: the agent takes action {most} for {percent(agent.actions[most])} of the "
                f"validation examples, but {percent(float(missed))} would be right otherwise; try "
                "a lower config.price or a higher config.exploration.entropy."
            )
