"""Halting networks on the exits of a frozen model, trained as PonderNet or as ACT.

After each exit e but the last, h_e = sigmoid(net(φ of exit e)) is the probability of halting there.

- PonderNet (Banino et al. 2021, arXiv 2107.05407): p_e = h_e Π_{j<e} (1 − h_j), and the last exit
  has the rest; loss Σ p_e CE_e + β KL(p ‖ geometric(prior)).
- ACT (Graves 2016, arXiv 1603.08983): halts at exit N, the first at which Σ h_e ≥ 1 − ε. p is h
  before N, and the remainder R at N. The answer is the mixture Σ p_e · (class probabilities of exit
  e): Graves mixes states, but a frozen classifier was not trained to read mixed states. Loss: CE of
  the mixture + τ (cost of N + R · cost of the step to N), which is his N + R where every step costs
  1.

Arrays of logits of h have shape [..., L] for L layers; arrays over all exits have [..., L + 1].
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dynalay_jax.adaptive import agent, macs
from train.step import PyTree, Task
from train.studies.exits import Exits

# PonderNet's own β is 0.01. Where most exits are right, the cross-entropy then decides alone, and
# hardly any prior makes the network cheap.
_BETA = 0.1
_EPSILON = 0.01
_STEPS, _BATCH, _LEARNING_RATE = 500, 256, 3e-3

# (logits of h, log-probability of the right class and cost of each exit, setting) → batch's mean.
Loss = Callable[..., jax.Array]


class HaltingNet(nn.Module):
    """The logit of h, float32 [...], from φ, leaves float32 [..., n], by the agent's own trunk."""

    hidden: int

    @nn.compact
    def __call__(self, phi: agent.Phi) -> jax.Array:
        return nn.Dense(1)(agent.Trunk(self.hidden)(phi))[..., 0]


def distribution(logits: jax.Array) -> jax.Array:
    """PonderNet's log p from the logits of h."""
    go_on = jnp.cumsum(jax.nn.log_sigmoid(-logits), axis=-1)
    zero = jnp.zeros_like(logits[..., :1])
    reached = jnp.concatenate([zero, go_on], -1)
    return reached + jnp.concatenate([jax.nn.log_sigmoid(logits), zero], -1)


def ponder_loss(logits: jax.Array, log_probs: jax.Array, spent: jax.Array, prior: Any) -> jax.Array:
    """Σ p_e CE_e + β KL(p ‖ geometric(prior)); the prior in (0, 1) stands for the cost."""
    del spent
    log_p = distribution(logits)
    log_prior = distribution(jnp.broadcast_to(jnp.log(prior) - jnp.log1p(-prior), logits.shape))
    p = jnp.exp(log_p)
    return jnp.mean(jnp.sum(p * (-log_probs + _BETA * (log_p - log_prior)), axis=-1))


def act_weights(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ACT's p, and where it halts, bool, from the logits of h."""
    zero = jnp.zeros_like(logits[..., :1])
    # The last exit always halts.
    halt = jnp.concatenate([jax.nn.sigmoid(logits), zero + 1], axis=-1)
    total = jnp.cumsum(halt, axis=-1)
    before = jnp.concatenate([zero, total[..., :-1]], axis=-1)
    running, full = before < 1 - _EPSILON, total >= 1 - _EPSILON
    p = jnp.where(running, jnp.where(full, 1 - before, halt), 0.0)
    return p, running & full


def act_loss(logits: jax.Array, log_probs: jax.Array, spent: jax.Array, tau: Any) -> jax.Array:
    """CE of the mixture + τ (cost of N + R · cost of the last step); τ in nats a straight pass."""
    p, halts = act_weights(logits)
    mixture = jax.nn.logsumexp(log_probs, axis=-1, b=p)
    last = jnp.diff(spent, axis=-1, prepend=0.0)
    ponder = jnp.sum(jnp.where(halts, spent + p * last, 0.0), axis=-1)
    return jnp.mean(-mixture + tau * ponder)


def before_last(phi: agent.Phi) -> agent.Phi:
    """φ at the exits that the network reads: all but the last, leaves [n, L, ...]."""
    return jax.tree.map(lambda leaf: leaf[:, :-1], phi)


def charged(net: HaltingNet, task: Task, seen: Exits) -> Exits:
    """The exits with the cost of the network, which runs once at each exit but the last."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[-1:], jnp.float32), seen.phi)
    params = jax.eval_shape(net.init, jax.random.key(0), one)
    share = macs.macs(net.apply, params, one) / task.costs.straight
    layers = len(task.model.widths)
    times = np.minimum(np.arange(1, layers + 2), layers)
    return dataclasses.replace(seen, cost=seen.cost + share * times)


def fit(net: HaltingNet, loss: Loss, train: Exits, settings: Sequence[float], seed: int) -> PyTree:
    """A halting network for each setting, with Adam from the same start on the same batches.

    Args:
        net: the network.
        loss: `ponder_loss` or `act_loss`.
        train: exits of the training examples, as of `charged`.
        settings: of the loss.
        seed: of start and batches.

    Returns:
        Parameters with a leading axis of settings.
    """
    start, draw = jax.random.split(jax.random.key(seed))
    right = np.take_along_axis(train.log_probs, train.labels[:, None, None], axis=-1)[..., 0]
    data = jax.tree.map(jnp.asarray, (before_last(train.phi), right, train.cost))
    transform = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS))
    places = jax.random.randint(draw, (_STEPS, _BATCH), 0, len(right))

    @jax.jit
    @jax.vmap
    def train_one(setting: jax.Array) -> PyTree:
        def step(carry: tuple, batch: jax.Array) -> tuple[tuple, None]:
            params, optimizer = carry
            phi, *rest = jax.tree.map(lambda leaf: leaf[batch], data)
            value = lambda params: loss(net.apply(params, phi), *rest, setting)
            updates, optimizer = transform.update(jax.grad(value)(params), optimizer)
            return (optax.apply_updates(params, updates), optimizer), None

        params = net.init(start, jax.tree.map(lambda leaf: leaf[:1], data[0]))
        return jax.lax.scan(step, (params, transform.init(params)), places)[0][0]

    return train_one(jnp.asarray(settings, jnp.float32))
