"""The agent: its features φ of the main model, its network, and its adaptive softmax.

    p = AgentNet(φ),    P(0) = 1 − P(iterate),    P(l) = P(iterate) · P(l | iterate)

Action 0 iterates no layer; action l iterates layer l. φ is behind `stop_gradient`, so the agent
reads the main model without training it (Eq. 8).
"""

from collections.abc import Sequence
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from dynalay_jax.layers import validate
from dynalay_jax.solve.validate import per_sample


class Phi(NamedTuple):
    """φ, the agent's features of each sample, without gradient.

    Attributes:
        activations: float32 [B, ...], the `pool` of each layer.
        metrics: float32 [B, ...]: log residuals, entropy and margin of the logits, log odds of the
            most probable class, log λ, last action, progress.
    """

    activations: jax.Array
    metrics: jax.Array


def features(
    hs: Sequence[jax.Array],
    logits: jax.Array,
    residuals: jax.Array,
    price: jax.Array | float,
    last_action: jax.Array,
    progress: jax.Array,
    last: bool = False,
) -> Phi:
    """φ of each sample.

    Args:
        hs: activations of the L layers, each [B, ..., channels].
        logits: of the current state, [B, classes].
        residuals: relative one-step residual of each layer, [B, L]; or [B, 0] for none.
        price: λ of Eq. 2, positive, scalar or [B].
        last_action: int32 [B], 0 … L; 0 in the first round.
        progress: share of the rounds that are over, scalar in [0, 1).
        last: as in `pool`.
    """
    log_p = nn.log_softmax(logits.astype(jnp.float32))
    p = jnp.exp(log_p)
    entropy = -jnp.sum(p * log_p, axis=-1, keepdims=True)
    # Not `top_k`: in a larger program on CPU it sorts all classes.
    best = jnp.max(p, axis=-1, keepdims=True)
    others = jnp.arange(p.shape[-1]) != jnp.argmax(p, axis=-1, keepdims=True)
    second = jnp.max(p, axis=-1, keepdims=True, where=others, initial=0.0)
    batch = logits.shape[0]
    # Above this confidence the rest of the probability is lost in float32.
    sure = jnp.clip(best, max=1 - 1e-6)
    metrics = [
        jnp.log(residuals + 1e-6),
        entropy,
        best - second,
        jnp.log(sure) - jnp.log1p(-sure),
        jnp.log(prices(price, batch))[:, None],
        nn.one_hot(last_action, len(hs) + 1),
        jnp.full((batch, 1), progress, jnp.float32),
    ]
    activations = [pool(h, last) for h in hs]
    join = lambda parts: jnp.concatenate(parts, axis=-1)
    return jax.lax.stop_gradient(Phi(join(activations), join(metrics)))


def prices(price: jax.Array | float, batch: int) -> jax.Array:
    """λ of each sample, float32 [batch], from a scalar or [batch].

    Raises:
        TypeError, ValueError: it has another type or shape, or is not positive.
    """
    validate.positive("price", price)
    return per_sample("price", price, (batch,), jnp.float32)


def pool(h: jax.Array, last: bool = False) -> jax.Array:
    """Mean and maximum over all positions: [B, ..., C] → float32 [B, 2 C]; [B, C] unchanged.

    With `last`, the last position only, [B, C]: for text, the state after the last token.
    """
    h = h.astype(jnp.float32)
    if h.ndim == 2:
        return h
    positions = tuple(range(1, h.ndim - 1))
    if last:
        return h[:, *(-1 for _ in positions)]
    return jnp.concatenate([h.mean(positions), h.max(positions)], axis=-1)


class Trunk(nn.Module):
    """Two hidden layers on φ, before the decision.

    Attributes:
        hidden: width of both.
    """

    hidden: int

    @nn.compact
    def __call__(self, phi: Phi) -> jax.Array:
        """float32 [..., hidden]."""
        # Separate layers: the few metrics would have little effect among hundreds of activations.
        activations = nn.Dense(self.hidden, name="activations")(nn.LayerNorm()(phi.activations))
        metrics = nn.Dense(self.hidden, use_bias=False, name="metrics")(phi.metrics)
        return nn.gelu(nn.Dense(self.hidden)(nn.gelu(activations + metrics)))


class AgentNet(nn.Module):
    """Two-level adaptive softmax over L + 1 actions, from φ.

    The head decides whether to iterate at all. The tail chooses the layer, from a narrower
    projection of the same hidden state.

    Attributes:
        actions: L + 1.
        hidden: width of the two hidden layers.
        tail: width of the tail's projection.

    References:
        Grave et al., Efficient Softmax Approximation for GPUs, ICML 2017.
    """

    actions: int
    hidden: int = 128
    tail: int = 16

    def __post_init__(self) -> None:
        for name, least in {"actions": 2, "hidden": 1, "tail": 1}.items():
            validate.integer(name, getattr(self, name), least)
        super().__post_init__()

    @nn.compact
    def __call__(self, phi: Phi) -> jax.Array:
        """log p: float32 [B, L + 1] from φ."""
        if not isinstance(phi, Phi):
            raise TypeError(f"phi: expected Phi(activations, metrics), got {type(phi).__name__}.")
        state = Trunk(self.hidden, name="trunk")(phi)
        iterate = nn.Dense(1, name="head")(state)
        narrow = nn.Dense(self.tail, use_bias=False, name="project")(state)
        layer = nn.log_softmax(nn.Dense(self.actions - 1, name="tail")(narrow))
        return jnp.concatenate([nn.log_sigmoid(-iterate), nn.log_sigmoid(iterate) + layer], axis=-1)
