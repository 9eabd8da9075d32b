"""Static layers: nothing to iterate. They are the networks that DynaLay is compared with.

    g(z, u) = h(u) for every z,    h = cell.straight(*cell(below))

Iterating such a layer returns its straight output. It has the parameters of its straight pass only.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers.base import Cell, PyTree, norm_groups
from dynalay_jax.layers.concave import ConcaveConv


class StaticCell(Cell):
    """A layer whose output depends only on the layer below."""

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return jnp.zeros_like(z)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        return jnp.float32(0)


class PlainConv(StaticCell):
    """A layer of the paper's plain CNN: h = relu(norm(K ∗ below)), the straight `cascade` cell."""

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        return (), self._offset(below)

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        return nn.relu(mixed + u)


class GatedConv(StaticCell, ConcaveConv):
    """The straight `concave` cell: h = m ⊙ tanh(relu(norm(K ∗ below))), m in [0, 1]."""

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        return (), self._injection(below)


class ResidualConv(PlainConv):
    """A basic residual block: h = relu(below + norm(K₂ ∗ relu(norm(K₁ ∗ below)))).

    The shortcut has no parameters (option A): it takes every `stride`-th position of `below` and
    pads new channels with zeros. `window` is the side of both kernels.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016, with group instead of
        batch normalisation.
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        new = self.features - below.shape[-1]
        if new < 0:
            raise ValueError(
                f"widths: expected residual layers at least as wide as the {below.shape[-1]} "
                f"channels below them, got {self.features}."
            )
        below = below.astype(self.dtype)
        window = (self.window, self.window)
        inner = nn.relu(self._offset(below))
        inner = nn.Conv(self.features, window, use_bias=not self.norm, dtype=self.dtype)(inner)
        if self.norm:
            inner = nn.GroupNorm(norm_groups(self.features), dtype=self.dtype)(inner)
        shortcut = below[:, :: self.stride, :: self.stride]
        return (), inner + jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (0, new)))
