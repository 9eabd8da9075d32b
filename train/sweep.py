"""Trains configs with several seeds, each run in a process of its own.

    python -m train.sweep --configs=digits,connectivity --seeds=0,1,2 --out=workdir/sweep

A run's workdir is OUT/NAME-SEED, and its output goes to OUT/NAME-SEED.log. The same command skips
runs that are done and resumes the others from their newest checkpoints. It exits 0 when all runs
are done, else 1. `python -m benchmarks.paper.results OUT/*/` then collects the results.
"""

import argparse
from collections.abc import Sequence
import contextlib
import itertools
from pathlib import Path
import re
import signal
import subprocess
import sys
import time
from typing import Any

from train import workdir
from train.analysis import seeds
from train.cli import Interrupted, Parser, Stop, folder, friendly
from train.console import percent, print_table
from train.errors import UserError
from train.main import find, label, load

# Exit codes of a run that was stopped: by its own hand, and before it handles signals.
_STOPPED = {code for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) for code in (128 + n, -n)}
# Columns of the table: key of summary.json, format, factor.
_MEASURED = {
    "accuracy": ("test_accuracy", ".1f", 100),
    "mean cost": ("mean_cost", ".2f", 1),
    "straight pass": ("straight_accuracy", ".1f", 100),
    "all layers": ("all_layers_accuracy", ".1f", 100),
    "random": ("random_accuracy", ".1f", 100),
    "minutes": ("train_seconds", ".1f", 1 / 60),
}


class Run:
    """A config with a seed. `state` is "not run", "running", "done", "failed" or "stopped"."""

    def __init__(self, config: str, seed: str, out: Path, overrides: Sequence[str] = ()) -> None:
        """A run of a config, named as for `find`, with overrides as "config.x=y"."""
        self.config, self.seed, self.state = config, seed, "not run"
        self.path = find(config)
        self.workdir = out / f"{label(self.path)}-{seed}"
        self._log = out / f"{self.workdir.name}.log"
        self.fields = [*(f"--{override}" for override in overrides), f"--config.seed={seed}"]

    def summary(self) -> dict[str, Any] | None:
        """Content of summary.json, None if the run is not finished."""
        return workdir.read_record(self.workdir, "summary")

    def say(self, state: str, text: str) -> None:
        """Sets the state and prints it with a text."""
        self.state = state
        print(f"{self.workdir.name} {state} {text}", flush=True)

    def start(self) -> None:
        command = [sys.executable, "-m", "train.main", f"--config={self.path}", *self.fields]
        command.append(f"--workdir={self.workdir}")
        self._began = time.monotonic()
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                # In a group of its own: Ctrl-C of a terminal reaches it through us alone.
                self.process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
        except OSError as error:
            self.say("failed", f"to start: {error.strerror}")
        else:
            self.say("running", f"and writing to {self._log}")

    def look(self) -> None:
        """Sets and prints the state if the process has ended."""
        code = self.process.poll()
        if code is None:
            return
        summary = self.summary()
        after = f"after {time.monotonic() - self._began:.0f} s"
        if code == 0 and summary:
            accuracy, cost = percent(summary["test_accuracy"]), summary["mean_cost"]
            self.say("done", f"{after}: {summary['router']} {accuracy} at a cost of {cost:.2f}")
        elif code in _STOPPED:
            self.say("stopped", after)
        else:
            last = self._log.read_text(errors="replace").rstrip().rpartition("\n")[2]
            killed = f"killed by {signal.Signals(-code).name}" if code < 0 else last
            self.say("failed", f"{after}: {killed}")


def train(runs: Sequence[Run], jobs: int) -> signal.Signals | None:
    """Trains what is not done, `jobs` at a time; returns the signal that stopped it, if any."""
    are = lambda state: [run for run in runs if run.state == state]
    for run in runs:
        if run.summary():
            run.say("done", "already")
    with contextlib.closing(Stop("stopping the runs, which save")) as stop:
        stop.listen()
        try:
            while (are("not run") or are("running")) and not stop.by:
                for run in are("not run")[: jobs - len(are("running"))]:
                    run.start()
                time.sleep(0.1)
                for run in are("running"):
                    run.look()
        finally:
            for run in are("running"):
                run.process.terminate()
            for run in are("running"):
                run.process.wait()
                run.look()
    return stop.by


def print_runs(runs: Sequence[Run]) -> None:
    """Prints one row per run, and per config mean ± sample standard deviation over its seeds."""
    rows = []
    for config, group in itertools.groupby(runs, key=lambda run: run.config):
        done = []
        for run in group:
            summaries = [run.summary()] if run.state == "done" else []
            rows.append([config, run.seed, *_cells(summaries), run.state])
            done += summaries
        if len(done) > 1:
            rows.append([config, f"mean ± std, n = {len(done)}", *_cells(done), ""])
    title = (
        "Test accuracy (%) of the agent, or of the variant's route; mean cost beyond the straight "
        "pass, in straight passes; minutes of training"
    )
    print_table(title, ["config", "seed", *_MEASURED, "state"], rows)


def _cells(summaries: Sequence[Any]) -> list[str]:
    return [
        seeds.spread([summary.get(key) for summary in summaries], form, factor)
        for key, form, factor in _MEASURED.values()
    ]


def _seeds(text: str) -> list[str]:
    """The `type` of --seeds, each once: 00 is 0."""
    try:
        return list(dict.fromkeys(str(int(number)) for number in text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected whole numbers, as 0,1,2, got {text}") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a sweep; exits 1 unless every run is done."""
    parser = Parser("python -m train.sweep", description=__doc__.split("\n")[0])
    names = lambda text: list(dict.fromkeys(text.split(",")))
    add = parser.add_argument
    add("--configs", type=names, required=True, metavar="A,B", help="as digits or digits:model_0")
    add("--seeds", type=_seeds, default="0,1,2", metavar="0,1,2", help="default: 0,1,2")
    add("--out", type=folder, default="workdir/sweep", help="default: workdir/sweep")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time; default: 1")
    more: Any = dict(nargs="+", action="extend", default=[], metavar="config.x=y")
    add("--set", **more, help="fields that change in all runs")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        raise UserError(f"--jobs: expected 1 or more, got {options.jobs}.")
    for text in options.set:
        if not re.fullmatch(r"config\.(?!seed=)[^=]+=.*", text):
            raise UserError(f"--set: expected config.x=y, where x is not seed, got {text!r}.")
    runs = [Run(c, s, options.out, options.set) for c in options.configs for s in options.seeds]
    for run in runs:
        config = load(run.path, run.fields)
        # A single run may be resumed with other prices; the runs of a table may not.
        if workdir.begun(run.workdir):
            workdir.refuse_another(run.workdir, config, free=("data.data_dir",))
    with workdir.held(options.out, "--out"):
        stopped_by = train(runs, options.jobs)
    print_runs(runs)
    if stopped_by:
        raise Interrupted(stopped_by, ". The same command goes on from the last checkpoints.")
    if any(run.state != "done" for run in runs):
        sys.exit(1)
    print(f"To collect them: python -m benchmarks.paper.results {options.out}/*/")


if __name__ == "__main__":
    with friendly():
        main()
