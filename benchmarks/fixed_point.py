"""How fast is `fixed_point` beside jaxopt, optimistix and banax, at equal quality?

    python -m benchmarks.fixed_point [--seconds 20]

Every arm runs at the loosest tolerance (1, 0.5, 0.2, 0.1, ... 2e-8) at which the gradient of every
sample, and of the weights, is within 1e-3 of a float64 reference. The row of an arm that never gets
there says so. Needs the extra `bench`, and Python 3.12 or newer for banax.
"""

import argparse
from collections.abc import Callable
import functools
import importlib.util
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from benchmarks.support import libraries, problems, timing
from benchmarks.support.problems import Benchmark

QUALITY = 1e-3
TOLERANCES = [float(f"{m}e{e}") for e in range(-1, -9, -1) for m in (10, 5, 2)]
# An arm that asks for more temporary memory than this is not run.
MOST_MEMORY_MB = 8000


def errors(problem: Benchmark, reference: tuple, gradient: tuple) -> float:
    """Worst relative error of the gradient: over the samples' dL/dx, and of the weights'."""
    _, dx, da = reference
    got_params, got_x = jax.tree.map(np.asarray, gradient)
    worst = np.linalg.norm(np.atleast_2d(got_x) - dx, axis=1) / np.linalg.norm(dx, axis=1)
    wanted = jax.tree.leaves(problem.pull(problem.params, da))
    weights = [
        np.linalg.norm(a - b) / np.linalg.norm(b)
        for a, b in zip(jax.tree.leaves(got_params), wanted, strict=True)
    ]
    # NaN must lose: np.max propagates it.
    return float(np.max([*worst, *weights]))


def prepare(name: str, arm: Callable, problem: Benchmark, reference: tuple) -> dict[str, Any]:
    """Compiles an arm at the loosest tolerance that is good enough, or says how it fails."""
    params, x, gain, target, z0 = problem.arrays
    failure = "no tolerance tried"
    for tol in TOLERANCES:
        solve = arm(problem, tol)
        loss = lambda params, x, solve=solve: problem.loss(solve(params, x, gain, z0), target)
        try:
            gradient, grad_cost = timing.compile_function(jax.grad(loss, argnums=(0, 1)), params, x)
            if grad_cost["temp_mb"] > MOST_MEMORY_MB:
                failure = f"gradient needs {grad_cost['temp_mb'] / 1e3:.1f} GB"
                break
            worst = errors(problem, reference, gradient(params, x))
        except Exception as error:  # the failure of another library is a result
            failure = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
            break
        if worst <= QUALITY:
            values = lambda params, x, solve=solve: solve(params, x, gain, z0)
            forward, cost = timing.compile_function(values, params, x)
            return {
                "arm": name,
                "tol": tol,
                "gradient_error": worst,
                "forward": cost,
                "gradient": grad_cost,
                "calls": [functools.partial(call, params, x) for call in (forward, gradient)],
            }
        failure = f"gradient error {worst:.1e} at tol {tol:.0e}"
    return {"arm": name, "failure": failure}


def steps_taken(problem: Benchmark, tol: float) -> dict[str, float]:
    """Steps of our own solve: a batch pays for the slowest sample, the samples need the mean."""
    params, x, gain, _, z0 = problem.arrays
    found = libraries.solution(problem, tol)(params, x, gain, z0)
    steps = np.atleast_1d(found.stats.steps)
    return {"min": int(steps.min()), "mean": float(steps.mean()), "max": int(steps.max())}


def run(problem: Benchmark, seconds: float) -> dict[str, Any]:
    """All arms on one problem."""
    print(f"\n{problem.name}", flush=True)
    reference = problem.reference()
    table = libraries.BATCH if problem.batched else libraries.SINGLE
    rows = []
    for name, arm in table.items():
        if importlib.util.find_spec(name.split(",")[0]) is None:
            rows.append({"arm": name, "failure": "not installed"})
        else:
            rows.append(prepare(name, arm, problem, reference))
        print("  " + str({k: v for k, v in rows[-1].items() if k != "calls"}), flush=True)
        jax.clear_caches()

    ready = {row["arm"]: row.pop("calls") for row in rows if "calls" in row}
    for i, direction in enumerate(("forward", "gradient")):
        calls = {name: pair[i] for name, pair in ready.items()}
        samples = timing.interleave(calls, seconds)
        medians = {name: float(np.median(times)) for name, times in samples.items()}
        peer = min((v for k, v in medians.items() if not k.startswith("dynalay_jax")), default=None)
        for row in rows:
            if (name := row["arm"]) in samples:
                row[direction] |= timing.summary(samples[name])
                row[direction]["to_fastest_peer"] = medians[name] / peer if peer else None
    ours = next(row for row in rows if row["arm"].startswith("dynalay_jax"))
    steps = steps_taken(problem, ours["tol"]) if "tol" in ours else None
    return {"problem": problem.name, "steps": steps, "rows": rows}


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown, a table for each problem."""
    parts = []
    for result in results:
        measured = [row for row in result["rows"] if "failure" not in row]
        failed = [f"{r['arm']}: {r['failure']}." for r in result["rows"] if "failure" in r]
        text = f"**{result['problem']}**"
        if steps := result["steps"]:
            text += (
                f" (steps a sample: {steps['min']} to {steps['max']}, mean {steps['mean']:.1f}; "
                f"mean / maximum {steps['mean'] / steps['max']:.2f})"
            )
        parts += [text, timing.markdown(pd.DataFrame(map(_shown, measured))), *failed]
    return "\n\n".join(parts)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    gradient = row["gradient"]
    return {
        "arm": row["arm"],
        "tol": f"{row['tol']:.0e}",
        "forward ms": f"{row['forward']['median_ms']:.3g}",
        "gradient ms": f"{gradient['median_ms']:.3g}",
        "gradient ÷ peer": _quotient(gradient["to_fastest_peer"]),
        "compile s": f"{gradient['compile_s']:.2f}",
        "temporary MB": f"{gradient['temp_mb']:.3g}",
    }


def summary(results: list[dict[str, Any]]) -> str:
    """Markdown: value and gradient of our fastest arm beside the fastest other library."""
    lines = []
    for result in results:
        rows = [row for row in result["rows"] if "failure" not in row]
        rows.sort(key=lambda row: row["gradient"]["median_ms"])
        ours, theirs = (
            next(row for row in rows if row["arm"].startswith("dynalay_jax") == own)
            for own in (True, False)
        )
        lines.append(
            {
                "problem": result["problem"],
                "dynalay_jax ms": f"{ours['gradient']['median_ms']:.3g}",
                "fastest other ms": f"{theirs['gradient']['median_ms']:.3g} ({theirs['arm']})",
                "ratio": _quotient(ours["gradient"]["to_fastest_peer"]),
            }
        )
    return timing.markdown(pd.DataFrame(lines))


def _quotient(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="per problem and direction")
    parser.add_argument("--out", type=Path, default=timing.RESULTS / "fixed_point.json")
    args = parser.parse_args()
    record = {"quality": QUALITY, "environment": timing.environment(), "results": []}
    for make in problems.ALL:
        record["results"].append(run(make(), args.seconds))
        timing.write_json(args.out, record)
    print("\n" + table(record["results"]))


if __name__ == "__main__":
    main()
