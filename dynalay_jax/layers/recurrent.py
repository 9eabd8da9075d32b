"""A cell for sequences: a whole LSTM layer, with its own output fed back into its input.

    z ← LSTM(κQ z + u)    [paper, App. D.2, Eq. 14]

The offsets u are computed from the layer below.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import norm_bounds as contraction
from dynalay_jax.layers.base import Cell

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
            "feedback": contraction.contractive(
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
