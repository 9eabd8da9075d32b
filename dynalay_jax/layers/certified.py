"""Certified cells: contractions by construction, whatever the parameters (Eq. 6, Theorem 1).

    z ← φ(A z + u),    ‖A‖₂ ≤ κ < 1,    φ 1-Lipschitz

Each cell builds A from an orthogonal matrix or from a kernel divided by a bound on its norm.
`contraction_factor` returns a certified bound on the Lipschitz constant.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import norm_bounds, validate
from dynalay_jax.layers.base import Cell, PyTree
from dynalay_jax.layers.convolution import convolve

# Of `dense_bound` on an orthogonal matrix: 12 overestimate by less than 0.1 %, up to 512 features.
_ITERATIONS = 12


def _groupsort(x: jax.Array) -> jax.Array:
    """Sorts pairs of channels."""
    if x.shape[-1] % 2:
        raise ValueError(f"widths: expected even numbers for groupsort, got {x.shape[-1]}.")
    pairs = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
    return jnp.sort(pairs, axis=-1).reshape(x.shape)


# 1-Lipschitz over the last axis.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "abs": jnp.abs,
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "groupsort": _groupsort,
}


class LipschitzCell(Cell):
    """A cell z ← φ(linear(z) + u) with a 1-Lipschitz activation φ and a bound on the linear part.

    Attributes:
        max_factor: bound on the contraction factor κ, below 1.
        activation: "abs", "groupsort" (pairs of channels, both norm-preserving), "relu" or "tanh".
    """

    max_factor: float = 0.99
    activation: str = "abs"

    def __post_init__(self) -> None:
        norm_bounds.check_factor(self.max_factor)
        validate.one_of("activation", self.activation, ACTIVATIONS)
        super().__post_init__()

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        return ACTIVATIONS[self.activation](mixed + u)


class OrthogonalConv(LipschitzCell):
    """Certified contraction (Eq. 6): z ← φ(κQ (k ∗ z) + u), Q orthogonal 1×1, ‖k‖₁ ≤ 1 depthwise.

    Young's inequality bounds the norm of the depthwise convolution by 1, and φ is 1-Lipschitz, so
    the step contracts by κ < 1 in the Euclidean norm. Each depthwise kernel starts as a shift by
    one pixel, which preserves the norm.
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        n = self.features
        v = self.param("v", nn.initializers.orthogonal(), (n, n))
        k = self.param("k", nn.initializers.constant(4.0), ())
        kernel = self.param("kernel", _shifts, (3, 3, 1, n))
        norms = jnp.sum(jnp.abs(kernel), axis=(0, 1, 2))
        w = {
            "depthwise": kernel / jnp.maximum(norms, 1.0),
            "pointwise": norm_bounds.contractive(v, k, self.max_factor)[None, None],
        }
        return w, self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(convolve(z, w["depthwise"], groups=self.features), w["pointwise"])

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        pointwise = norm_bounds.dense_bound(w["pointwise"][0, 0], _ITERATIONS)
        return pointwise * norm_bounds.depthwise_bound(w["depthwise"])


class BoundedConv(LipschitzCell):
    """Certified contraction: z ← φ(κ K/‖K‖ ∗ z + u), a full 3×3 kernel over its norm's bound.

    References:
        Singla and Feizi, Fantastic Four, ICLR 2021 (`norm_bounds.conv_bound`).
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        shape = (3, 3, self.features, self.features)
        kernel = self.param("kernel", nn.initializers.orthogonal(), shape)
        return self.max_factor * kernel / norm_bounds.conv_bound(kernel), self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(z, w)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        return norm_bounds.conv_bound(w)


class OrthogonalDense(LipschitzCell):
    """Certified contraction on vectors (Eq. 6): z ← φ(κQ z + W x), Q orthogonal."""

    activation: str = "tanh"

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        v = self.param("v", nn.initializers.orthogonal(), (self.features, self.features))
        k = self.param("k", nn.initializers.constant(4.0), ())
        validate.array("below", below, "[B, ...]")
        below = below.reshape(below.shape[0], -1).astype(self.dtype)
        offset = nn.Dense(self.features, dtype=self.dtype, name="inject")(below)
        if self.norm:
            offset = nn.LayerNorm(dtype=self.dtype, name="norm")(offset)
        return norm_bounds.contractive(v, k, self.max_factor), offset

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return z @ w.astype(z.dtype)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        return norm_bounds.dense_bound(w, _ITERATIONS)


def _shifts(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Depthwise kernels [h, w, 1, C], each a shift by a random one of the h·w offsets."""
    h, w, _, channels = shape
    where = jax.random.randint(key, (channels,), 0, h * w)
    return jax.nn.one_hot(where, h * w, dtype=dtype).T.reshape(shape)
