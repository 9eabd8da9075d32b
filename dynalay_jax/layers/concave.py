"""FPI layers: the map g(z, u) that a layer iterates, split where its cost is.

    z ← g(z, u) = respond(mix(z, w), w, u),    (w, u) = cell(below)

`w` is what all samples share (effective weights, made once a solve), `u` what the layer below
injects for each sample. mix(0, w) = 0, and all multiplications by weights are in `mix`, but those
of recurrent cells, so the straight output h = g(0, u) = respond(0, w, u) costs no more than the
injection: a network of straight outputs is the paper's plain CNN, or its LSTM.

    cell = ConcaveConv(features=32)
    params = cell.init(key, below)
    w, u = cell.apply(params, below)
    z = fixed_point(cell.iterate, cell.straight(w, u), w, u).value

What each cell promises about its iteration is in its docstring and in `contraction_factor`.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import norm_bounds as contraction
from dynalay_jax.layers.base import Cell, norm_groups
from dynalay_jax.layers.convolution import convolve, fast_convolution
from dynalay_jax.layers.recurrent import LSTM
from dynalay_jax.layers.scan import ScanConv

PyTree = Any
# Of the bound on an orthogonal factor: at 12 it is less than 0.1 % above, up to 512 features.
_ITERATIONS = 12


class ConcaveConv(Cell):
    """Positive concave gated convolution: z ← m ⊙ tanh(relu(K ∗ z + u)), K ≥ 0, m in [0, 1].

    The map is monotone and bounded, so the iterates from z = 0 (and from h = g(0, u)) rise to its
    least fixed point. With offsets u > 0 it contracts in Thompson's metric and has one fixed point;
    there is no Euclidean contraction factor, which is why signals can cross the whole image.

    Attributes:
        gain: row sum of K at the start. Above 1, activity spreads through open gates.
        own: share of a channel's row sum that starts on the channel itself, so that what it says
            spreads over the image before it mixes with the others.
        offset: standard deviation of the offsets at the start, for inputs of variance 1 and without
            `norm`. Small ones are quiet: what spreads from a few places is not drowned by what
            starts everywhere.
        gate: standard deviation of the gates' logits at the start, for inputs of variance 1.
        hard_gates: whether gates are piecewise linear in their logits: 0 from -3 down, 1 from 3 up.
            A sigmoid's never shut wholly, and what leaks grows wherever activity spreads.

    References:
        Gabor, Piotrowski and Cavalcante, Positive Concave Deep Equilibrium Models, ICML 2024;
        Sittoni and Tudisco, Subhomogeneous Deep Equilibrium Models, ICML 2024.
    """

    gain: float = 1.5
    own: float = 0.3
    offset: float = 1.0
    gate: float = 4.0
    hard_gates: bool = False

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        # K is a square: an update of Adam's changes its entries, all of them small, by a share of
        # their value. A step of |raw| would be larger than the entry itself.
        channels = self.features
        mean = self.gain / 9 * self._mixed()
        raw = self.param("kernel", self._positive, (3, 3, channels, channels), mean)
        return jnp.square(raw), self._injection(below)

    def _injection(self, below: jax.Array) -> PyTree:
        gate = nn.Conv(
            self.features,
            (self.stride, self.stride),
            strides=self.stride,
            kernel_init=nn.initializers.variance_scaling(self.gate**2, "fan_in", "normal"),
            dtype=self.dtype,
            conv_general_dilated=fast_convolution,
            name="gate",
        )(below.astype(self.dtype))
        opened = nn.hard_sigmoid(gate) if self.hard_gates else nn.sigmoid(gate)
        return {"offset": self._offset(below, self.offset), "gate": opened}

    @nn.nowrap
    def _mixed(self) -> jax.Array:
        """How channels are mixed at the start, [C, C]: `own` within each, the rest evenly."""
        return (1 - self.own) / self.features + self.own * jnp.eye(self.features)

    @nn.nowrap
    def _positive(self, key: jax.Array, shape: tuple[int, ...], mean: Any) -> jax.Array:
        """Roots of uniform entries with these means."""
        spread = jax.random.uniform(key, shape, jnp.float32, 0.0, 2.0)
        return jnp.sqrt(spread * jnp.broadcast_to(mean, shape))

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(z, w)

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        del w
        return u["gate"] * jnp.tanh(nn.relu(mixed + u["offset"]))


class SeparableConcaveConv(ConcaveConv):
    """Positive concave cell with a separable kernel: z ← m ⊙ tanh(relu(P (D ∗ z) + u)), P, D ≥ 0.

    D moves what a channel says to its neighbours, 3×3 in each channel by itself, and P, 1×1, mixes
    the channels: a ConcaveConv whose kernel is D P, at (9 + C) / 9C of its MACs, with all of its
    properties.

    Attributes:
        gain, own, offset, gate, hard_gates: as of ConcaveConv; `own` is the share of P's diagonal.

    References:
        Sifre and Mallat, Rigid-Motion Scattering for Texture Classification, 2014.
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        channels = self.features
        depthwise = self.param("depthwise", self._positive, (3, 3, 1, channels), self.gain / 9)
        pointwise = self.param("pointwise", self._positive, (channels, channels), self._mixed())
        w = {"depthwise": jnp.square(depthwise), "pointwise": jnp.square(pointwise)}
        return w, self._injection(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        moved = convolve(z, w["depthwise"], groups=self.features)
        return moved @ w["pointwise"].astype(z.dtype)


class LipschitzCell(Cell):
    """A cell z ← φ(linear(z) + u) with a 1-Lipschitz activation φ and a bound on the linear part.

    Attributes:
        most: bound on the contraction factor κ, below 1.
        activation: "abs", "groupsort" (pairs of channels, both norm-preserving), "relu" or "tanh".
    """

    most: float = 0.99
    activation: str = "abs"

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        del w
        return lipschitz_activation(self.activation, mixed + u)


class OrthogonalConv(LipschitzCell):
    """Certified contraction (Eq. 6): z ← φ(κQ (k ∗ z) + u), Q orthogonal 1×1, ‖k‖₁ ≤ 1 depthwise.

    Young's inequality bounds the depthwise convolution by 1 and φ is 1-Lipschitz, so the step
    contracts by κ < 1 in the Euclidean norm. The depthwise kernels start as shifts, one neighbour a
    channel, which lose no energy.
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        n = self.features
        v = self.param("v", nn.initializers.orthogonal(), (n, n))
        k = self.param("k", nn.initializers.constant(4.0), ())
        kernel = self.param("kernel", _shifts, (3, 3, 1, n))
        norms = jnp.sum(jnp.abs(kernel), axis=(0, 1, 2))
        w = {
            "depthwise": kernel / jnp.maximum(norms, 1.0),
            "pointwise": contraction.contractive(v, k, self.most)[None, None],
        }
        return w, self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(convolve(z, w["depthwise"], groups=self.features), w["pointwise"])

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        pointwise = contraction.dense_bound(w["pointwise"][0, 0], _ITERATIONS)
        return pointwise * contraction.depthwise_bound(w["depthwise"])


class BoundedConv(LipschitzCell):
    """Certified contraction: z ← φ(κ K/‖K‖ ∗ z + u), a full 3×3 kernel over its norm's bound.

    References:
        Singla and Feizi, Fantastic Four, ICLR 2021 (`contraction.conv_bound`).
    """

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        shape = (3, 3, self.features, self.features)
        kernel = self.param("kernel", nn.initializers.orthogonal(), shape)
        return self.most * kernel / contraction.conv_bound(kernel), self._offset(below)

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return convolve(z, w)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        return contraction.conv_bound(w)


class FreeConv(Cell):
    """Convolution with group normalisation inside: z ← relu(norm(K ∗ z + u)). Promises nothing.

    The cell of deep equilibrium models. To converge it needs a damped or accelerated solver, and
    often `jacobian_regularization` in the loss, which the training harness does not add. A solve
    that did not converge says so in its status.

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


class CascadeConv(Cell):
    """Nilpotent: z ← relu(K ∗ z + u), K strictly block triangular over G groups of channels.

    A group reads only the groups before it, so the Jacobian J is strictly block triangular and
    J^G = 0 whatever the weights. There is one fixed point, which iterating g reaches exactly, from
    h = g(0, u) in G − 1 evaluations. `iterate` goes through the groups in order and lets each read
    what those before it have just become, as Gauss and Seidel solve linear systems: for as many
    multiplications as one evaluation of g it is there, from any start, and needs no other to show
    it. Its Jacobian in z is 0, so that the backward solve of Eq. 5 is exact at once. In a norm that
    weights the groups steeply enough g contracts by any factor, which is Theorem 1 without a bound
    on the weights; in the Euclidean norm there is none.

    At the fixed point it is a densely connected network of G layers.

    Attributes:
        groups: G; must divide `features`.

    References:
        Huang et al., Densely Connected Convolutional Networks, CVPR 2017.
    """

    groups: int = 4

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
        del z  # no group reads what it was
        first, *offsets = jnp.split(u, self.groups, axis=-1)
        done = nn.relu(first)
        for kernel, offset in zip(w, offsets, strict=True):
            done = jnp.concatenate([done, nn.relu(convolve(done, kernel) + offset)], axis=-1)
        return done

    @nn.nowrap
    def respond(self, mixed: jax.Array, w: PyTree, u: PyTree) -> jax.Array:
        del w
        return nn.relu(mixed + u)


class OrthogonalDense(LipschitzCell):
    """Certified contraction on vectors (Eq. 6): z ← φ(κQ z + W x), Q orthogonal."""

    activation: str = "tanh"

    @nn.compact
    def __call__(self, below: jax.Array) -> tuple[PyTree, PyTree]:
        v = self.param("v", nn.initializers.orthogonal(), (self.features, self.features))
        k = self.param("k", nn.initializers.constant(4.0), ())
        below = below.reshape(below.shape[0], -1).astype(self.dtype)
        offset = nn.Dense(self.features, dtype=self.dtype, name="inject")(below)
        if self.norm:
            offset = nn.LayerNorm(dtype=self.dtype, name="norm")(offset)
        return contraction.contractive(v, k, self.most), offset

    @nn.nowrap
    def mix(self, z: jax.Array, w: PyTree) -> jax.Array:
        return z @ w.astype(z.dtype)

    @nn.nowrap
    def contraction_factor(self, w: PyTree) -> jax.Array:
        return contraction.dense_bound(w, _ITERATIONS)


def lipschitz_activation(name: str, x: jax.Array) -> jax.Array:
    """A 1-Lipschitz activation over the last axis.

    Raises:
        ValueError: unknown name.
    """
    if name == "groupsort":
        pairs = x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
        return jnp.sort(pairs, axis=-1).reshape(x.shape)
    activations = {"abs": jnp.abs, "relu": nn.relu, "tanh": jnp.tanh}
    if name not in activations:
        known = ", ".join([*activations, "groupsort"])
        raise ValueError(f"activation: expected one of {known}, got {name!r}.")
    return activations[name](x)


def _shifts(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Depthwise kernels [h, w, 1, C] that each move their channel by one of the h·w offsets."""
    h, w, _, channels = shape
    where = jax.random.randint(key, (channels,), 0, h * w)
    return jax.nn.one_hot(where, h * w, dtype=dtype).T.reshape(shape)


CELLS = {
    "concave": ConcaveConv,
    "separable": SeparableConcaveConv,
    "orthogonal": OrthogonalConv,
    "bounded": BoundedConv,
    "free": FreeConv,
    "cascade": CascadeConv,
    "scan": ScanConv,
    "lstm": LSTM,
    "dense": OrthogonalDense,
}
