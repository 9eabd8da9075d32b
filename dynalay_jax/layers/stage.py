"""The stage cell: the blocks of a residual stage, nilpotent, so that one sweep is the fixed point.

    z_k ← F_k(u + z_1 + … + z_{k−1}),   k = 1 … G         h = u + z_1 + … + z_G
    F_k(s) = gelu(norm_k(K_k ∗ s))

The normalisation is that of a batch. Each route has its own statistics and offset, because the
routes differ in the distribution of their activations.
"""

from typing import Any, ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.layers.base import STATISTICS, Cell
from dynalay_jax.layers.bfloat16 import convolve_bfloat16
from dynalay_jax.layers.convolution import convolve

PyTree = Any


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

    def measure(self, x: jax.Array, route: int) -> tuple[jax.Array, jax.Array]:
        """Scale and shift [C] from x itself [B, H, W, C], all of whose samples take one route.

        Gradients flow through the statistics.
        """
        wide, axes = x.astype(jnp.float32), (0, 1, 2)
        mean, square = jnp.mean(wide, axes), jnp.mean(jnp.square(wide), axes)
        # A difference of close numbers may round below 0.
        var = jnp.maximum(square - jnp.square(mean), 0.0)
        if self.is_mutable_collection(STATISTICS) and not self.is_initializing():
            new = jax.lax.stop_gradient((mean, var))
            for table, value in zip((self.mean, self.var), new, strict=True):
                kept = self.memory * table.value[route] + (1 - self.memory) * value
                table.value = table.value.at[route].set(kept)
        return self._affine(mean, var, route)

    def _affine(
        self, mean: jax.Array, var: jax.Array, route: jax.Array | int
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

    Training measures statistics on the batch (`measured_injection`, `measured_blocks`); solves use
    the stored ones.

    Attributes:
        blocks: G.
        routes: rows of the normalisation's tables. A row is a history of the layers below: which of
            them were iterated.
        pool_first: whether the maximum over windows of the stride's size comes before the
            convolution of the injection (cheap) or after it.
        factors: dtype to which the factors of convolutions are rounded, float32 or bfloat16. Sums
            and activations are of `dtype`. bfloat16 is fast on CPUs with matrix units.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    blocks: int = 1
    routes: int = 1
    pool_first: bool = True
    factors: Any = jnp.float32
    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("blocks", "routes"):
            validate.integer(name, getattr(self, name), 1)
        validate.floating("factors", self.factors)
        if not self.norm:
            raise ValueError("norm: expected True, because a stage's blocks are normalised.")
        super().__post_init__()

    def setup(self) -> None:
        window = (self.window, self.window)
        self.inject = nn.Conv(
            self.features,
            window,
            use_bias=False,
            kernel_init=partial_identity,
            dtype=self.dtype,
            conv_general_dilated=lambda x, kernel, *_, **__: self._convolve(x, kernel),
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
        raw = self._injected(below)
        route = jnp.broadcast_to(jnp.asarray(route, jnp.int32), below.shape[:1])
        offset = _normalised(raw, *self.inject_norm.stored(route))
        affine = [norm.stored(route) for norm in self.norms]
        scale, shift = (jnp.stack(part, 1) for part in zip(*affine, strict=True))
        return tuple(self.kernels), {"offset": offset, "scale": scale, "shift": shift}

    def measured_injection(self, below: jax.Array, route: int = 0) -> jax.Array:
        """u, normalised by the batch's own statistics, which `statistics` keeps.

        For training, with all samples on one route and `mutable=["statistics"]`.
        """
        raw = self._injected(below)
        return _normalised(raw, *self.inject_norm.measure(raw, route))

    def measured_blocks(self, u: jax.Array, route: int = 0) -> jax.Array:
        """h of u, like `measured_injection`. This is the solve, so autodiff is Eq. 5."""
        h = u
        for kernel, norm in zip(self.kernels, self.norms, strict=True):
            raw = self._convolve(h, kernel)
            h = h + _normalised(raw, *norm.measure(raw, route))
        return h

    def _injected(self, below: jax.Array) -> jax.Array:
        validate.array("below", below, "[B, height, width, channels]")
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
        return _normalised(self._convolve(s, kernel), u["scale"][:, k], u["shift"][:, k])

    @nn.nowrap
    def _convolve(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        rounded = jnp.dtype(self.factors) == jnp.bfloat16 and x.dtype == jnp.float32
        return convolve_bfloat16(x, kernel) if rounded else convolve(x, kernel)


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


class RouteHead(nn.Module):
    """A linear classifier of each route, on the maximum over all positions.

    Attributes:
        classes: of the output.
        routes: number of routes.
        scale: of the logits; a small one keeps the first predictions unsure.
    """

    classes: int
    routes: int = 1
    scale: float = 1 / 9

    @nn.compact
    def __call__(self, h: jax.Array, route: jax.Array | int) -> jax.Array:
        """Logits float32 [B, classes] of h [B, H, W, C], for the routes int32 [B] or one route."""
        top = jnp.max(h, (1, 2)).astype(jnp.float32)
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", batch_axis=0)
        shape = (self.routes, top.shape[-1], self.classes)
        kernel = self.param("kernel", init, shape)[jnp.asarray(route, jnp.int32)]
        product = "bc,bck->bk" if kernel.ndim == 3 else "bc,ck->bk"
        return self.scale * jnp.einsum(product, top, kernel)


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
