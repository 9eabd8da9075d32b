"""The free cell: the normalised convolution of deep equilibrium models, without a guarantee.

z ← relu(norm(K ∗ z + u))
"""

from typing import Any

from flax import linen as nn
import jax

from dynalay_jax.layers.base import Cell, PyTree, norm_groups
from dynalay_jax.layers.convolution import convolve


class FreeConv(Cell):
    """Convolution with group normalisation inside: z ← relu(norm(K ∗ z + u)). No guarantee.

    The cell of deep equilibrium models. It needs a damped or accelerated solver to converge, and
    often `jacobian_regularization` in the loss (the training harness does not add it). The status
    of a solve reports whether it converged.

    References:
        Bai, Koltun and Kolter, Multiscale Deep Equilibrium Models, NeurIPS 2020.
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        shape = (3, 3, self.features, self.features)
        kernel = self.param(
            "kernel", nn.initializers.variance_scaling(0.5, "fan_in", "normal"), shape
        )
        w = {
            "kernel": kernel,
            "scale": self.param("scale", nn.initializers.ones, (self.features,)),
            "bias": self.param("bias", nn.initializers.zeros, (self.features,)),
        }
        return w, self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(z, w["kernel"])

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        norm = nn.GroupNorm(norm_groups(self.features), dtype=mixed.dtype, parent=None)
        affine = {"scale": w["scale"], "bias": w["bias"]}
        normalised: Any = norm.apply({"params": affine}, mixed + u)
        return nn.relu(normalised)
