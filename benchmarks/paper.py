"""All evidence with one command: trains, compares, times, and writes the page about it.

    python -m benchmarks.paper --scale=small [--workdir=workdir/paper]

What is done is skipped, so the same command goes on where it was stopped. `--scale=small` takes
some hours on 2 CPU cores; `--scale=full` adds the paper's own settings, which want a GPU. TFDS
looks for data where the environment variable TFDS_DATA_DIR says. Writes JSON, figures and
report.html to results/SCALE; `python -m benchmarks.readme` then brings the README's tables up to
date.
"""

import argparse
from collections.abc import Iterator, Sequence
import dataclasses
from pathlib import Path
import subprocess
import sys

from benchmarks import measure
from train.main import label


@dataclasses.dataclass(frozen=True)
class Study:
    """Runs of a config and its variants, and what is asked of the finished runs.

    Attributes:
        config: name in configs/.
        seeds: of the config and of its variants.
        variants: baselines, see `configs.baselines`.
        once: further variants, of the first seed alone.
        robustness: whether corrupted images are evaluated.
        risk: greatest extra error that `calibrate` allows.
        beyond: other test data, as `extrapolate` takes them.
        timed: whether training steps and routers are timed.
    """

    config: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    robustness: bool = False
    risk: float = 0.02
    beyond: tuple[str, ...] = ()
    timed: bool = False


_MODELS = ("model_0", "model_1", "model_2", "model_3")
_DEAR = (
    "resnet20", "unrolled", "deq_anderson", "deq_broyden", "cell_orthogonal", "cell_bounded",
    "cell_free",
)  # fmt: skip


def _variants(macs: float) -> tuple[str, ...]:
    """With static nets of so many times the straight pass's MACs, as the agent has."""
    matched = ("wide_parameters", "deep_parameters", f"wide_{macs}x", f"deep_{macs}x")
    return (*_MODELS, *matched, "no_warmup")


_SMALL = (
    # Seeds from 10: nothing was chosen by them.
    Study("digits", (10, 11, 12), _variants(1.7), _DEAR, robustness=True, risk=0.05, timed=True),
    Study("scales", (10, 11, 12), beyond=("blocks=(1,),(2,)", "grid=12,16,20"), timed=True),
    Study("connectivity", (10,), beyond=("grid=12,16,20",)),
    Study("mazes", (10,), beyond=("side=5,7,10",)),
    Study("parity", (10,)),
    Study("parity_extrapolation", (10,)),
    Study("imdb", (10,)),
    Study("cifar10_small", (10,), robustness=True, timed=True),
)
_FULL = tuple(
    Study(name, (0, 1, 2), (*_variants(2.0), *_DEAR), robustness=True, risk=0.01, timed=True)
    for name in ("cifar10", "cifar100")
)
SCALES = {"small": _SMALL, "full": (*_SMALL, *_FULL)}


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, `python -m …`, and the file that tells that it is done; None for every time."""

    command: tuple[str, ...]
    makes: Path | None = None


def plan(studies: Sequence[Study], out: Path, results: Path, jobs: int) -> Iterator[Step]:
    """The commands, in order.

    Args:
        studies: of the scale.
        out: folder of the runs' workdirs.
        results: folder of the results.
        jobs: runs at a time.
    """
    workdirs: list[str] = []
    for study in studies:
        named = lambda variants, study=study: [f"{study.config}:{name}" for name in variants]
        sweeps = {study.seeds: [study.config, *named(study.variants)]}
        if study.once:
            sweeps.setdefault(study.seeds[:1], []).extend(named(study.once))
        for seeds, configs in sweeps.items():
            each = f"--configs={','.join(configs)}", f"--seeds={','.join(map(str, seeds))}"
            yield Step(("train.sweep", *each, f"--out={out}", f"--jobs={jobs}"))
            names = map(label, configs)
            workdirs += [str(out / f"{name}-{seed}") for name in names for seed in seeds]
        yield from _questions(study, out, results)
    yield Step(("benchmarks.runs", *workdirs, f"--out={results}"))
    timed = [study.config for study in studies if study.timed]
    records = []
    for kind in ("training", "routers") if timed else ():
        records += [f"--{kind}", *(f"{results}/{kind}_{name}.json" for name in timed)]
    yield Step(("train.report", *workdirs, f"--out={results}", *records))


def _questions(study: Study, out: Path, results: Path) -> Iterator[Step]:
    """What is asked of the finished runs of a config."""
    for seed in study.seeds:
        folder = out / f"{study.config}-{seed}"
        ask = lambda name, *rest, folder=folder: (f"train.{name}", str(folder), *rest)
        yield Step(ask("halting"), folder / "halting.json")
        if study.robustness:
            yield Step(ask("robustness"), folder / "robustness.json")
        for router in ("agent", "confidence"):
            command = ask("calibrate", f"--risk={study.risk}", f"--router={router}")
            yield Step(command, folder / f"calibrated_{router}.json")
        for values in study.beyond:
            field = values.partition("=")[0]
            yield Step(ask("extrapolate", values), folder / f"extrapolation_{field}.json")
    if study.timed:
        folder = str(out / f"{study.config}-{study.seeds[0]}")
        for name, run in (("training", f"--workdir={folder}"), ("routers", folder)):
            command = (f"benchmarks.{name}", run, f"--out={results}")
            yield Step(command, results / f"{name}_{study.config}.json")


def carry_out(steps: Sequence[Step]) -> None:
    """Runs what is not done yet, and stops at the first that fails."""
    for number, step in enumerate(steps, 1):
        name = f"[{number}/{len(steps)}] {' '.join(step.command)}"
        if step.makes and step.makes.exists():
            print(f"{name}: done already", flush=True)
            continue
        print(name, flush=True)
        code = subprocess.call([sys.executable, "-m", *step.command])
        if code:
            sys.exit(f"{name}: ended with {code}. The same command goes on from there.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--workdir", type=Path, default=Path("workdir/paper"))
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time")
    parser.add_argument("--dry_run", action="store_true", help="only say what would be run")
    options = parser.parse_args()
    results = measure.RESULTS / options.scale
    studies = SCALES[options.scale]
    steps = list(plan(studies, options.workdir, results, options.jobs))
    if options.dry_run:
        for step in steps:
            print(" ".join(("python -m", *step.command)))
        return
    carry_out(steps)


if __name__ == "__main__":
    main()
