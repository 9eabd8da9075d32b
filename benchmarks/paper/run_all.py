"""Everything that the results show, with one command.

    python -m benchmarks.paper.run_all --scale=small [--workdir=workdir/paper] [--seeds=3]

Trains configs and variants, runs the follow-up studies, times, collects the records in
benchmarks/results and writes the pages. Two configs run at a time, each on half of the cores; what
is timed has the machine to itself at the end. What is done is skipped, so the same command goes on
where it was stopped. If a command fails, the rest of its config is left out.

`small` takes a little over two hours on the two threads of one core; `medium`, with more seeds,
static nets and the texts, seven to eight; `full` adds the paper's own setting, which needs a GPU.
--seeds is the number of seeds of every config and variant. TFDS looks for data where the
environment variable TFDS_DATA_DIR says.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import dataclasses
import os
from pathlib import Path
import queue
import re
import signal
import subprocess
import sys
import time

from train.main import label


@dataclasses.dataclass(frozen=True)
class Plan:
    """Runs of a config and its variants, and what is measured with the finished runs.

    Attributes:
        config: name in configs/.
        seeds: of the config and of its variants.
        variants: see `configs._variants`.
        once: further variants, with the first seed alone.
        studies: whether early exit, fixed points and calibration are studied.
        corruption: whether corrupted images are evaluated.
        risk: greatest extra error that `calibrate` allows.
        larger: other test data, as `extrapolate` takes them, for the config and its static nets.
        timed: benchmarks that take a finished run.
    """

    config: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    studies: bool = True
    corruption: bool = False
    risk: float = 0.02
    larger: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()

    def sweeps(self) -> dict[tuple[int, ...], list[str]]:
        """The config with its variants, by the seeds that they are trained with."""
        named = lambda variants: [f"{self.config}:{name}" for name in variants]
        found = {self.seeds: [self.config, *named(self.variants)]}
        if self.once:
            found.setdefault(self.seeds[:1], []).extend(named(self.once))
        return found

    def with_seeds(self, count: int) -> "Plan":
        """The plan with this number of seeds of the config and of all variants."""
        seeds = tuple(range(self.seeds[0], self.seeds[0] + count))
        variants = (*self.variants, *self.once)
        return dataclasses.replace(self, seeds=seeds, variants=variants, once=())


_MODELS = ("model_0", "model_1", "model_2", "model_3")
_DEAR = (
    "resnet20", "unrolled", "deq_anderson", "deq_broyden", "cell_concave", "cell_orthogonal",
    "cell_bounded", "cell_free",
)  # fmt: skip
# Variants with nothing to iterate, and those that have an agent and other solves.
_STATIC = re.compile(r"model_0|wide_|deep_|residual_|resnet20|all_")
_SOLVED = re.compile(r"cell_|loose")


def _variants(macs: float) -> tuple[str, ...]:
    """With static nets that have the agent's MACs, as a multiple of the straight pass's."""
    matched = ("wide_parameters", "deep_parameters", f"wide_{macs}x", f"deep_{macs}x")
    return (*_MODELS, *matched, "no_warmup")


# Static nets of digits with the agent's MACs, and with the agent's time.
_OF_MACS, _OF_TIME = ("wide_1.3x", "deep_1.3x"), ("wide_3x", "deep_2x")
_TIMED = ("train_step", "routed_pass")
# Chosen by results that are shown: that digits are mostly trained jointly, by these seeds; how long
# mazes are trained, by seeds 31 and 32; their tolerance, by 30, 31 and 32.
_DIGITS = Plan("digits", (10, 11, 12), corruption=True, risk=0.05, timed=_TIMED)
_CIFAR10 = Plan("cifar10_small", (10,), corruption=True, timed=("train_step",))
_SCALES = Plan("scales", (41,), larger=("blocks=(1,),(2,)", "grid=12,16,20"))
_MAZES = Plan("mazes", (30,), larger=("side=5,7,10",))
_PARITY = (Plan("parity", (10,)), Plan("parity_extrapolation", (10,)))
# The longest come first.
_SMALL = (
    _CIFAR10,
    dataclasses.replace(
        _DIGITS, variants=(*_OF_MACS, *_OF_TIME), once=(*_MODELS, "no_warmup", *_DEAR)
    ),
    _SCALES,
    _MAZES,
    *_PARITY,
)
_MEDIUM = (
    dataclasses.replace(_DIGITS, variants=(*_variants(1.3), *_OF_TIME), once=_DEAR),
    dataclasses.replace(_CIFAR10, once=("model_0", "deep_1.6x"), timed=_TIMED),
    dataclasses.replace(_SCALES, seeds=(41, 42, 43), once=("wide_9.9x", "deep_9.9x"), timed=_TIMED),
    Plan("connectivity", (30,), larger=("grid=12,16,20",)),
    dataclasses.replace(_MAZES, seeds=(30, 31, 32), once=("residual_26.4x", "loose")),
    *_PARITY,
    Plan("imdb", (10,)),
    # No layer gains here, and early exit keeps every class's probability in memory.
    Plan("wikitext2", (10,), studies=False),
)
# Static nets of 15 to 69 million MACs, trained like the model.
_ENVELOPE = ("model_0", "all_0.6x", "all_1x", "all_1.6x", "all_2.1x", "model_3")
_FULL = tuple(
    Plan(name, (0, 1), _ENVELOPE, _DEAR, corruption=True, risk=0.01, timed=_TIMED)
    for name in ("cifar10", "cifar100")
)
SCALES = {"small": _SMALL, "medium": _MEDIUM, "full": (*_MEDIUM, *_FULL)}


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, `python -m …`, of a plan.

    Attributes:
        config: of the plan.
        command: module and arguments.
        makes: the file that shows that it is done, if any.
        alone: whether it times something, and needs the machine to itself.
    """

    config: str
    command: tuple[str, ...]
    makes: Path | None = None
    alone: bool = False


