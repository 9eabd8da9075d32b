"""Fixed points with known answers, cells on a random input, and a router with given routes.

`exact(*args)` is a differentiable function for the fixed point that does not iterate f: a closed
form, a dense solve, or Newton's method on the dense Jacobian. All arrays are float64.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax import Anderson, Broyden, Picard
from dynalay_jax.adaptive.routers import as_mask
from dynalay_jax.layers.registry import CELLS, STATIC


@dataclasses.dataclass(frozen=True)
class Problem:
    f: Callable
    z0: Any
    args: tuple
    exact: Callable
    solver: Any = None
    batched: bool = True
    max_steps: int = 2000

    def solve_options(self) -> dict:
        return {
            "solver": self.solver or Picard(),
            "batched": self.batched,
            "tol": 1e-13,
            "max_steps": self.max_steps,
        }


def route(*actions: jax.Array) -> Callable:
    """A router: the actions [B] of the first round, of the second, ..."""
    return lambda key, seen: as_mask(actions[seen.round], seen.layers)


@functools.cache
def built_cell(name: str, **fields: Any) -> tuple:
    """Cell of 16 features, its parameters, a random input of 4 samples, and its (w, u)."""
    cell = (CELLS | STATIC)[name](features=16, **fields)
    below = jax.random.normal(jax.random.key(0), (4, 6, 6, 3))
    if name == "dense":
        below = below.reshape(4, -1)
    params = jax.jit(cell.init)(jax.random.key(1), below)
    return cell, params, below, jax.jit(cell.apply)(params, below)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def newton(f: Callable, start: jax.Array, *args: Any, steps: int = 12) -> jax.Array:
    """z = f(z) for a vector z by Newton's method with the dense Jacobian."""

    def step(z: jax.Array, _: None) -> tuple:
        system = jnp.eye(z.size) - jax.jacfwd(f)(z, *args)
        return z - jnp.linalg.solve(system, z - f(z, *args)), None

    return jax.lax.scan(step, start, length=steps)[0]


def cosine() -> Problem:
    theta = jnp.linspace(0.0, 0.6, 4)
    f = lambda z, theta: jnp.cos(z) + theta

    def exact(theta):
        # The Newton iteration of one scalar after the other.
        one = lambda t: newton(lambda z, t: f(z, t[None]), jnp.full(1, 0.9), t)[0]
        return jax.vmap(one)(theta)

    return Problem(f, jnp.zeros(4), (theta,), exact)


def affine(matrix: np.ndarray, solver: Any = Picard()) -> Problem:
    b = jnp.asarray(_rng(1).normal(size=(3, len(matrix))))
    f = lambda z, a, b: z @ a.T + b
    exact = lambda a, b: jnp.linalg.solve(jnp.eye(len(matrix)) - a, b.T).T
    return Problem(f, jnp.zeros_like(b), (jnp.asarray(matrix), b), exact, solver)


def symmetric() -> Problem:
    a = _rng(2).normal(size=(6, 6))
    a = a + a.T
    return affine(0.8 * a / np.abs(np.linalg.eigvalsh(a)).max())


def skewed() -> Problem:
    a = np.triu(_rng(3).normal(size=(6, 6)), 1) + np.diag(np.linspace(-0.8, 0.8, 6))
    return affine(a)


def tanh_network(solver: Any = Picard()) -> Problem:
    rng = _rng(4)
    w = rng.normal(size=(8, 8))
    w = jnp.asarray(0.9 * w / np.linalg.norm(w, 2))
    u, b = jnp.asarray(rng.normal(size=(5, 8))), jnp.asarray(rng.normal(size=8))
    f = lambda z, w, u, b: jnp.tanh(z @ w.T + u + jnp.broadcast_to(b, u.shape))

    def exact(w, u, b):
        one = lambda z, w, u, b: jnp.tanh(w @ z + u + b)
        return jax.vmap(lambda u: newton(one, jnp.zeros(8), w, u, b))(u)

    return Problem(f, jnp.zeros((5, 8)), (w, u, b), exact, solver)


