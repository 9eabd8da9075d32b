"""Cells for sequences along the width axis: an LSTM with feedback and a linear recurrence.

    LSTM        z ← LSTM(κQ z + u)                           [paper, App. D.2, Eq. 14]
    ScanConv    s_t ← a_t ⊙ s_{t−1} + u_t,    r ← relu(K s + v)

Q is orthogonal and κ < 1. The transitions a and the offsets u, v are computed from the layer below.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import norm_bounds
from dynalay_jax.layers.base import Cell, PyTree
from dynalay_jax.layers.convolution import convolve


class LSTM(Cell):
    """Long short-term memory along the width axis, with its output fed back to its input.

    The straight output is that of an ordinary LSTM. Each iteration adds one more LSTM with the same
    weights, which reads the one below and the injection. The fixed point is over all positions
    at once. z [B, rows, T, features] at a position depends on the injection u up to that position.
    With `window` 1 and `norm` False, u depends on the layer below up to that position, so the layer
    is causal. Q is orthogonal and κ < 1 (Eq. 6), but the LSTM may expand: nothing is certified.

    Attributes:
        max_factor: bound on the norm κ of the feedback.

    References:
        Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997.
    """

    max_factor: float = 0.99

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        size, gates = self.features, 4 * self.features
        orthogonal = nn.initializers.orthogonal()
        w = {
            "input": self.param("input", nn.initializers.lecun_normal(), (size, gates)),
            "recurrent": self.param("recurrent", orthogonal, (size, gates)),
            "bias": self.param("bias", _forget_bias, (gates,)),
            "feedback": norm_bounds.contractive(
                self.param("v", orthogonal, (size, size)),
                self.param("k", nn.initializers.zeros, ()),
                self.max_factor,
            ),
        }
        return w, self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return z @ w["feedback"].astype(z.dtype)

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        kernel, recurrent, bias = (
            w[name].astype(mixed.dtype) for name in ("input", "recurrent", "bias")
        )
        driven = (mixed + u) @ kernel + jnp.broadcast_to(bias, (*u.shape[:-1], len(bias)))

        def advance(carry: tuple, driven: jax.Array) -> tuple[tuple, jax.Array]:
            h, c = carry
            gates = (driven + h @ recurrent).astype(jnp.float32)
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = (nn.sigmoid(o) * jnp.tanh(c)).astype(h.dtype)
            return (h, c), h

        h = jnp.zeros_like(u[:, :, 0])
        # The memory adds up over all positions, so it is float32 for every dtype.
        start = h, h.astype(jnp.float32)
        _, hs = jax.lax.scan(advance, start, jnp.moveaxis(driven, 2, 0))
        return jnp.moveaxis(hs, 0, 2)


def _forget_bias(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Zeros, with ones for the forget gate (Jozefowicz et al., ICML 2015)."""
    return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(1)


class ScanConv(Cell):
    """Nilpotent: a linear recurrence along the width axis, and a read-out of its memory.

    Half of the channels are the memory s, the other half the read-out r. Position t of the memory
    reads only position t - 1, and the read-out reads the memory, so the Jacobian J is strictly
    block triangular: over T positions J^(T + 1) = 0 for all weights. There is one fixed point, and
    the iteration reaches it exactly from any start. From h = g(0, u) it takes T evaluations, and
    one more to measure that nothing changes, so set max_steps ≥ T + 1. The backward solve of Eq. 5
    is exact in the same number of steps. In a norm with sufficiently smaller weights for later
    positions and the read-out, the step contracts by any factor (Theorem 1 without a bound on the
    weights). In the Euclidean norm there is no such factor.

    A transition near -1 flips the sign of the memory. Parity needs this; linear recurrences with
    transitions in (0, 1) cannot learn it. Each row of an image is a separate sequence.

    Attributes:
        gate: standard deviation of the transitions' logits at the start, for inputs of variance 1.
            With a large value, channels start as sign patterns of the layer below.
        keep: bias of these logits at the start. A large value makes most transitions keep the
            memory, like a forget-gate bias; long-distance learning depends on it.

    References:
        Grazzi et al., Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues, ICLR
        2025; Jozefowicz et al., An Empirical Exploration of Recurrent Network Architectures, ICML
        2015.
    """

    gate: float = 4.0
    keep: float = 3.0

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        if self.features % 2:
            raise ValueError(f"widths: expected even numbers for scan cells, got {self.features}.")
        half = self.features // 2
        transition = jnp.tanh(self._gate_logits(below, half, self.gate, "transition", self.keep))
        # The memory before the first position, which marks the beginning of the sequence.
        first = self.param("first", nn.initializers.ones, (half,)).astype(self.dtype)
        offset = self._offset(below)
        offset = offset.at[:, :, 0, :half].add(transition[:, :, 0] * first)
        w = self.param("read", nn.initializers.lecun_normal(), (1, 1, half, half))
        return w, {"offset": offset, "transition": transition}

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        memory = z[..., : z.shape[-1] // 2]
        before = jnp.pad(memory[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
        return jnp.concatenate([before, convolve(memory, w)], axis=-1)

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        before, read = jnp.split(mixed, 2, axis=-1)
        offset, read_offset = jnp.split(u["offset"], 2, axis=-1)
        return jnp.concatenate(
            [u["transition"] * before + offset, nn.relu(read + read_offset)], axis=-1
        )