def steps(plan: Plan, out: Path) -> Iterator[Step]:
    """The commands of a plan, in order; those that time something come last.

    Args:
        plan: of a config.
        out: folder of the runs' workdirs.
    """
    for seeds, configs in plan.sweeps().items():
        each = f"--configs={','.join(configs)}", f"--seeds={','.join(map(str, seeds))}"
        yield Step(plan.config, ("train.sweep", *each, f"--out={out}"))

    def study(name: str, folder: Path, *options: str, of: str = "") -> Step:
        command = (f"train.studies.{name}", str(folder), *options)
        return Step(plan.config, command, folder / f"{name}{of}.json")

    own = [out / f"{plan.config}-{seed}" for seed in plan.seeds]
    static, solved = (_first_runs(plan, out, which) for which in (_STATIC, _SOLVED))
    for folder in own:
        if plan.studies:
            yield study("early_exit", folder)
            yield study("fixed_points", folder)
            for router in ("agent", "confidence"):
                options = f"--risk={plan.risk}", f"--router={router}"
                yield study("calibrate", folder, *options, of=f"_{router}")
        if plan.corruption:
            yield study("corruption", folder)
        for judge in static[-1:]:  # one judge, the last that is trained
            yield study("difficulty_judge", folder, str(judge))
    for folder in solved if plan.studies else ():
        yield study("fixed_points", folder)
    for folder in (*own, *static):
        for values in plan.larger:
            yield study("extrapolate", folder, values, of=f"_{values.partition('=')[0]}")
    options = {
        "train_step": (f"--workdir={own[0]}",),
        "routed_pass": (str(own[0]), *(["--static", *map(str, static)] if static else [])),
    }
    for name in plan.timed:
        command = (f"benchmarks.{name}", *options[name], f"--out={own[0]}")
        yield Step(plan.config, command, own[0] / f"{name}_{plan.config}.json", alone=True)


def _first_runs(plan: Plan, out: Path, which: re.Pattern) -> list[Path]:
    """The first runs of the variants whose names match."""
    names = (name for name in (*plan.variants, *plan.once) if which.match(name))
    return [out / f"{plan.config}_{name}-{plan.seeds[0]}" for name in names]


