"""How fast are 3×3 convolutions on this machine, beside XLA's own and PyTorch's?

    python -m benchmarks.convolution [--seconds 15]

An arm computes a convolution and the gradients of its input and kernel, at the shapes of networks
for CIFAR-10. PyTorch is not a dependency: where it is not installed, its rows say so.
"""

import argparse
from collections.abc import Callable, Sequence
import functools
import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from benchmarks.support import timing
from dynalay_jax.layers.bfloat16 import convolve_bfloat16
from dynalay_jax.layers.convolution import convolution, convolve

SHAPES = ((32, 32, 128), (64, 16, 256), (128, 16, 128), (256, 8, 256), (256, 7, 256))
EXACT = "XLA, float32"
JAX = {
    "`convolve`, float32": convolve,
    "`convolve_bfloat16`": convolve_bfloat16,
    EXACT: functools.partial(convolution, padding="SAME"),
}
PEER = "PyTorch, float32"
TORCH = {PEER: "float32", "PyTorch, bfloat16": "bfloat16"}


def jax_call(convolve: Callable, *arrays: jax.Array) -> Callable[[], tuple]:
    """Value and gradients as JAX computes them, compiled."""

    def value_and_gradients(z: jax.Array, kernel: jax.Array, v: jax.Array) -> tuple:
        value, pull = jax.vjp(convolve, z, kernel)
        return value, *pull(v)

    compiled, _ = timing.compile_function(value_and_gradients, *arrays)
    return functools.partial(compiled, *arrays)


def torch_call(dtype: str, *arrays: jax.Array) -> Callable[[], tuple]:
    """The same in PyTorch, in its fastest layout."""
    # Threads that wait for work by spinning would slow the next arm down.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    torch = importlib.import_module("torch")

    def tensor(x: jax.Array, axes: Sequence[int]) -> Any:
        made = torch.tensor(np.asarray(x).transpose(axes), dtype=getattr(torch, dtype))
        return made.contiguous(memory_format=torch.channels_last)

    z, kernel, v = map(tensor, arrays, ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)))
    inputs = z.requires_grad_(), kernel.requires_grad_()

    def call() -> tuple:
        value = torch.nn.functional.conv2d(*inputs, padding=1)
        return value, *torch.autograd.grad(value, inputs, v)

    return call


def as_arrays(found: tuple) -> list[np.ndarray]:
    """Value and gradients of any arm in JAX's layout."""
    if isinstance(found[0], jax.Array):
        return [np.asarray(x) for x in found]
    order = (0, 2, 3, 1), (0, 2, 3, 1), (2, 3, 1, 0)
    return [x.detach().float().numpy().transpose(a) for x, a in zip(found, order, strict=True)]


def run(channels: int, side: int, batch: int, seconds: float) -> list[dict[str, Any]]:
    """Measures all arms at one shape."""
    images, kernel = (batch, side, side, channels), (3, 3, channels, channels)
    keys = jax.random.split(jax.random.key(0), 3)
    arrays = list(map(jax.random.normal, keys, (images, kernel, images)))
    calls = {name: jax_call(function, *arrays) for name, function in JAX.items()}
    if importlib.util.find_spec("torch"):
        calls |= {name: torch_call(dtype, *arrays) for name, dtype in TORCH.items()}
    exact = as_arrays(calls[EXACT]())
    samples = timing.interleave(calls, seconds)
    work = 6 * batch * (3 * side * channels) ** 2  # FLOP, with those on padding
    shape = {"channels": channels, "side": side, "batch": batch}
    rows: list[dict[str, Any]] = [{**shape, "arm": name} for name in (*JAX, *TORCH)]
    for row in rows:
        if (times := samples.get(row["arm"])) is None:
            row["failure"] = "not installed"
            continue
        pairs = zip(as_arrays(calls[row["arm"]]()), exact, strict=True)
        row["error"] = max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)
        row |= timing.summary(times)
        row["gflops"] = work / row["median_ms"] / 1e6
        row["speed"] = timing.ratio(samples[PEER], times) if PEER in samples else None
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    return timing.markdown(pd.DataFrame(map(_shown, rows)))


def _shown(row: dict[str, Any]) -> dict[str, str]:
    side, columns = row["side"], ("ms", "GFLOP/s", "speed ÷ PyTorch float32", "error")
    at = f"{row['channels']}, {side}×{side}, {row['batch']}"
    shown = {"channels, image, batch": at, "arm": row["arm"]}
    if "failure" in row:
        return {**shown, **dict.fromkeys(columns, "—"), "ms": row["failure"]}
    speed = str(timing.Ratio(*row["speed"])) if row["speed"] else "—"
    times = f"{row['median_ms']:.3g}", f"{row['gflops']:.3g}", speed, f"{row['error']:.0e}"
    return {**shown, **dict(zip(columns, times, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="per shape")
    parser.add_argument("--out", type=Path, default=timing.RESULTS / "convolution.json")
    args = parser.parse_args()
    record = {"environment": timing.environment(), "rows": []}
    for shape in SHAPES:
        record["rows"] += (rows := run(*shape, args.seconds))
        print(table(rows), flush=True)
    timing.write_json(args.out, record)


if __name__ == "__main__":
    main()
