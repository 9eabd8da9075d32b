"""The cascade cell: nilpotent, so one sweep over its groups of channels is the exact fixed point.

z_g ← relu(K_g ∗ (z_1 … z_{g−1}) + u_g),    g = 1 … G
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.layers.base import Cell, PyTree
from dynalay_jax.layers.convolution import convolve


class CascadeConv(Cell):
    """Nilpotent: z ← relu(K ∗ z + u), K strictly block triangular over G groups of channels.

    A group reads only the groups before it, so the Jacobian J is strictly block triangular and
    J^G = 0 for all weights. There is one fixed point, and iterating g reaches it exactly: from
    h = g(0, u) in G − 1 evaluations. `iterate` computes the groups in order, each from the new
    values of those before it (Gauss–Seidel). It reaches the fixed point from any start with the
    MACs of one evaluation of g. Its Jacobian in z is 0, so the backward solve of Eq. 5 is exact
    without a step. In a norm with sufficiently different weights for the groups, g contracts by any
    factor (Theorem 1 without a bound on the weights). In the Euclidean norm there is no such
    factor. At the fixed point the cell is a densely connected network of G layers.

    Attributes:
        groups: G; must divide `features`.

    References:
        Huang et al., Densely Connected Convolutional Networks, CVPR 2017.
    """

    groups: int = 4

    def __post_init__(self) -> None:
        validate.integer("groups", self.groups, 1)
        super().__post_init__()

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        if self.features % self.groups:
            raise ValueError(
                f"widths: expected multiples of the cascade's {self.groups} groups, got "
                f"{self.features}."
            )
        size, init = self.features // self.groups, nn.initializers.lecun_normal()
        kernels = [
            self.param(f"kernel_{group}", init, (3, 3, group * size, size))
            for group in range(1, self.groups)
        ]
        return tuple(kernels), self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        first = jnp.zeros_like(z[..., : self.features // self.groups])
        later = [convolve(z[..., : kernel.shape[2]], kernel) for kernel in w]
        return jnp.concatenate([first, *later], axis=-1)

    @nn.nowrap
    def iterate(self, z: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        del z  # no group reads its old value
        first, *offsets = jnp.split(u, self.groups, axis=-1)
        done = nn.relu(first)
        for kernel, offset in zip(w, offsets, strict=True):
            done = jnp.concatenate([done, nn.relu(convolve(done, kernel) + offset)], axis=-1)
        return done

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        return nn.relu(mixed + u)
