"""The fixed-point problems that the arms are compared on, each with a float64 reference.

All are tanh networks with one linear map, z = tanh(gain · z A + x): `gain` [B] sets how many
iterations a sample takes, and the reference gradient comes from dense float64 solves in numpy.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A problem and its loss, ‖z − target‖² / 2 summed over samples.

    Attributes:
        name: as in the tables.
        f: `f(z, params, x, gain)`.
        params: weights, shared by all samples.
        x, gain, target: one entry a sample (batched), or of the single state.
        z0: zeros.
        dense: `dense(params)` is A as a float64 matrix, multiplied from the left by z.
        pull: `pull(params, dA)` is the gradient in params, given the one in A.
        batched: whether axis 0 of z0 holds samples.
    """

    name: str
    f: Callable
    params: Any
    x: np.ndarray
    gain: np.ndarray
    target: np.ndarray
    z0: np.ndarray
    dense: Callable[[Any], np.ndarray]
    pull: Callable[[Any, np.ndarray], Any]
    batched: bool

    @property
    def arrays(self) -> tuple:
        """(params, x, gain, target, z0) as device arrays."""
        return tuple(map(_to_device, (self.params, self.x, self.gain, self.target, self.z0)))

    def reference(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """float64 fixed point [B, n], gradient of the loss in x [B, n] and in A [n, n]."""
        matrix = self.dense(self.params)
        x, target = (np.atleast_2d(a).astype(np.float64) for a in (self.x, self.target))
        gain = np.atleast_1d(self.gain).astype(np.float64)
        z = np.zeros_like(x)
        while True:
            new = np.tanh(gain[:, None] * (z @ matrix) + x)
            change, z = np.abs(new - z).max(), new
            if change < 1e-15:
                break
        dx = np.empty_like(x)
        for i, (zi, v) in enumerate(zip(z, z - target, strict=True)):
            slope = 1 - zi**2
            # dz = (gain · dz A + dx) · slope; its transpose turns v into the gradient in x.
            system = np.eye(len(zi)) - gain[i] * matrix * slope
            dx[i] = slope * np.linalg.solve(system, v)
        return z, dx, z.T @ (gain[:, None] * dx)

    def loss(self, z: Any, target: Any) -> Any:
        return 0.5 * jnp.sum(jnp.square(z - target))


def _to_device(a: Any) -> Any:
    return tuple(map(jnp.asarray, a)) if isinstance(a, tuple) else jnp.asarray(a)


def _orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def tanh_single(n: int = 64, gain: float = 0.7) -> Benchmark:
    """One small state: overhead shows."""
    rng = np.random.default_rng(0)
    matrix = _orthogonal(rng, n).astype(np.float32)
    return Benchmark(
        name=f"tanh, single state, n = {n}",
        f=lambda z, w, x, gain: jnp.tanh(gain * (z @ w) + x),
        params=matrix,
        x=(0.5 * rng.normal(size=n)).astype(np.float32),
        gain=np.float32(gain),
        target=rng.normal(size=n).astype(np.float32),
        z0=np.zeros(n, np.float32),
        dense=lambda w: w.astype(np.float64),
        pull=lambda w, d: d,
        batched=False,
    )


def low_rank_single(n: int = 4096, rank: int = 64, gain: float = 0.8) -> Benchmark:
    """One large state with a cheap map (rank 64): whoever builds the n × n Jacobian pays for it."""
    rng = np.random.default_rng(1)
    left = np.linalg.qr(rng.normal(size=(n, rank)))[0].astype(np.float32)
    right = np.linalg.qr(rng.normal(size=(n, rank)))[0].astype(np.float32)
    right = (0.3 * right + 0.7 * left).astype(np.float32)
    return Benchmark(
        name=f"tanh of rank {rank}, single state, n = {n}",
        f=lambda z, w, x, gain: jnp.tanh(gain * ((z @ w[0]) @ w[1].T) + x),
        params=(left, right),
        x=(0.5 * rng.normal(size=n)).astype(np.float32),
        gain=np.float32(gain),
        target=rng.normal(size=n).astype(np.float32),
        z0=np.zeros(n, np.float32),
        dense=lambda w: w[0].astype(np.float64) @ w[1].astype(np.float64).T,
        pull=lambda w, d: (d @ w[1], d.T @ w[0]),
        batched=False,
    )


def batch_problem(name: str, seed: int, gain: np.ndarray, n: int) -> Benchmark:
    """A batch of networks with an orthogonal A: `gain` [B] are their contraction factors."""
    rng = np.random.default_rng(seed)
    batch = len(gain)
    gain = rng.permutation(gain).astype(np.float32)
    return Benchmark(
        name=name,
        f=lambda z, w, x, gain: jnp.tanh(gain[:, None] * (z @ w) + x),
        params=_orthogonal(rng, n).astype(np.float32),
        x=(0.05 * rng.normal(size=(batch, n))).astype(np.float32),
        gain=gain,
        target=rng.normal(size=(batch, n)).astype(np.float32),
        z0=np.zeros((batch, n), np.float32),
        dense=lambda w: w.astype(np.float64),
        pull=lambda w, d: d,
        batched=True,
    )


def spread_batch(batch: int = 128, n: int = 512) -> Benchmark:
    """A batch with spread in its iterations: contraction factors uniform from 0.1 to 0.97."""
    return batch_problem(f"batch {batch}, n = {n}, spread", 3, np.linspace(0.1, 0.97, batch), n)


def heavy_tailed_batch(batch: int = 256, n: int = 512) -> Benchmark:
    """A batch in which few samples take ten times the median: Pareto tail, cut at 200 steps."""
    quantiles = (np.arange(batch) + 0.5) / batch
    iterations = np.minimum(9.5 * (1 - quantiles) ** -0.5, 200)
    # A contraction with factor κ gains a factor 2e-4 in log(2e-4) / log(κ) iterations.
    gain = np.exp(np.log(2e-4) / iterations)
    return batch_problem(f"batch {batch}, n = {n}, heavy tail", 5, gain, n)


ALL = (tanh_single, low_rank_single, spread_batch, heavy_tailed_batch)