def single_state() -> Problem:
    p = tanh_network()
    w, u, b = p.args
    f = lambda z, w, u, b: jnp.tanh(w @ z + u + b)
    exact = lambda w, u, b: newton(f, jnp.zeros(8), w, u, b)
    return Problem(f, jnp.zeros(8), (w, u[0], b), exact, batched=False)


def nested() -> Problem:
    """Two coupled states in a nested pytree; parameters in one too."""
    rng = _rng(5)
    params = {"a": jnp.asarray(rng.uniform(0.1, 0.3, (2, 2))), "c": (jnp.asarray([0.5, -1.0]),)}

    def f(z, p):
        x, (y,) = z["x"], z["deep"]
        a, (c,) = p["a"], p["c"]
        flat = y[:, 0, :]
        new_x = x * a[0, 0] + flat * a[0, 1] + jnp.broadcast_to(c, x.shape)
        new_y = jnp.sin(x) * a[1, 0] + flat * a[1, 1]
        return {"x": new_x, "deep": (new_y[:, None, :],)}

    def exact(p):
        def one(v, p):
            z = {"x": v[None, :2], "deep": (v[None, None, 2:],)}
            out = f(z, p)
            return jnp.concatenate([out["x"][0], out["deep"][0][0, 0]])

        v = newton(one, jnp.zeros(4), p)
        return {
            "x": jnp.broadcast_to(v[None, :2], (3, 2)),
            "deep": (jnp.broadcast_to(v[None, None, 2:], (3, 1, 2)),),
        }

    z0 = {"x": jnp.zeros((3, 2)), "deep": (jnp.zeros((3, 1, 2)),)}
    return Problem(f, z0, (params,), exact)


def rotation(solver: Any) -> Problem:
    """Rotations about a centre: every eigenvalue has modulus 1, and Picard goes in circles."""
    angle = jnp.asarray([0.5, 1.5, 3.0])
    centre = jnp.asarray(_rng(6).normal(size=(3, 2)))

    def f(z, angle, centre):
        d = z - centre
        c, s = jnp.cos(angle), jnp.sin(angle)
        return centre + jnp.stack([c * d[:, 0] - s * d[:, 1], s * d[:, 0] + c * d[:, 1]], axis=1)

    exact = lambda angle, centre: centre
    return Problem(f, jnp.zeros((3, 2)), (angle, centre), exact, solver)


def square_root() -> Problem:
    n = jnp.asarray([2.0, 3.0, 10.0, 1e-3, 1e4])
    return Problem(lambda z, n: (z + n / z) / 2, jnp.ones(5), (n,), jnp.sqrt)


def many_rates() -> Problem:
    """Contraction rates from 0.1 to 0.999 in one batch."""
    rate = jnp.asarray([0.1, 0.5, 0.9, 0.99, 0.999])
    b = jnp.asarray([0.5, -0.3, 1.0, 0.2, -0.7])
    f = lambda z, rate, b: rate * z + b
    exact = lambda rate, b: b / (1 - rate)
    return Problem(f, jnp.zeros(5), (rate, b), exact, max_steps=50_000)


# Functions, as the arrays are made in float64 only once a test has switched it on.
ALL = {
    "cosine": cosine,
    "affine, symmetric": symmetric,
    "affine, not normal": skewed,
    "tanh network": tanh_network,
    "tanh network, Anderson": lambda: tanh_network(Anderson()),
    "tanh network, Broyden": lambda: tanh_network(Broyden()),
    "tanh network, damped": lambda: tanh_network(Picard(damping=0.7)),
    "single state": single_state,
    "nested pytree": nested,
    "rotation, Anderson": lambda: rotation(Anderson(memory=2)),
    "rotation, Broyden": lambda: rotation(Broyden()),
    "square root": square_root,
    "rates 0.1 to 0.999": many_rates,
}
