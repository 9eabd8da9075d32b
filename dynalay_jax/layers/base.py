"""`Cell`: the base class of layers that are iterated to a fixed point (FPI layers).

    z ← g(z, u) = respond(mix(z, w), w, u),    (w, u) = cell(below)

All samples share the weights `w`, which are computed once a solve. The injection `u` is computed
from the layer below for each sample. Multiplications by weights are in `mix`, with mix(0, w) = 0.
So the straight output h = g(0, u) = respond(0, w, u) costs little more than the injection, and a
network of straight outputs is the paper's plain CNN or LSTM.

    cell = ConcaveConv(features=32)
    params = cell.init(key, below)
    w, u = cell.apply(params, below)
    z = fixed_point(cell.iterate, cell.straight(w, u), w, u).value

The docstring and the `contraction_factor` of a cell state what is known about its convergence.
"""

import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers.convolution import fast_convolution

PyTree = Any


class Cell(nn.Module):
    """One FPI layer. Calling it gives what the iteration `step` needs.

    Attributes:
        features: channels (or units) of the layer's state.
        stride: of the injection; the state has the input's resolution divided by it.
        window: side of the injection's kernel. A small one leaves it to the iteration to look
            around, and keeps the straight pass cheap.
        norm: whether the injected offset is group-normalised. Nothing inside a certified iteration
            is ever normalised, as that breaks the bound.
        dtype: of the computation; parameters are float32.
    """

    features: int
    stride: int = 1
    window: int = 3
    norm: bool = True
    dtype: Any = jnp.float32

    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        """Shared weights and per-sample injection, from below [B, ...]."""
        raise NotImplementedError

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        """The linear part; mix(0, w) = 0."""
        raise NotImplementedError

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        """The rest: activation, offset, gate; pointwise, but for recurrent cells."""
        raise NotImplementedError

    @nn.nowrap
    def step(self, z: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        """g(z, u), the map whose fixed point is sought: z → same shape and dtype."""
        return self.respond(self.mix(z, w), w, u)

    @nn.nowrap
    def iterate(self, z: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        """What solvers iterate: `step`, or a map with its fixed points that gets there sooner.

        It takes as many multiplications as `step`, so that `cost.Costs` counts either.
        """
        return self.step(z, w, u)

    @nn.nowrap
    def straight(self, w: PyTree, u: PyTree) -> jax.Array:
        """h = g(0, u), without the multiplications by zero."""
        return self.respond(jnp.zeros_like(jax.tree.leaves(u)[0]), w, u)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array | None:
        """Certified Euclidean Lipschitz constant of `step` in z, or None where there is none."""
        del w
        return None

    def _offset(self, below: jax.Array, spread: float = 1.0) -> jax.Array:
        """Injected offset [B, H, W, features]: convolution, then group normalisation if asked.

        `spread` is its standard deviation at the start, for inputs of variance 1.
        """
        below = below.astype(self.dtype)
        offset = nn.Conv(
            self.features,
            (self.window, self.window),
            strides=self.stride,
            use_bias=not self.norm,
            kernel_init=nn.initializers.variance_scaling(spread**2, "fan_in", "truncated_normal"),
            dtype=self.dtype,
            conv_general_dilated=fast_convolution,
            name="inject",
        )(below)
        if self.norm:
            groups = norm_groups(self.features)
            offset = nn.GroupNorm(groups, dtype=self.dtype, name="norm")(offset)
        return offset


def norm_groups(features: int) -> int:
    """Groups of a group normalisation, of about 8 channels each."""
    return math.gcd(features, max(features // 8, 1))
