"""All evidence with one command: trains, compares, times, and writes the page about it.

    python -m benchmarks.paper.run_all --scale=small [--workdir=workdir/paper] [--seeds=3]

Two configs are at work at a time, each on half of the cores; what is timed has the machine to
itself afterwards. What is done is skipped, so the same command goes on where it was stopped. Where
a command fails, for want of data perhaps, the rest of its config is left out, and the others go on.
`--scale=small` takes a little over two hours on the two threads of one core, and can be spread out;
`medium`, with more seeds, static nets and the texts, takes seven to eight; `full` adds the paper's
own settings, which want a GPU. With --seeds configs and all variants have so many, from their first
on. What is there already is not done again, also where a larger scale would time or judge it beside
more static nets. TFDS looks for data where the environment variable TFDS_DATA_DIR says. Writes
JSON, figures and report.html to results/SCALE, from which `python -m benchmarks.paper.readme`
brings the README's tables up to date.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import dataclasses
import os
from pathlib import Path
import queue
import re
import subprocess
import sys
import time

from benchmarks.support import timing
from train.main import label


@dataclasses.dataclass(frozen=True)
class Study:
    """Runs of a config and its variants, and what is asked of the finished runs.

    Attributes:
        config: name in configs/.
        seeds: of the config and of its variants.
        variants: baselines, see `configs.baselines`.
        once: further variants, of the first seed alone.
        asked: whether halting routers are trained, solves checked, and settings calibrated.
        robustness: whether corrupted images are evaluated.
        risk: greatest extra error that `calibrate` allows.
        beyond: other test data, as `extrapolate` takes them; static nets are asked, too.
        timed: what is timed, training steps and routers.
    """

    config: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    asked: bool = True
    robustness: bool = False
    risk: float = 0.02
    beyond: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()


_MODELS = ("model_0", "model_1", "model_2", "model_3")
_DEAR = (
    "resnet20", "unrolled", "deq_anderson", "deq_broyden", "cell_concave", "cell_orthogonal",
    "cell_bounded", "cell_free",
)  # fmt: skip
# Variants with nothing to iterate, and those that have an agent and other solves.
_STATIC = re.compile(r"model_0|wide_|deep_|residual_|resnet20")
_SOLVED = re.compile(r"cell_|loose")


def _variants(macs: float) -> tuple[str, ...]:
    """With static nets of so many times the straight pass's MACs, as the agent has."""
    matched = ("wide_parameters", "deep_parameters", f"wide_{macs}x", f"deep_{macs}x")
    return (*_MODELS, *matched, "no_warmup")


# Static nets of as many MACs as the agent's on digits, and of as much time.
_OF_MACS, _OF_TIME = ("wide_1.3x", "deep_1.3x"), ("wide_3x", "deep_2x")
_TIMED = ("training", "routers")
# Chosen by results of seeds that are shown: by these of digits, that they are mostly trained
# jointly; by 31 and 32, for how long mazes are trained; by 30, 31 and 32 their tolerance.
_DIGITS = Study("digits", (10, 11, 12), robustness=True, risk=0.05, timed=_TIMED)
_CIFAR10 = Study("cifar10_small", (10,), robustness=True, timed=("training",))
_SCALES = Study("scales", (41,), beyond=("blocks=(1,),(2,)", "grid=12,16,20"))
_MAZES = Study("mazes", (30,), beyond=("side=5,7,10",))
_PARITY = (Study("parity", (10,)), Study("parity_extrapolation", (10,)))
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
    Study("connectivity", (30,), beyond=("grid=12,16,20",)),
    dataclasses.replace(_MAZES, seeds=(30, 31, 32), once=("residual_26.4x", "loose")),
    *_PARITY,
    Study("imdb", (10,)),
    # Nothing gains here, and halting routers keep every class's probability in memory.
    Study("wikitext2", (10,), asked=False),
)
_FULL = tuple(
    Study(name, (0, 1, 2), (*_variants(2.0), *_DEAR), robustness=True, risk=0.01, timed=_TIMED)
    for name in ("cifar10", "cifar100")
)
SCALES = {"small": _SMALL, "medium": _MEDIUM, "full": (*_MEDIUM, *_FULL)}


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, `python -m …`, of a study.

    Attributes:
        study: config of the study.
        command: module and arguments.
        makes: the file that tells that it is done, if any.
        alone: whether it times something, and wants the machine to itself.
    """

    study: str
    command: tuple[str, ...]
    makes: Path | None = None
    alone: bool = False


def with_seeds(study: Study, count: int) -> Study:
    """The study with so many seeds of the config and of all variants, from the first on."""
    first = study.seeds[0]
    seeds, variants = tuple(range(first, first + count)), (*study.variants, *study.once)
    return dataclasses.replace(study, seeds=seeds, variants=variants, once=())


def sweeps(study: Study) -> dict[tuple[int, ...], list[str]]:
    """Configs with their variants, by the seeds that they are trained with."""
    named = lambda variants: [f"{study.config}:{name}" for name in variants]
    found = {study.seeds: [study.config, *named(study.variants)]}
    if study.once:
        found.setdefault(study.seeds[:1], []).extend(named(study.once))
    return found


def plan(study: Study, out: Path) -> Iterator[Step]:
    """The commands of a study, in order; those that time something come last.

    Args:
        study: what is trained and asked.
        out: folder of the runs' workdirs.
    """
    for seeds, configs in sweeps(study).items():
        each = f"--configs={','.join(configs)}", f"--seeds={','.join(map(str, seeds))}"
        yield Step(study.config, ("train.sweep", *each, f"--out={out}"))
    for command, makes in _questions(study, out):
        yield Step(study.config, command, makes)
    for command, makes in _timings(study, out):
        yield Step(study.config, command, makes, alone=True)


def _questions(study: Study, out: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """What is asked of the finished runs of a config, and what answers it: files of the run."""
    for seed in study.seeds:
        folder = out / f"{study.config}-{seed}"
        ask = lambda name, *rest, folder=folder: (f"train.studies.{name}", str(folder), *rest)
        if study.asked:
            yield ask("early_exit"), folder / "early_exit.json"
            yield ask("fixed_points"), folder / "fixed_points.json"
        if study.robustness:
            yield ask("corruption"), folder / "corruption.json"
        for router in ("agent", "confidence") if study.asked else ():
            command = ask("calibrate", f"--risk={study.risk}", f"--router={router}")
            yield command, folder / f"calibrate_{router}.json"
        for judge in _first(study, out, _STATIC)[-1:]:  # at most one, the last that is trained
            yield ask("difficulty_judge", str(judge)), folder / "difficulty_judge.json"
    for folder in _first(study, out, _SOLVED) if study.asked else ():
        yield ("train.studies.fixed_points", str(folder)), folder / "fixed_points.json"
    own = (out / f"{study.config}-{seed}" for seed in study.seeds)
    for folder in (*own, *_first(study, out, _STATIC)):
        for values in study.beyond:
            makes = folder / f"extrapolate_{values.partition('=')[0]}.json"
            yield ("train.studies.extrapolate", str(folder), values), makes


def _first(study: Study, out: Path, which: re.Pattern) -> list[Path]:
    """The first runs of such variants."""
    names = (name for name in (*study.variants, *study.once) if which.match(name))
    return [out / f"{study.config}_{name}-{study.seeds[0]}" for name in names]


# What times a record.
_BENCHMARKS = {"training": "train_step", "routers": "routed_pass"}


def _timings(study: Study, out: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """What is timed with the weights of a config's first run, and the file with the times."""
    folder = out / f"{study.config}-{study.seeds[0]}"
    static = list(map(str, _first(study, out, _STATIC)))
    runs = {
        "training": (f"--workdir={folder}",),
        "routers": (str(folder), *(["--static", *static] if static else [])),
    }
    for name in study.timed:
        makes = folder / f"{name}_{study.config}.json"
        yield (f"benchmarks.{_BENCHMARKS[name]}", *runs[name], f"--out={folder}"), makes


