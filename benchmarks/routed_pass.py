"""What do routers' savings in multiply-accumulates come to in milliseconds?

    python -m benchmarks.routed_pass WORKDIR [--static WORKDIR ...] [--batch 512] [--timed 1024]

Inference with a finished run's weights, each kind of router in a program of its own, which asks the
agent only where the agent decides; the arms are interleaved. Accuracy is of the whole test split;
times, and the MACs that they are held against, of its first examples, the same for every arm.
"None" is measured three times: as the straight pass by itself, with the agent asked, and as a
router whose program could iterate but has no sample that does. Random routing, confidence routing
on the route that the run chose on its validation split, and two thresholds take as many MACs as the
agent does on the whole split; the agent at other prices, and random and confidence routing at other
rates, make curves. Where the run has a halting.json, its routers are there too, and static
baselines of the same data where they are given: what could be trained for that time instead.

The realised saving is in milliseconds against all layers, the theoretical one in MACs, counted from
what the timed programs did.
"""

from collections.abc import Mapping
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.support import halting_passes, passes, timing
from benchmarks.support import timed as timings
from benchmarks.support.passes import ALL, STRAIGHT, Arm
from configs import _variants
from train import parallel
from train import run as finished
from train.cli import Parser, friendly
from train.console import human, percent
from train.data import batches
from train.errors import UserError
from train.run import Run
from train.workdir import trained_config

PyTree = Any
_TIMES = "µs an example", "p10–p90"
_SAVINGS = "saving in MACs", "saving in time", "time / MACs"


