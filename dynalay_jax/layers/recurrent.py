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
from dynalay_jax.layers.base import Cell
from dynalay_jax.layers.convolution import convolve, fast_convolution

PyTree = Any


class LSTM(Cell):
    """Long short-term memory along the width axis; the fixed point is over all positions at once.

    Straight, it is an ordinary LSTM; iterated, a stack of ever more LSTMs of the same weights, each
    of which reads the one below and the input. z [B, rows, T, features] at a position depends on
    the injection u up to there; u on what is below up to there if `window` is 1 and `norm` False,
    as sequences want them. Q is orthogonal and κ < 1 (Eq. 6), but the LSTM itself may expand:
    nothing is certified.

    Attributes:
        most: bound on the feedback's norm κ.

    References:
        Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997.
    """

    most: float = 0.99

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        size, gates = self.features, 4 * self.features
        orthogonal = nn.initializers.orthogonal()
        w = {
            "input": self.param("input", nn.initializers.lecun_normal(), (size, gates)),
            "recurrent": self.param("recurrent", orthogonal, (size, gates)),
            "bias": self.param("bias", _remember, (gates,)),
            "feedback": norm_bounds.contractive(
                self.param("v", orthogonal, (size, size)),
                self.param("k", nn.initializers.zeros, ()),
                self.most,
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

        def turn(carry: tuple, driven: jax.Array) -> tuple[tuple, jax.Array]:
            h, c = carry
            gates = (driven + h @ recurrent).astype(jnp.float32)
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
            h = (nn.sigmoid(o) * jnp.tanh(c)).astype(h.dtype)
            return (h, c), h

        h = jnp.zeros_like(u[:, :, 0])
        # The memory adds up over all positions: in float32 whatever the rest is in.
        start = h, h.astype(jnp.float32)
        _, hs = jax.lax.scan(turn, start, jnp.moveaxis(driven, 2, 0))
        return jnp.moveaxis(hs, 0, 2)


def _remember(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Biases of 0, of the forget gate 1 (Jozefowicz et al., ICML 2015)."""
    del key
    return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(1)


class ScanConv(Cell):
    """Nilpotent: a linear recurrence along the width axis, and a read-out of it.

    Half of the channels are the memory s, the others the read-out r. Position t of the memory reads
    position t - 1 alone, and the read-out reads the memory, so the Jacobian J is strictly block
    triangular: over T positions J^(T + 1) = 0 whatever the weights. There is one fixed point, and
    from any start the iteration reaches it exactly: from h = g(0, u), whose first memory is right
    already, in T evaluations, and one more shows that nothing changes (so give it
    max_steps ≥ T + 1). The backward solve of Eq. 5 is exact in as many. In a norm that weighs later
    positions, and the read-out, sufficiently less, the step contracts by any factor, which is
    Theorem 1 without a bound on the weights; in the Euclidean norm there is none.

    A transition near -1 turns the memory's sign, which parity needs: with those in (0, 1) of most
    linear recurrences it is out of reach. Rows of an image are sequences of their own.

    Attributes:
        gate: standard deviation of the transitions' logits at the start, for inputs of variance 1.
            A large one starts channels as sign patterns of what is below.
        keep: bias of those logits at the start, so that most transitions keep the memory. As the
            forget gate's in LSTMs, it decides whether anything is learnt over long distances.

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
        logits = nn.Conv(
            half,
            (self.stride, self.stride),
            strides=self.stride,
            kernel_init=nn.initializers.variance_scaling(self.gate**2, "fan_in", "normal"),
            bias_init=nn.initializers.constant(self.keep),
            dtype=self.dtype,
            conv_general_dilated=fast_convolution,
            name="transition",
        )(below.astype(self.dtype))
        transition = jnp.tanh(logits)
        # The memory before the first position, without which nothing in (s, r) marks the beginning.
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
        del w
        before, read = jnp.split(mixed, 2, axis=-1)
        offset, read_offset = jnp.split(u["offset"], 2, axis=-1)
        return jnp.concatenate(
            [u["transition"] * before + offset, nn.relu(read + read_offset)], axis=-1
        )
