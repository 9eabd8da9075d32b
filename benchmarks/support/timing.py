"""How the benchmarks time programs, compare times, and write records and tables."""

from collections.abc import Callable, Mapping, Sequence
import functools
import importlib.metadata
import json
from pathlib import Path
import random
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from scipy import stats

from train.workdir import provenance

RESULTS = Path(__file__).parent.parent / "results"
PACKAGES = (
    "dynalay_jax", "jax", "jaxlib", "numpy", "jaxopt", "optimistix", "equinox", "banax", "torch"
)  # fmt: skip


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

    Each is warmed up twice. A sample is one run, or the mean of short runs that take a millisecond
    together. Every round has an order of its own: a small arm is slow after a large one, which
    leaves it cold caches.

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


def rounds(samples: Sequence[float]) -> dict[str, Any]:
    """The `summary` of the samples, and the samples: `samples_ms`, to four digits."""
    return {**summary(samples), "samples_ms": [float(f"{time:.4g}") for time in samples]}


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


def provenance_line(record: Mapping[str, Any]) -> str:
    """Command, date, machine and versions of a record, as a sentence."""
    env = record["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in env["versions"].items() if number)
    return (
        f"`{env['command']}`, {env['date']}, {env['device']} ({env['processor']}, {env['cores']} "
        f"cores), commit {env['commit']}, Python {env['python']}, {versions}. "
        "Medians of interleaved runs."
    )


class Ratio(NamedTuple):
    """A ratio of medians and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


def ratio(times: Sequence[float], to: Sequence[float]) -> Ratio:
    """The ratio of two medians, with the paired bootstrap's interval.

    The bootstrap draws rounds, because what slows a round slows both programs. The interval covers
    the noise between rounds of one process. A single round has no interval. The ratio to a time
    that may be 0, as a difference of noisy times may, has no upper end.

    Args:
        times, to: one time a round; only the rounds that both have are used.
    """
    rounds = min(len(times), len(to))
    return _ratio(*(tuple(map(float, each[:rounds])) for each in (times, to)))


@functools.cache  # pages show the same ratio in several tables
def _ratio(times: tuple[float, ...], to: tuple[float, ...]) -> Ratio:
    pair = np.array(to), np.array(times)
    # The inverse, so that a divisor near 0 gives a small number and not a large one.
    inverse = lambda a, b, axis=-1: np.median(a, axis) / np.median(b, axis)
    ends = (0.0, np.inf)
    if len(times) > 1:
        found = stats.bootstrap(
            pair, inverse, paired=True, n_resamples=2000, method="percentile", rng=0
        )
        ends = found.confidence_interval
    return Ratio(*(1 / x if x > 0 else np.inf for x in (inverse(*pair), ends[1], ends[0])))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record without spaces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    path.write_text(text + "\n")
    print(f"wrote {path}")


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; text cells are shown as they are, and a deviation is not wrapped."""
    text = table.to_markdown(index=False, tablefmt="github", disable_numparse=True)
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
