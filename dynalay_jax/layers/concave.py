"""Positive concave cells: monotone, bounded, without a Euclidean contraction factor.

    z ← m ⊙ tanh(relu(K ∗ z + u)),    K ≥ 0,    0 ≤ m ≤ 1

The gates m and the offsets u are computed from the layer below. The iterates from z = 0 rise to the
least fixed point, so activity can spread over a whole image through open gates.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.layers.base import Cell, PyTree
from dynalay_jax.layers.convolution import convolve


class ConcaveConv(Cell):
    """Positive concave gated convolution: z ← m ⊙ tanh(relu(K ∗ z + u)), K ≥ 0, m in [0, 1].

    The map is monotone and bounded, so the iterates from z = 0 (and from h = g(0, u)) rise to its
    least fixed point. With offsets u > 0 it contracts in Thompson's metric and has one fixed point.
    It has no Euclidean contraction factor, so signals can cross the whole image.

    Attributes:
        gain: row sum of K at the start. Above 1, activity spreads through open gates.
        own: share of a channel's row sum that starts on the channel itself. A large share spreads
            a channel over the image before it mixes with the others.
        offset: standard deviation of the offsets at the start, for inputs of variance 1 and without
            `norm`. Small offsets let activity from a few places dominate the background.
        gate: standard deviation of the gates' logits at the start, for inputs of variance 1.
        hard_gates: whether gates are piecewise linear in their logits: 0 below -3, 1 above 3.
            A sigmoid gate never closes completely, and its leak grows where activity spreads.

    References:
        Gabor, Piotrowski and Cavalcante, Positive Concave Deep Equilibrium Models, ICML 2024;
        Sittoni and Tudisco, Subhomogeneous Deep Equilibrium Models, ICML 2024.
    """

    gain: float = 1.5
    own: float = 0.3
    offset: float = 1.0
    gate: float = 4.0
    hard_gates: bool = False

    def __post_init__(self) -> None:
        validate.positive("gain", self.gain)
        validate.share("own", self.own)
        validate.not_negative("offset", self.offset)
        validate.not_negative("gate", self.gate)
        super().__post_init__()

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        # K is a square, so an update by Adam changes small entries by a fraction of their value.
        # With K = |raw|, an update would be larger than the entry itself.
        channels = self.features
        mean = self.gain / 9 * self._mixed()
        raw = self.param("kernel", self._positive, (3, 3, channels, channels), mean)
        return jnp.square(raw), self._injection(below)

    def _injection(self, below: jax.Array) -> PyTree:
        logits = self._gate_logits(below, self.features, self.gate, "gate")
        gate = nn.hard_sigmoid(logits) if self.hard_gates else nn.sigmoid(logits)
        return {"offset": self._offset(below, self.offset), "gate": gate}

    @nn.nowrap
    def _mixed(self) -> jax.Array:
        """Mean channel mixing at the start, [C, C]: `own` on the diagonal, the rest uniform."""
        return (1 - self.own) / self.features + self.own * jnp.eye(self.features)

    @nn.nowrap
    def _positive(self, key: jax.Array, shape: tuple[int, ...], mean: Any) -> jax.Array:
        """Square roots of uniform entries with the given means."""
        spread = jax.random.uniform(key, shape, jnp.float32, 0.0, 2.0)
        return jnp.sqrt(spread * jnp.broadcast_to(mean, shape))

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(z, w)

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        return u["gate"] * jnp.tanh(nn.relu(mixed + u["offset"]))


class SeparableConcaveConv(ConcaveConv):
    """Positive concave cell with a separable kernel: z ← m ⊙ tanh(relu(P (D ∗ z) + u)), P, D ≥ 0.

    D is depthwise, 3×3, and P, 1×1, mixes the channels. This is a ConcaveConv with the kernel D P,
    at (9 + C) / 9C of its MACs and with all of its properties. Its attributes are those of
    ConcaveConv; `own` is the share of P's diagonal.

    References:
        Sifre and Mallat, Rigid-Motion Scattering for Texture Classification, 2014.
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        channels = self.features
        depthwise = self.param("depthwise", self._positive, (3, 3, 1, channels), self.gain / 9)
        pointwise = self.param("pointwise", self._positive, (channels, channels), self._mixed())
        w = {"depthwise": jnp.square(depthwise), "pointwise": jnp.square(pointwise)}
        return w, self._injection(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        moved = convolve(z, w["depthwise"], groups=self.features)
        return moved @ w["pointwise"].astype(z.dtype)