def collection(studies: Sequence[Study], out: Path, results: Path) -> list[Step]:
    """The commands that collect, and write the page about, the runs that are finished."""
    workdirs = [
        out / f"{label(config)}-{seed}"
        for study in studies
        for seeds, configs in sweeps(study).items()
        for config in configs
        for seed in seeds
    ]
    done = [str(folder) for folder in workdirs if (folder / "summary.json").exists()]
    if not done:
        return []
    where = f"--out={results}"
    commands = ("benchmarks.paper.results", *done, where), ("benchmarks.paper.report", *done, where)
    return [Step("collection", command) for command in commands]


def carry_out(steps: Sequence[Step], jobs: int = 1, programs: Path | None = None) -> list[str]:
    """Runs what is not done yet; of a study one of whose commands fails, no more.

    Args:
        steps: of several studies, each study's in order.
        jobs: studies at a time, each on its share of the cores; what runs alone comes after them.
        programs: folder where the commands of a study keep compiled programs for each other, so
            that a config is compiled for its first seed alone. What runs alone compiles anew.

    Returns:
        The failures, in words.
    """
    failed: dict[str, str] = {}

    def carry_out_one(number: int, step: Step) -> None:
        name = f"[{number}/{len(steps)}] {' '.join(step.command)}"
        if step.makes and step.makes.exists():
            print(f"{name}: done already", flush=True)
        elif step.study in failed:
            print(f"{name}: left out", flush=True)
        else:
            print(name, flush=True)
            begun = time.monotonic()
            environment = dict(os.environ)
            if programs and not step.alone:
                # A folder each: two processes that write at a time may spoil each other's files.
                environment["JAX_COMPILATION_CACHE_DIR"] = str((programs / step.study).absolute())
            code = subprocess.call([sys.executable, "-m", *step.command], env=environment)
            print(f"{name}: took {time.monotonic() - begun:.0f} s", flush=True)
            if code:
                failed[step.study] = f"{name}: ended with {code}"

    alone = []
    by_study: dict[str, list[tuple[int, Step]]] = {}
    for number, step in enumerate(steps, 1):
        (alone if step.alone else by_study.setdefault(step.study, [])).append((number, step))
    with futures.ThreadPoolExecutor(jobs, initializer=_claim(jobs)) as pool:
        chain = lambda each: [carry_out_one(*numbered) for numbered in each]
        at_work = [pool.submit(chain, each) for each in by_study.values()]
        try:
            for study in at_work:
                study.result()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    for numbered in alone:
        carry_out_one(*numbered)
    return list(failed.values())


def _claim(jobs: int) -> Callable[[], None] | None:
    """Gives the thread that calls it its share of the cores, and so the processes it starts.

    None where threads have no cores of their own: on Linux alone they do.
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
    parser.add_argument("--dry_run", action="store_true", help="only say what would be run")
    options = parser.parse_args()
    results = timing.RESULTS / options.scale
    studies = SCALES[options.scale]
    if options.seeds:
        studies = tuple(with_seeds(study, options.seeds) for study in studies)
    steps = [step for study in studies for step in plan(study, options.workdir)]
    if options.dry_run:
        for step in steps:
            print(" ".join(("python -m", *step.command)))
        return
    failed = carry_out(steps, options.jobs, options.workdir / "compiled")
    failed += carry_out(collection(studies, options.workdir, results))
    if failed:
        sys.exit("\n".join([*failed, "The same command goes on from there."]))


if __name__ == "__main__":
    main()