def collection(plans: Sequence[Plan], out: Path) -> list[Step]:
    """The commands that collect the finished runs and write the pages."""
    workdirs = [
        out / f"{label(config)}-{seed}"
        for plan in plans
        for seeds, configs in plan.sweeps().items()
        for config in configs
        for seed in seeds
    ]
    done = [str(folder) for folder in workdirs if (folder / "summary.json").exists()]
    commands = ("benchmarks.paper.results", *done), ("benchmarks.paper.readme",)
    return [Step("collection", command) for command in commands] if done else []


def carry_out(steps: Sequence[Step], jobs: int = 1, programs: Path | None = None) -> list[str]:
    """Runs what is not done yet. After a failure the other commands of that config are left out.

    Args:
        steps: of several plans, each plan's in order.
        jobs: configs at a time, each on its share of the cores; what runs alone comes after them.
        programs: folder where the commands of a config keep compiled programs for each other. What
            runs alone compiles anew.

    Returns:
        The failures, in words.
    """
    failed: dict[str, str] = {}

    def carry_out_one(number: int, step: Step) -> None:
        name = f"[{number}/{len(steps)}] {' '.join(step.command)}"
        if step.makes and step.makes.exists():
            print(f"{name}: done already", flush=True)
        elif step.config in failed:
            print(f"{name}: left out", flush=True)
        else:
            print(name, flush=True)
            begun = time.monotonic()
            environment = dict(os.environ)
            if programs and not step.alone:
                # A folder each: two processes that write at a time may spoil each other's files.
                environment["JAX_COMPILATION_CACHE_DIR"] = str((programs / step.config).absolute())
            code = subprocess.call([sys.executable, "-m", *step.command], env=environment)
            print(f"{name}: took {time.monotonic() - begun:.0f} s", flush=True)
            if code:
                failed[step.config] = f"{name}: ended with {code}"

    numbered = list(enumerate(steps, 1))
    chains: dict[str, list[tuple[int, Step]]] = {}
    for number, step in numbered:
        if not step.alone:
            chains.setdefault(step.config, []).append((number, step))
    with futures.ThreadPoolExecutor(jobs, initializer=_claim(jobs)) as pool:
        run = lambda chain: [carry_out_one(*each) for each in chain]
        at_work = [pool.submit(run, chain) for chain in chains.values()]
        try:
            for config in at_work:
                config.result()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    for number, step in numbered:
        if step.alone:
            carry_out_one(number, step)
    return list(failed.values())


def _claim(jobs: int) -> Callable[[], None] | None:
    """Gives the thread that calls it, and the processes it starts, a share of the cores.

    None on systems that cannot: only Linux gives threads cores of their own.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores, shares = sorted(os.sched_getaffinity(0)), queue.SimpleQueue[set[int]]()
    for job in range(jobs):
        shares.put(set(cores[job::jobs]) or set(cores))
    return lambda: os.sched_setaffinity(0, shares.get())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--workdir", type=Path, default=Path("workdir/paper"))
    parser.add_argument("--seeds", type=int, choices=range(1, 10), help="of each config")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="configs at a time")
    parser.add_argument("--dry_run", action="store_true", help="only print the commands")
    options = parser.parse_args()
    # `train` lets a Ctrl-C end the imports at once; from here on, what runs may save first.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plans = SCALES[options.scale]
    if options.seeds:
        plans = tuple(plan.with_seeds(options.seeds) for plan in plans)
    todo = [step for plan in plans for step in steps(plan, options.workdir)]
    if options.dry_run:
        for step in todo:
            print(" ".join(("python -m", *step.command)))
        return
    failed = carry_out(todo, options.jobs, options.workdir / "compiled")
    failed += carry_out(collection(plans, options.workdir))
    if failed:
        sys.exit("\n".join([*failed, "The same command goes on from there."]))


if __name__ == "__main__":
    main()
