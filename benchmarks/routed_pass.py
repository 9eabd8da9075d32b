"""How much time do routers save, beside the multiply-accumulates (MACs) that they save?

    python -m benchmarks.routed_pass WORKDIR [--static WORKDIR ...] [--batch 512] [--timed 1024]

Inference with a finished run's weights. Each kind of router has its own program, which asks the
agent only if the agent decides; the programs take turns. Accuracy is measured on the whole test
split; times and their MACs on its first examples, the same for every router. The straight pass is
measured three times: by itself, with the agent asked, and in a program that could iterate. Random
and confidence routing spend the agent's MACs on the whole split. The agent at other prices, and
random and confidence routing at other rates, make curves. Static nets of the same data are measured
beside, if given.

The saving in time is that against all layers; the saving in MACs is counted from what the timed
programs did.
"""

from collections.abc import Mapping, Sequence
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from benchmarks.support import passes, timing
from benchmarks.support.passes import ALL, STRAIGHT, Arm
from benchmarks.support.trained import Trained, trained
from configs import _variants
from train.cli import Parser, friendly
from train.console import human, percent
from train.data import batches
from train.errors import UserError
from train.run import Run
from train.workdir import read_record


def measure_routers(
    of: Trained,
    summary: Mapping[str, Any],
    others: Mapping[str, Arm],
    batch: int,
    timed: int,
    seconds: float,
) -> list[dict[str, Any]]:
    """Compiles the routers' programs, runs them on the test split and times them in turn.

    Args:
        of: a run and its weights.
        summary: of the run.
        others: further arms, by name.
        batch: examples at a time, at most.
        timed: examples that are timed, rounded up to whole batches.
        seconds: of timing, for all routers together.

    Returns:
        A row a router: `router`, its `kind` and `price`, `accuracy` and `iterated` (share of the
        samples) on the whole split; how many examples are `timed`, and their `macs` and
        milliseconds an example.
    """
    task, test, key = of.run.task, of.run.dataset.test, jax.random.key(of.run.config.seed)
    count = len(test.labels)
    # Batches of one size, with as little padding as possible.
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

    done = {name: add(name, arm) for name, arm in passes.fixed(task, of.params).items()}
    for name, arm in {**passes.matched(task, of.params, done, summary), **others}.items():
        add(name, arm)
    for row, times in zip(rows, timing.interleave(calls, seconds).values(), strict=True):
        row |= timing.rounds(np.divide(times, clocked_count))
    return rows


def static_arm(workdir: Path, like: Run) -> tuple[str, Arm]:
    """Name and arm of a static net, on the test split of another run.

    Raises:
        UserError: the run is not a variant's, its router is not "none", or its data differ.
    """
    name, run, _, params = trained(workdir, without_agent=True)
    same = np.array_equal(run.dataset.test.images, like.dataset.test.images)
    if run.config.router != "none" or not same:
        raise UserError(
            f"{workdir}: expected a run of the same data whose router is none, got "
            f"{run.config.router} of {run.dataset.name}."
        )
    variant = _variants.split(name)[1]
    if not variant:
        raise UserError(
            f"{workdir}: expected a folder named CONFIG_VARIANT or CONFIG_VARIANT-SEED."
        )
    return variant, Arm(functools.partial(passes.straight, run.task, False), params, variant)


def table(record: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    rows = {row["router"]: row for row in record["rows"]}
    return timing.markdown(pd.DataFrame([_shown(row, rows[ALL]) for row in rows.values()]))


def saved(records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: what the agent of each record saves in MACs and in time."""
    shown = []
    for record in records:
        rows = {row["router"]: row for row in record["rows"]}
        agents = (router for router, row in rows.items() if row["kind"] == "agent")
        for router in (STRAIGHT, *agents, ALL):
            shown.append({"config": record["config"], **_shown(rows[router], rows[ALL])})
    return timing.markdown(pd.DataFrame(shown).drop(columns="iterated"))


def _shown(row: Mapping[str, Any], all_layers: Mapping[str, Any]) -> dict[str, str]:
    """A row of the tables: times, and the savings against all layers."""
    shown = {
        "router": row["router"],
        "accuracy": percent(row["accuracy"]),
        "iterated": percent(row["iterated"]),
        "MACs an example": human(row["macs"]),
        "µs an example": f"{1e3 * row['median_ms']:.3g}",
        "saving in MACs": "—",
        "saving in time": "—",
    }
    if row is not all_layers:
        time, low, high = timing.ratio(row["samples_ms"], all_layers["samples_ms"])
        shown["saving in MACs"] = f"{1 - row['macs'] / all_layers['macs']:.0%}"
        shown["saving in time"] = f"{1 - time:.0%} ({1 - high:.0%} to {1 - low:.0%})"
    return shown


def main() -> None:
    parser = Parser("python -m benchmarks.routed_pass", description=__doc__.split("\n")[0])
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument(
        "--static", nargs="+", type=Path, default=[], metavar="WORKDIR", help="of static nets"
    )
    parser.add_argument("--batch", type=int, default=512, help="examples at a time, at most")
    parser.add_argument(
        "--timed",
        type=int,
        default=1024,
        metavar="N",
        help="examples that are timed, in whole batches",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all routers together")
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="folder of the result")
    with friendly():
        args = parser.parse_args()
        for option in ("batch", "timed"):
            if getattr(args, option) < 1:
                raise UserError(f"--{option}: expected 1 or more, got {getattr(args, option)}.")
        of = trained(args.workdir)
        summary = read_record(args.workdir, "summary")
        if not summary:
            raise UserError(f"{args.workdir}: expected a finished run, which has a summary.json.")
        static = [static_arm(workdir, of.run) for workdir in args.static]
        if len(dict(static)) < len(static):
            names = ", ".join(name for name, _ in static)
            raise UserError(f"--static: expected one run of each variant, got {names}.")
        rows = measure_routers(of, summary, dict(static), args.batch, args.timed, args.seconds)
    record = {
        "environment": timing.environment(),
        "config": of.name,
        "step": of.step,
        "seed": of.run.config.seed,
        "test_examples": len(of.run.dataset.test.labels),
        "batch": args.batch,
        "rows": rows,
    }
    timing.write_json(args.out / f"routed_pass_{of.name}.json", record)
    print(table(record))


if __name__ == "__main__":
    main()