def measure_routers(
    run: Run,
    params: PyTree,
    summary: Mapping[str, Any],
    others: Mapping[str, Arm],
    batch: int,
    timed: int,
    seconds: float,
) -> list[dict[str, Any]]:
    """Compiles the arms' programs, runs them on the test split and times them in turn.

    Args:
        run, params: a run and its parameters.
        summary: of the run.
        others: further arms, by name.
        batch: examples at a time, at most.
        timed: examples that are timed, rounded up to whole batches.
        seconds: of timing, for all routers together.

    Returns:
        A row an arm: `router`, its `kind` and `price`, `accuracy` and `iterated` (share of the
        samples) on the whole split; how many examples are `timed`, and `macs` and milliseconds an
        example of these.
    """
    test, key = run.dataset.test, jax.random.key(run.config.seed)
    count = len(test.labels)
    # Of one size, with as little padding as can be.
    size = -(-count // -(-count // batch))
    places, masks = zip(*batches.evaluation_batches(count, size), strict=True)
    parts = [
        (jnp.asarray(test.images[place]), jax.random.fold_in(key, i))
        for i, place in enumerate(places)
    ]
    clocked = parts[: -(-timed // size)]
    clocked_count = min(count, len(clocked) * size)
    rows, calls, programs = [], {}, {}

    def add(name: str, arm: Arm) -> dict[str, np.ndarray]:
        if arm.program not in programs:
            programs[arm.program] = timing.compile_function(arm.program, arm.params, *parts[0])
        compiled, compilation = programs[arm.program]
        run_on = lambda parts: [compiled(arm.params, *part) for part in parts]
        calls[name] = functools.partial(run_on, clocked)
        out = jax.tree.map(lambda *leaves: np.concatenate(leaves)[np.ravel(masks)], *run_on(parts))
        rows.append(
            {
                "router": name,
                "kind": arm.kind,
                "price": arm.price,
                "accuracy": float(np.mean(out["logits"].argmax(-1) == test.labels)),
                "iterated": float(out["iterated"].any(-1).mean()),
                "timed": clocked_count,
                "macs": float(out["macs"][:clocked_count].mean(dtype=float)),
                **compilation,
            }
        )
        return out

    done = {name: add(name, arm) for name, arm in passes.fixed(run.task, params).items()}
    settled = passes.matched(run.task, params, done, summary)
    for name, arm in {**settled, **others}.items():
        add(name, arm)
    for row, times in zip(rows, timing.interleave(calls, seconds).values(), strict=True):
        row |= timing.summary(np.divide(times, clocked_count))
        row["samples_ms"] = [float(f"{t / clocked_count:.4g}") for t in times]
    return rows


def static_arm(workdir: Path, like: Run) -> tuple[str, Arm]:
    """Name and arm of a baseline that has nothing to iterate, on the test split of another run.

    Raises:
        UserError: the run is no variant's, has another router than "none", or other data.
    """
    run = Run.reopen(trained_config(workdir), workdir)
    same = np.array_equal(run.dataset.test.images, like.dataset.test.images)
    if run.config.router != "none" or not same:
        raise UserError(
            f"{workdir}: expected a run of the same data whose router is none, got "
            f"{run.config.router} of {run.dataset.name}."
        )
    _, params = _restored(run)
    name = _variants.split(_name(workdir))[1]
    if not name:
        raise UserError(
            f"{workdir}: expected a folder named CONFIG_VARIANT or CONFIG_VARIANT-SEED."
        )
    return name, Arm(functools.partial(passes.straight, run.task, False), params, name)


def _restored(run: Run) -> tuple[int, PyTree]:
    trained, replicated = run.restored()
    return trained, jax.tree.map(jnp.asarray, parallel.unreplicate(replicated))


def _name(workdir: Path) -> str:
    return workdir.resolve().name.partition("-")[0]


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    (everything,) = (row for row in record["rows"] if row["router"] == ALL)
    headers = ["router", "accuracy", "iterated", "MACs an example", *_TIMES, *_SAVINGS]
    lines = [
        [
            row["router"],
            percent(row["accuracy"]),
            percent(row["iterated"]),
            human(row["macs"]),
            *_times(row),
            *_savings(row, everything),
        ]
        for row in record["rows"]
    ]
    return timing.markdown(lines, headers)


def saved(records: Mapping[str, dict[str, Any]]) -> str:
    """Markdown: of each config what its agent saves in MACs, and what of it in time.

    Args:
        records: of this benchmark, by config.
    """
    headers = ["config", "rounds", "router", "accuracy", "MACs an example", *_TIMES, *_SAVINGS]
    lines = []
    for name, record in records.items():
        rows = {row["router"]: row for row in record["rows"]}
        agents = (router for router, row in rows.items() if row["kind"] == "agent")
        for row in (rows[router] for router in (STRAIGHT, *agents, ALL)):
            lines.append(
                [
                    f"`{name}.py`",
                    str(len(row["samples_ms"])),
                    row["router"],
                    percent(row["accuracy"]),
                    human(row["macs"]),
                    *_times(row),
                    *_savings(row, rows[ALL]),
                ]
            )
    return timing.markdown(lines, headers)


def _times(row: dict[str, Any]) -> list[str]:
    ends = (f"{1e3 * row[key]:.3g}" for key in ("p10_ms", "p90_ms"))
    return [f"{1e3 * row['median_ms']:.3g}", "–".join(ends)]


def _savings(row: dict[str, Any], everything: dict[str, Any]) -> list[str]:
    """Theoretical and realised saving against all layers, and the second's share of the first."""
    if row is everything:
        return ["—"] * 3
    theoretical = 1 - row["macs"] / everything["macs"]
    time = timings.ratio(row["samples_ms"], everything["samples_ms"])
    realised, low, high = 1 - time.value, 1 - time.high, 1 - time.low
    # Where hardly anything could be saved, the share says nothing.
    share = f"{realised / theoretical:.2f}" if abs(theoretical) > 0.01 else "—"
    return [f"{theoretical:.0%}", f"{realised:.0%} ({low:.0%} to {high:.0%})", share]


def main() -> None:
    parser = Parser("python -m benchmarks.routed_pass", description=__doc__.split("\n")[0])
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument(
        "--static", nargs="+", type=Path, default=[], metavar="WORKDIR", help="of static baselines"
    )
    parser.add_argument("--batch", type=int, default=512, help="examples at a time, at most")
    parser.add_argument(
        "--timed", type=int, default=1024, metavar="N", help="timed, in whole batches"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of timing, for all routers")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the result")
    with friendly():
        args = parser.parse_args()
        for option in ("batch", "timed"):
            if getattr(args, option) < 1:
                raise UserError(f"--{option}: expected 1 or more, got {getattr(args, option)}.")
        run = finished.reopen(args.workdir)
        summary = args.workdir / "summary.json"
        if not summary.exists():
            raise UserError(f"{args.workdir}: expected a finished run, which has a summary.json.")
        trained, params = _restored(run)
        others = halting_passes.arms(args.workdir, run, params)
        static = [static_arm(workdir, run) for workdir in args.static]
        if len(dict(static)) < len(static):
            names = ", ".join(name for name, _ in static)
            raise UserError(f"--static: expected one run of each variant, got {names}.")
        others |= dict(static)
        known = json.loads(summary.read_text())
        rows = measure_routers(run, params, known, others, args.batch, args.timed, args.seconds)
    name = _name(args.workdir)
    record = {
        "environment": timing.environment(),
        "config": name,
        "step": trained,
        "seed": run.config.seed,
        "test_examples": len(run.dataset.test.labels),
        "batch": args.batch,
        "rows": rows,
    }
    timing.write_json(args.out / f"routers_{name}.json", record)
    print(table(record))


if __name__ == "__main__":
    main()
