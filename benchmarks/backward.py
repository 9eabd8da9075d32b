"""What do implicit and unrolled backward passes cost, in time and in memory?

    python -m benchmarks.backward [--seconds 15]

Time and memory of the gradient, for each adjoint, against the number of steps of the forward solve
(5 to 200; the tolerance is 0, so that every solve takes all of them). The problem is a batch of
tanh networks. The adjoint solves run to the tolerance that the gradient needs.
"""

import argparse
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks.support import problems, timing
from dynalay_jax import Implicit, JacobianFree, Phantom, Unrolled, fixed_point

STEPS = (5, 10, 20, 50, 100, 200)
ADJOINTS = {
    "implicit": Implicit(tol=1e-4, max_steps=1000),
    "phantom": Phantom(),
    "Jacobian-free": JacobianFree(),
    "unrolled": Unrolled(),
    "unrolled, checkpointed": Unrolled(checkpoint=True),
}


def run(seconds: float, batch: int = 64, n: int = 256) -> list[dict[str, Any]]:
    """Measures every adjoint at every number of steps."""
    rng = np.random.default_rng(0)
    problem = problems.batch_problem("backward", 0, rng.uniform(0.5, 0.8, batch), n)
    params, x, gain, target, z0 = problem.arrays
    _, dx, _ = problem.reference()

    rows = []
    for steps in STEPS:
        calls, at_steps = {}, []
        for name, adjoint in ADJOINTS.items():

            def solve(params, x, steps=steps, adjoint=adjoint):
                f, rest = problem.f, (params, x, gain)
                return fixed_point(f, z0, *rest, tol=0.0, max_steps=steps, adjoint=adjoint).value

            loss = lambda params, x, solve=solve: problem.loss(solve(params, x), target)
            forward, _ = timing.compile_function(solve, params, x)
            gradient, cost = timing.compile_function(jax.grad(loss, argnums=(0, 1)), params, x)
            error = jnp.linalg.norm(gradient(params, x)[1] - dx) / jnp.linalg.norm(dx)
            at_steps.append(
                {"adjoint": name, "steps": steps, "gradient_error": float(error), **cost}
            )
            calls[name, "gradient"] = functools.partial(gradient, params, x)
            calls[name, "forward"] = functools.partial(forward, params, x)
        samples = timing.interleave(calls, seconds)
        for row in at_steps:
            gradient, forward = (samples[row["adjoint"], k] for k in ("gradient", "forward"))
            row |= timing.summary(gradient)
            row["forward_median_ms"] = float(np.median(forward))
            row["backward_median_ms"] = row["median_ms"] - row["forward_median_ms"]
        rows += at_steps
        print(table(at_steps), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    shown = [
        {
            "adjoint": row["adjoint"],
            "steps": row["steps"],
            "gradient ms": f"{row['median_ms']:.3g}",
            "of which backward ms": f"{row['backward_median_ms']:.3g}",
            "temporary MB": f"{row['temp_mb']:.3g}",
            "error": f"{row['gradient_error']:.0e}",
        }
        for row in rows
    ]
    return timing.markdown(pd.DataFrame(shown))


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time of the gradient and temporary memory against the number of steps."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in ADJOINTS:
        mine = [row for row in rows if row["adjoint"] == name]
        steps = [row["steps"] for row in mine]
        (line,) = axes[0].plot(steps, [row["median_ms"] for row in mine], marker="o", label=name)
        low, high = ([row[k] for row in mine] for k in ("p10_ms", "p90_ms"))
        axes[0].fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes[1].plot(steps, [row["temp_mb"] for row in mine], marker="o", label=name)
    axes[0].set_ylabel("forward and backward, ms (median, p10–p90)")
    axes[1].set_ylabel("temporary memory, MB")
    for axis in axes:
        axis.set(xlabel="steps of the forward solve", xscale="log", yscale="log")
        axis.set_xticks(STEPS, [str(s) for s in STEPS])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[1].legend()
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="per number of steps")
    parser.add_argument("--out", type=Path, default=timing.RESULTS / "backward.json")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/backward.png"))
    args = parser.parse_args()
    environment = timing.environment()
    rows = run(args.seconds)
    timing.write_json(args.out, {"environment": environment, "rows": rows})
    plot(rows, args.plot)


if __name__ == "__main__":
    main()
