"""The stage cell: the blocks of a residual stage, nilpotent, so that one sweep is the fixed point.

    z_k ← F_k(u + z_1 + … + z_{k−1}),   k = 1 … G         h = u + z_1 + … + z_G
    F_k(s) = gelu(norm_k(K_k ∗ s))

The normalisation is that of a batch. Each route has its own statistics and offset, because the
routes differ in the distribution of their activations.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers.base import Cell
from dynalay_jax.layers.convolution import convolve

PyTree = Any
STATISTICS = "statistics"


class RouteNorm(nn.Module):
    """Batch normalisation with a scale of 1, and statistics and an offset of each route.

    Collections: `params` has `bias` [routes, C]; `statistics` has `mean` and `var` [routes, C], of
    float32. `measure` writes `statistics` where the collection is mutable.

    Attributes:
        features: C.
        routes: number of routes, the rows of the tables.
        memory: weight of the old statistics in a running average, in [0, 1).
        epsilon: added to the variance.

    References:
        Yu et al., Slimmable Neural Networks, ICLR 2019 (switchable batch normalisation).
    """

    features: int
    routes: int = 1
    memory: float = 0.6
    epsilon: float = 1e-5

    def setup(self) -> None:
        shape = (self.routes, self.features)
        self.bias = self.param("bias", nn.initializers.zeros, shape)
        self.mean = self.variable(STATISTICS, "mean", jnp.zeros, shape, jnp.float32)
        self.var = self.variable(STATISTICS, "var", jnp.ones, shape, jnp.float32)

    def stored(self, route: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scale and shift [B, C] from the stored statistics, for the routes int32 [B]."""
        mean, var = (jax.lax.stop_gradient(table.value[route]) for table in (self.mean, self.var))
        return self._affine(mean, var, route)

    def measure(
        self, x: jax.Array, route: jax.Array, axis_name: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Scale and shift [C] from x itself [B, H, W, C], all of whose samples take one route.

        Gradients flow through the statistics. With `axis_name`, the stored ones are averaged over
        the devices of this mapped axis.
        """
        wide, axes = x.astype(jnp.float32), (0, 1, 2)
        mean, square = jnp.mean(wide, axes), jnp.mean(jnp.square(wide), axes)
        # A difference of close numbers may round below 0.
        var = jnp.maximum(square - jnp.square(mean), 0.0)
        if self.is_mutable_collection(STATISTICS) and not self.is_initializing():
            new = jax.lax.stop_gradient((mean, var))
            if axis_name is not None:
                new = jax.lax.pmean(new, axis_name)
            for table, value in zip((self.mean, self.var), new, strict=True):
                kept = self.memory * table.value[route] + (1 - self.memory) * value
                table.value = table.value.at[route].set(kept)
        return self._affine(mean, var, route)

    def _affine(
        self, mean: jax.Array, var: jax.Array, route: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        scale = jax.lax.rsqrt(var + self.epsilon)
        return scale, self.bias[route] - mean * scale


class StageConv(Cell):
    """A residual stage of G blocks as an FPI layer. Its fixed point is unique for all weights.

    The state is (z_1 … z_G), each of the layer's shape. A block reads only the blocks before it, so
    the Jacobian J is strictly block triangular and J^G = 0, whatever the blocks are. Eliminating
    z_1 … z_{G−1} leaves the output h, a function of u alone: `iterate` computes it in one sweep,
    for the MACs of the G blocks, from any start. So h is all that a solve has to carry. Its
    Jacobian in h is 0, and the backward solve of Eq. 5 is exact without a step. In a norm with
    sufficiently different weights for the blocks the map of the full state contracts by any factor
    (Theorem 1); in the Euclidean norm there is no such factor.

    The straight output is that of the state 0: h = u, the injection alone.

    Training measures statistics on the batch (`measured`); solves use the stored ones.

    Attributes:
        blocks: G.
        routes: rows of the normalisation's tables. A row is a history of the layers below: which of
            them were iterated.
        pool_first: whether the maximum over windows of the stride's size comes before the
            convolution of the injection (cheap) or after it.
        axis_name: of the devices over which running statistics are averaged, or None.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    blocks: int = 1
    routes: int = 1
    pool_first: bool = True
    axis_name: str | None = None

    def setup(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"blocks: expected 1 or more, got {self.blocks}.")
        if not self.norm:
            raise ValueError("norm: expected True, because a stage's blocks are normalised.")
        window = (self.window, self.window)
        self.inject = nn.Conv(
            self.features,
            window,
            use_bias=False,
            kernel_init=partial_identity,
            dtype=self.dtype,
            conv_general_dilated=_same,
        )
        shape = (3, 3, self.features, self.features)
        self.kernels = [
            self.param(f"kernel_{k}", partial_identity, shape) for k in range(self.blocks)
        ]
        self.inject_norm = RouteNorm(self.features, self.routes)
        self.norms = [RouteNorm(self.features, self.routes) for _ in range(self.blocks)]

    def __call__(
        self, below: jax.Array, route: jax.Array | int = 0
    ) -> tuple[PyTree, dict[str, jax.Array]]:
        """The blocks' kernels, and u with the normalisations of each sample's route.

        Args:
            below: [B, H, W, C].
            route: int32 [B] or scalar, the row of the tables.

        Returns:
            w, the kernels; u = {"offset": [B, H', W', features], "scale", "shift": [B, G,
            features]}. Everything that depends on the sample is in u, so that compaction gathers
            it.
        """
        route = jnp.broadcast_to(jnp.asarray(route, jnp.int32), below.shape[:1])
        raw = self._injected(below)
        offset = _normalised(raw, *self.inject_norm.stored(route))
        affine = [norm.stored(route) for norm in self.norms]
        scale, shift = (jnp.stack(part, 1) for part in zip(*affine, strict=True))
        return tuple(self.kernels), {"offset": offset, "scale": scale, "shift": shift}

    def measured(self, below: jax.Array, route: jax.Array | int, blocks: int) -> jax.Array:
        """h after the first `blocks` blocks, normalised by the batch's own statistics.

        For training, with all samples on one route and `mutable=["statistics"]`. As the solve is
        one sweep, this is the solve, and autodiff is Eq. 5.
        """
        route = jnp.asarray(route, jnp.int32)
        measure: Callable = lambda norm, x: norm.measure(x, route, self.axis_name)
        raw = self._injected(below)
        h = _normalised(raw, *measure(self.inject_norm, raw))
        for kernel, norm in list(zip(self.kernels, self.norms, strict=True))[:blocks]:
            raw = convolve(h, kernel)
            h = h + _normalised(raw, *measure(norm, raw))
        return h

    def _injected(self, below: jax.Array) -> jax.Array:
        below = below.astype(self.dtype)
        if self.pool_first:
            return self.inject(_max_pool(below, self.stride))
        return _max_pool(self.inject(below), self.stride)

    @nn.nowrap
    def straight(self, w: PyTree, u: dict[str, jax.Array]) -> jax.Array:
        del w
        return u["offset"]

    @nn.nowrap
    def iterate(self, z: jax.Array, w: PyTree, u: dict[str, jax.Array]) -> jax.Array:
        del z  # no block reads its old value
        return self.sweep(w, u)

    @nn.nowrap
    def step(self, z: jax.Array, w: PyTree, u: dict[str, jax.Array]) -> jax.Array:
        return self.iterate(z, w, u)

    @nn.nowrap
    def sweep(self, w: PyTree, u: dict[str, jax.Array], blocks: int | None = None) -> jax.Array:
        """h after the first `blocks` blocks (all by default): a stage that can stop early."""
        h = u["offset"]
        for k, kernel in enumerate(w[:blocks]):
            h = h + self._block(k, h, kernel, u)
        return h

    @nn.nowrap
    def simultaneous(
        self, z: tuple[jax.Array, ...], w: PyTree, u: dict[str, jax.Array]
    ) -> tuple[jax.Array, ...]:
        """One evaluation of the map of the full state (z_1 … z_G), every block from old values."""
        before, new = u["offset"], []
        for k, kernel in enumerate(w):
            new.append(self._block(k, before, kernel, u))
            before = before + z[k]
        return tuple(new)

    @nn.nowrap
    def _block(self, k: int, s: jax.Array, kernel: jax.Array, u: dict[str, jax.Array]) -> jax.Array:
        return _normalised(convolve(s, kernel), u["scale"][:, k], u["shift"][:, k])


def partial_identity(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Kernels [h, w, C, C'] that copy the first min(C, C') channels; the other outputs are random.

    The random ones are uniform with a variance of 1 / (3 · fan-in).
    """
    height, width, inputs, outputs = shape
    bound = (height * width * inputs) ** -0.5
    kernel = jax.random.uniform(key, shape, dtype, -bound, bound)
    same = min(inputs, outputs)
    kernel = kernel.at[..., :same].set(0)
    channels = jnp.arange(same)
    return kernel.at[height // 2, width // 2, channels, channels].set(1)


def _same(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """`convolve`, as `nn.Conv(conv_general_dilated=…)` calls it without strides."""
    return convolve(x, kernel)


def _normalised(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """gelu(x · scale + shift) of x [B, H, W, C]; scale and shift are [C] or [B, C]."""
    scale, shift = (part.reshape(-1, 1, 1, x.shape[-1]).astype(x.dtype) for part in (scale, shift))
    return nn.gelu(x * scale + shift)


def _max_pool(x: jax.Array, size: int) -> jax.Array:
    """Maxima over windows of size × size; rows and columns that fill no window are left out.

    By reshaping, because XLA's gradient of a reduced window is slow on CPU.
    """
    if size == 1:
        return x
    batch, height, width, channels = x.shape
    rows, columns = height // size, width // size
    x = x[:, : rows * size, : columns * size]
    return jnp.max(x.reshape(batch, rows, size, columns, size, channels), (2, 4))
