"""What do routers' savings in multiply-accumulates come to in milliseconds?

    python -m benchmarks.routers WORKDIR [--batch 512] [--seconds 30]

Inference of the whole test split with a finished run's weights, each router in a program of its
own, which asks the agent only where the agent decides; the arms are interleaved. "None" is measured
three times: as the straight pass by itself, with the agent asked, and as a router whose program
could iterate but has no sample that does. Random routing iterates as many layers as the agent,
confidence routing as many samples, on the route that the run chose on its validation split; the
agent at other prices, and these two at other rates, make curves.

The realised saving is in milliseconds against all layers, the theoretical one in MACs. These are
counted from what the timed programs did.
"""

from collections.abc import Callable, Sequence
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tabulate

from benchmarks import measure
from dynalay_jax import cost, routers
from dynalay_jax.model import DynaLay, call
from train import data, finished, loop, step
from train import state as state_lib
from train.command import Parser, friendly
from train.errors import UserError
from train.progress import human, percent

PyTree = Any
STRAIGHT, ALL = "none: straight pass alone", "all layers"
# Shares of the samples or layers that are iterated, beside the agent's own.
_RATES = (0.25, 0.5, 0.75)


class Arm(NamedTuple):
    """What is timed.

    Attributes:
        program: (task, params, images, key) → what `routed` returns.
        kind: name in figures, of several arms that make a curve; "" for none.
        price: λ, of the agent's.
    """

    program: Callable[..., dict[str, jax.Array]]
    kind: str = ""
    price: float | None = None


def straight(
    asks: bool, task: step.Task, params: PyTree, images: jax.Array, key: jax.Array
) -> dict[str, jax.Array]:
    """The straight pass, without anything that could iterate; with the agent's policy if asked."""
    del key
    variables, batch = state_lib.join(params), images.shape[0]
    state = call(task.model, variables, DynaLay.begin, task.normalise(images))
    out = {
        "logits": state.logits,
        "macs": jnp.full((batch,), asks * task.costs.agent, jnp.float32),
        "iterated": jnp.zeros((batch, len(task.model.widths)), bool),
    }
    if asks:
        seen = call(task.model, variables, DynaLay.observe, state, task.config.price, 0)
        out["log_probs"] = seen.log_probs
    return out


def routed(
    router: routers.Router,
    task: step.Task,
    params: PyTree,
    images: jax.Array,
    key: jax.Array,
    price: float | None = None,
) -> dict[str, jax.Array]:
    """A routed pass at a price, by default the config's.

    Returns:
        `logits` [b, classes], `macs` float32 [b] beyond the straight pass, those of the agent's
        decisions included where it decides, and `iterated` bool [b, L].
    """
    args = task.normalise(images), router, price or task.config.price, key
    logits, trace = call(task.model, state_lib.join(params), DynaLay.__call__, *args)
    iterate = trace.sweeps.iterate
    asked = jnp.float32(0)
    if isinstance(router, routers.Agent):
        asked = 1.0 + jnp.sum(jnp.any(iterate[:-1], -1), axis=0).astype(jnp.float32)
    macs = cost.spent(task.costs, iterate, trace.sweeps.steps, asked)
    return {"logits": logits, "macs": macs, "iterated": jnp.any(iterate, axis=0)}


def fixed(layers: int, price: float, prices: Sequence[float]) -> dict[str, Arm]:
    """Arms that need no setting, by name; the agent at the config's and every other price."""
    constant = lambda *iterated: functools.partial(routed, routers.Constant(iterated))
    agent = functools.partial(routed, routers.Agent())
    others = [other for other in prices[::2] if other != price]
    return {
        STRAIGHT: Arm(functools.partial(straight, False), "none"),
        "none: agent asked": Arm(functools.partial(straight, True)),
        "none: routed": Arm(constant()),
        "agent": Arm(agent, "agent", price),
        **{f"layer {j + 1}": Arm(constant(j), f"layer {j + 1}") for j in range(layers)},
        ALL: Arm(functools.partial(routed, routers.Constant()), ALL),
        **{
            f"agent, λ = {other:.3g}": Arm(functools.partial(agent, price=other), "agent", other)
            for other in others
        },
    }


def matched(logits: np.ndarray, iterated: np.ndarray, route: str) -> dict[str, Arm]:
    """Random and confidence routing at the agent's rates and at others, by name with the setting.

    Args:
        logits: of the straight pass, [n, classes].
        iterated: by the agent, bool [n, L].
        route: of unsure samples, "all" or "constant_l".
    """
    sure = np.asarray(jnp.max(jax.nn.softmax(jnp.asarray(logits)), axis=-1))
    layers = None if route == "all" else (int(route.removeprefix("constant_")) - 1,)
    which = "all layers" if layers is None else f"layer {layers[0] + 1}"
    arm = lambda kind, router: Arm(functools.partial(routed, router), kind)
    random = lambda rate: arm("random", routers.Random(rate))
    unsure = lambda share: arm("confidence", routers.Confidence(threshold(sure, share), layers))
    rate, share = float(iterated.sum(-1).mean()), float(iterated.any(-1).mean())
    return {
        f"random as the agent, {rate:.2f} layers": random(rate),
        f"unsure as the agent, {share:.0%} to {which}": unsure(share),
        **{f"random, {other:.2f} layers": random(other) for other in _RATES},
        **{f"unsure, {other:.0%} to {which}": unsure(other) for other in _RATES},
    }


