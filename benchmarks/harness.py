"""What does the training harness cost over a bare jitted loop?

    python -m benchmarks.harness [--config digits] [--seconds 20]

Both arms take the same steps of the same model on data that lies on the device. The bare arm calls
one jitted step after the other with indices made beforehand, and reads nothing. The harness orders
the examples, maps over devices, reads the means, writes metrics and shows progress. Neither
evaluates nor saves checkpoints, because the config says how often to do so.
"""

import argparse
from collections.abc import Callable, Iterator
import contextlib
import importlib
import io
import itertools
from pathlib import Path
import tempfile
from typing import Any

import jax
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict
import numpy as np
from rich.console import Console

from benchmarks.support import timing
from train import parallel, step
from train.checkpoint import Checkpoints
from train.console import Clock, Progress
from train.data import batches
from train.loop import Recorder
from train.metrics import MetricWriter
from train.run import Run
from train.schedule import Phase

CALLS = 3  # a sample: enough for what the harness does while the device computes


def bare(run: Run, phase: Phase) -> Callable[[], Any]:
    """Takes the steps of `CALLS` calls, jitted one by one."""
    train, split = run.config.train, run.dataset.train
    images, labels = jax.device_put((split.images, split.labels))
    steps = CALLS * train.steps_per_call
    order = batches.batch_indices(len(split.labels), train.batch_size, run.config.seed, 0, steps)
    shares = [jax.device_put(batch) for batch in order]

    def one(state: Any, images: jax.Array, labels: jax.Array, index: jax.Array) -> Any:
        key = jax.random.fold_in(jax.random.key(run.config.seed), state.step)
        batch = (images[index], labels[index])
        return step.train_step(run.task, run.transforms, phase, state, *batch, key)

    # The step takes a mean over devices: here an axis of one.
    mesh, everywhere = jax.make_mesh((1,), (step.AXIS,)), PartitionSpec()
    mapped = jax.shard_map(
        one, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
    )
    jitted = jax.jit(mapped, donate_argnums=0)
    state = run.initial()

    def call() -> Any:
        nonlocal state
        for batch in shares:
            state, metrics = jitted(state, images, labels, batch)
        return metrics

    return call


def harness(run: Run, phase: Phase, recorder: Recorder) -> Callable[[], Any]:
    """Takes the steps of `CALLS` calls as `train.loop` does."""
    train, resident = run.config.train, parallel.Resident(run.dataset.train)
    mapped = parallel.train_steps(run.task, run.transforms, phase)
    state = parallel.replicate(run.initial())
    firsts = itertools.count(step=train.steps_per_call)

    def call() -> Any:
        nonlocal state
        waiting = None
        for first in itertools.islice(firsts, CALLS):
            order = batches.batch_indices(
                resident.count, train.batch_size, run.config.seed, first, train.steps_per_call
            )
            state, metrics = mapped(state, resident, order)
            recorder.record(phase, waiting)
            waiting = (first + train.steps_per_call, metrics)
        recorder.record(phase, waiting)
        return state.step

    return call


@contextlib.contextmanager
def recording(run: Run) -> Iterator[Recorder]:
    """What writes down the harness's means, in a folder that goes afterwards."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Checkpoints(Path(folder) / "checkpoints")) as checkpoints,
        contextlib.closing(MetricWriter(Path(folder), 0)) as writer,
        Progress(
            "", 10**9, run.config.train.batch_size, console=Console(file=io.StringIO())
        ) as progress,
    ):
        yield Recorder(run.task, run.evaluate, checkpoints, writer, progress, Clock())


def measure_phase(run: Run, phase: Phase, seconds: float) -> dict[str, Any]:
    """Milliseconds a step of both arms, and their ratio."""
    with recording(run) as recorder:
        arms = {"bare": bare(run, phase), "harness": harness(run, phase, recorder)}
        times = timing.interleave(arms, seconds)
    steps = CALLS * run.config.train.steps_per_call
    each = {name: timing.summary([t / steps for t in samples]) for name, samples in times.items()}
    return {**each, "ratio": float(np.median(times["harness"]) / np.median(times["bare"]))}


def sentence(record: dict[str, Any]) -> str:
    """What the harness costs over a bare loop, by phase."""
    phases = ", ".join(
        f"{phase['ratio'] - 1:.0%} of {phase['bare']['median_ms']:.1f} ms ({name})"
        for name, phase in record["phases"].items()
    )
    return f"On `{record['config']}`, whose steps are short: {phases}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="digits", help="name of a file in configs/")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each phase")
    args = parser.parse_args()
    config: ConfigDict = importlib.import_module(f"configs.{args.config}").get_config()
    run = Run.prepare(config, Path())
    phases = {phase.name: measure_phase(run, phase, args.seconds) for phase in run.task.phases}
    record = {"environment": timing.environment(), "config": args.config, "phases": phases}
    print(sentence(record))
    timing.write_json(timing.RESULTS / f"harness_{args.config}.json", record)


if __name__ == "__main__":
    main()
