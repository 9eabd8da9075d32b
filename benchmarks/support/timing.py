"""How the benchmarks measure, and how they write down what they found."""

from collections.abc import Callable, Sequence
import importlib.metadata
import json
from pathlib import Path
import random
import sys
import time
from typing import Any

import jax
import numpy as np
import tabulate

from train.workdir import provenance

RESULTS = Path(__file__).parent.parent / "results"
PACKAGES = ("dynalay_jax", "jax", "jaxlib", "numpy", "jaxopt", "optimistix", "equinox", "banax")


def compile_function(function: Callable, *args: Any) -> tuple[Callable, dict[str, float]]:
    """Compiles `function` for `args`, apart from any run of it.

    Returns:
        The executable; and seconds to trace and compile, and its temporary memory in MB, as the
        compiler's own analysis gives it.
    """
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return compiled, {"compile_s": seconds, "temp_mb": memory.temp_size_in_bytes / 1e6}


def interleave(
    calls: dict[str, Callable[[], Any]], seconds: float = 10.0, most: int = 200
) -> dict[str, list[float]]:
    """Times every call in turn, in rounds, and returns milliseconds a run for each.

    Each is warmed up twice. A sample is one run, or as many as take a millisecond. Every round has
    an order of its own: a small arm is slow after a large one, which leaves it cold caches.

    Args:
        calls: name to function of no arguments; its result is waited for.
        seconds: how long to go on; at least five rounds are made.
        most: rounds at the most.
    """
    repeats = {}
    for name, call in calls.items():
        jax.block_until_ready(call())
        start = time.perf_counter()
        jax.block_until_ready(call())
        repeats[name] = max(1, int(1e-3 / (time.perf_counter() - start)))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order, rng = list(calls.items()), random.Random(0)
    begin = time.perf_counter()
    for done in range(most):
        if done >= 5 and time.perf_counter() - begin > seconds:
            break
        rng.shuffle(order)
        for name, call in order:
            start = time.perf_counter()
            for _ in range(repeats[name]):
                jax.block_until_ready(call())
            samples[name].append(1e3 * (time.perf_counter() - start) / repeats[name])
    return samples


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile of the samples, milliseconds."""
    p10, median, p90 = np.percentile(samples, (10, 50, 90))
    return {"median_ms": float(median), "p10_ms": float(p10), "p90_ms": float(p90)}


def environment() -> dict[str, Any]:
    """Versions, device and commit of a measurement."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        **provenance(),
        "versions": versions,
        "command": " ".join(
            ["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
        ),
    }


def write_json(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {path}")


def markdown(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """A table in Markdown; the cells are shown as they are."""
    return tabulate.tabulate(rows, headers, tablefmt="github", disable_numparse=True)