def threshold(confidence: np.ndarray, share: float) -> float:
    """The number that this share of the values is below, infinite for all of them."""
    ordered = np.append(np.sort(confidence), np.inf)
    return float(ordered[round(share * len(confidence))])


def measure_routers(
    run: loop.Run, params: PyTree, route: str, batch: int, seconds: float
) -> list[dict[str, Any]]:
    """Compiles the arms' programs and times them in turn on the test split.

    Args:
        run, params: a run and its parameters.
        route: of unsure samples, as in `matched`.
        batch: examples at a time, at most.
        seconds: for all routers together.

    Returns:
        A row an arm: `router`, its `kind` and `price`, `accuracy`, `iterated` (share of the
        samples), `macs` an example, and milliseconds an example.
    """
    test, key = run.dataset.test, jax.random.key(run.config.seed)
    count = len(test.labels)
    # Of one size, with as little padding as can be.
    size = -(-count // -(-count // batch))
    places, masks = zip(*data.evaluation_batches(count, size), strict=True)
    parts = [
        (jnp.asarray(test.images[place]), jax.random.fold_in(key, i))
        for i, place in enumerate(places)
    ]
    rows, calls = [], {}

    def add(name: str, arm: Arm) -> dict[str, np.ndarray]:
        function = functools.partial(arm.program, run.task)
        compiled, compilation = measure.compile_function(function, params, *parts[0])
        calls[name] = lambda: [compiled(params, *part) for part in parts]
        out = jax.tree.map(lambda *leaves: np.concatenate(leaves)[np.ravel(masks)], *calls[name]())
        rows.append(
            {
                "router": name,
                "kind": arm.kind,
                "price": arm.price,
                "accuracy": float(np.mean(out["logits"].argmax(-1) == test.labels)),
                "iterated": float(out["iterated"].any(-1).mean()),
                "macs": run.task.costs.straight + float(out["macs"].mean(dtype=float)),
                **compilation,
            }
        )
        return out

    settings = len(run.task.model.widths), run.config.price, run.config.prices
    done = {name: add(name, arm) for name, arm in fixed(*settings).items()}
    agent = done["agent"]["iterated"]
    for name, arm in matched(done[STRAIGHT]["logits"], agent, route).items():
        add(name, arm)
    for row, times in zip(rows, measure.interleave(calls, seconds).values(), strict=True):
        row |= measure.summary(np.divide(times, count))
        row["samples_ms"] = [float(f"{t / count:.4g}") for t in times]
    return rows


def savings(row: dict[str, Any], everything: dict[str, Any]) -> tuple[float, float]:
    """Realised and theoretical saving against all layers, as shares of their ms and MACs."""
    return tuple(1 - row[key] / everything[key] for key in ("median_ms", "macs"))


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    (everything,) = (row for row in record["rows"] if row["router"] == ALL)
    headers = [
        "router", "accuracy", "iterated", "MACs an example", "µs an example", "p10–p90",
        "saving in MACs", "saving in time", "time / MACs",
    ]  # fmt: skip
    lines = []
    for row in record["rows"]:
        realised, theoretical = savings(row, everything)
        lines.append(
            [
                row["router"],
                percent(row["accuracy"]),
                percent(row["iterated"]),
                human(row["macs"]),
                *(
                    f"{1e3 * row['median_ms']:.3g}",
                    f"{1e3 * row['p10_ms']:.3g}–{1e3 * row['p90_ms']:.3g}",
                ),
                *(
                    ["—"] * 3
                    if row is everything
                    else [f"{theoretical:.0%}", f"{realised:.0%}", f"{realised / theoretical:.2f}"]
                ),
            ]
        )
    return tabulate.tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def main() -> None:
    parser = Parser("python -m benchmarks.routers", description=__doc__.split("\n")[0])
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument("--batch", type=int, default=512, help="examples at a time, at most")
    parser.add_argument("--seconds", type=float, default=30.0, help="for all routers together")
    parser.add_argument("--out", type=Path, default=measure.RESULTS, help="folder of the result")
    with friendly():
        args = parser.parse_args()
        if args.batch < 1:
            raise UserError(f"--batch: expected 1 or more, got {args.batch}.")
        run = finished.reopen(args.workdir)
        summary = args.workdir / "summary.json"
        if not summary.exists():
            raise UserError(f"{args.workdir}: expected a finished run, which has a summary.json.")
        trained, replicated = run.restored()
        params = jax.tree.map(jnp.asarray, step.unreplicate(replicated))
        route = json.loads(summary.read_text())["confidence_route"]
        rows = measure_routers(run, params, route, args.batch, args.seconds)
    name = args.workdir.resolve().name.partition("-")[0]
    record = {
        "environment": measure.environment(),
        "config": name,
        "step": trained,
        "seed": run.config.seed,
        "test_examples": len(run.dataset.test.labels),
        "batch": args.batch,
        "rows": rows,
    }
    measure.write_json(args.out / f"routers_{name}.json", record)
    print(table(record))


if __name__ == "__main__":
    main()
