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
from typing import Any, ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.layers.convolution import fast_convolution
from dynalay_jax.solve import buckets, per_sample
from dynalay_jax.solve.solution import Solution, Stats, Status

PyTree = Any
# The collection of what is measured on data and not trained.
STATISTICS = "statistics"


class Cell(nn.Module):
    """One FPI layer: a Linen module whose call returns the inputs (w, u) of the map `step`.

    Attributes:
        features: channels (or units) of the layer's state.
        stride: of the injection; the state has the input's resolution divided by the stride.
        window: side of the injection's kernel. A small kernel makes the straight pass cheap and
            leaves the spatial context to the iteration.
        norm: whether the injected offset is group-normalised. Certified cells never normalise
            inside the iteration, because that would break the bound.
        dtype: of the computation; parameters are float32.
        exact: of a class: whether one call of `iterate` gives the fixed point, from any start.
    """

    features: int
    stride: int = 1
    window: int = 3
    norm: bool = True
    dtype: Any = jnp.float32
    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("features", "stride", "window"):
            validate.integer(name, getattr(self, name), 1)
        validate.floating("dtype", self.dtype)
        super().__post_init__()

    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        """Shared weights w and per-sample injection u, from the layer below [B, ...]."""
        raise NotImplementedError(f"{type(self).__name__}: expected a __call__ of its own.")

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        """The linear part of `step`; mix(0, w) = 0."""
        raise NotImplementedError(f"{type(self).__name__}: expected a mix of its own.")

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        """The rest of `step`: activation, offset, gate. Pointwise, except in recurrent cells."""
        raise NotImplementedError(f"{type(self).__name__}: expected a respond of its own.")

    @nn.nowrap
    def step(self, z: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        """g(z, u), the map whose fixed point is computed: same shape and dtype as z."""
        return self.respond(self.mix(z, w), w, u)

    @nn.nowrap
    def iterate(self, z: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        """The map that solvers iterate: `step`, or a faster map with the same fixed points.

        It costs the same MACs as `step`.
        """
        return self.step(z, w, u)

    @nn.nowrap
    def straight(self, w: PyTree, u: PyTree) -> jax.Array:
        """The straight output h = g(0, u), without the multiplications by zero."""
        return self.respond(jnp.zeros_like(jax.tree.leaves(u)[0]), w, u)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array | None:
        """Certified Euclidean Lipschitz constant of `step` in z, or None if there is none."""
        return None

    def _offset(self, below: jax.Array, spread: float = 1.0) -> jax.Array:
        """Injected offset [B, H, W, features]: convolution, then group normalisation if `norm`.

        `spread` is its standard deviation at the start, for inputs of variance 1, without `norm`.
        """
        kernel = nn.initializers.variance_scaling(spread**2, "fan_in", "truncated_normal")
        settings = {"use_bias": not self.norm, "kernel_init": kernel}
        offset = self._convolution("inject", below, self.features, self.window, **settings)
        if self.norm:
            groups = norm_groups(self.features)
            offset = nn.GroupNorm(groups, dtype=self.dtype, name="norm")(offset)
        return offset

    def _gate_logits(
        self, below: jax.Array, features: int, spread: float, name: str, bias: float = 0.0
    ) -> jax.Array:
        """Logits [B, H, W, features] from windows of the stride's size; arguments: their start."""
        kernel = nn.initializers.variance_scaling(spread**2, "fan_in", "normal")
        settings = {"kernel_init": kernel, "bias_init": nn.initializers.constant(bias)}
        return self._convolution(name, below, features, self.stride, **settings)

    def _convolution(
        self, name: str, below: jax.Array, features: int, side: int, **settings: Any
    ) -> jax.Array:
        """The layer below in windows of that side, at the layer's stride."""
        validate.array("below", below, "[B, height, width, channels]")
        return nn.Conv(
            features,
            (side, side),
            strides=self.stride,
            dtype=self.dtype,
            conv_general_dilated=fast_convolution,
            name=name,
            **settings,
        )(below.astype(self.dtype))


def norm_groups(features: int) -> int:
    """Number of groups of a group normalisation, of about 8 channels each."""
    return math.gcd(features, max(features // 8, 1))


def reinject(
    layer: Cell,
    below: jax.Array,
    changed: jax.Array,
    u: PyTree,
    min_bucket: int,
    *inputs: jax.Array,
) -> PyTree:
    """The injection of a layer, recomputed for the samples whose layer below changed.

    Args:
        layer: bound to its parameters.
        below: activations of the layer below, [B, ...].
        changed: bool [B].
        u: the injection before, leaves [B, ...].
        min_bucket: size of the smallest bucket that the changed samples are gathered into; 0
            computes all samples and keeps the changed ones.
        *inputs: further arguments of the layer's call, [B, ...], such as each sample's route.

    Returns:
        u, with new values where `changed`.
    """
    if not min_bucket:
        return per_sample.select(changed, layer(below, *inputs)[1], u)
    module, variables = layer.unbind()
    variables, u = per_sample.vary_like((variables, u), below, changed)

    def inject(level: int, ids: jax.Array | None, operands: tuple, fixed: tuple) -> PyTree:
        variables, *inputs = operands
        return module.apply(variables, *buckets.gather(inputs, ids))[1]

    sizes = buckets.bucket_sizes(changed.shape[0], min_bucket, between=True)
    return buckets.update(inject, changed, u, (variables, below, *inputs), sizes)


def evaluate_once(
    layer: Cell, start: jax.Array, w: PyTree, u: PyTree, mask: jax.Array, min_bucket: int
) -> Solution:
    """The solve of an exact layer: one evaluation of `iterate` for the masked samples.

    Autodiff of it is Eq. 5. Arguments as of `reinject`; `mask` is bool [B].
    """

    def compute(level: int, ids: jax.Array | None, operands: tuple, fixed: tuple) -> jax.Array:
        w, gathered = operands[0], buckets.gather(operands[1:], ids)
        return layer.iterate(gathered[0], w, gathered[1])

    # `len` does not know the symbolic batch of an exported program.
    count = mask.shape[0]
    sizes = buckets.bucket_sizes(count, min_bucket, between=True) if min_bucket else [count]
    value = buckets.update(compute, mask, start, (w, start, u), sizes)
    finite = jnp.isfinite(per_sample.square_norm(value))
    status = jnp.where(finite, Status.CONVERGED, Status.DIVERGED)
    stats = Stats(
        mask.astype(jnp.int32),
        jnp.zeros(mask.shape, jnp.float32),
        jnp.where(mask, status, Status.SKIPPED).astype(jnp.int32),
    )
    return Solution(value, stats)
