"""Losses of the main model: cross-entropy on the routes of a router, or on every route at once.

main_loss         L = mean_i CE(logits of the route of sample i)
all_routes_loss   L = Σ_a weight_a · mean_i ((1 − d) CE_a + d CE(logits_a, softmax(teacher)))
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dynalay_jax.adaptive.inspect import call, check_model
from dynalay_jax.adaptive.macs import Costs, check_costs, spent
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.layers import validate
from dynalay_jax.layers.base import STATISTICS
from dynalay_jax.solve.solution import BackwardStats

PyTree = Any


def main_loss(
    model: DynaLay,
    params: PyTree,
    x: jax.Array,
    labels: jax.Array,
    router: Callable,
    price: jax.Array | float,
    key: jax.Array,
    costs: Costs,
    label_smoothing: float = 0.0,
    probe: BackwardStats | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of the routed pass; FPI gradients reach only the iterated layers (Eq. 4).

    Args:
        model: the model.
        params: of `init`.
        x: inputs [b, ...].
        labels: int32 [b].
        router: chooses the layers to iterate.
        price: λ, positive, scalar or [b].
        key: for routers that draw at random.
        costs: of the model.
        label_smoothing: in [0, 1).
        probe: see `inspect.probes`.

    Returns:
        Scalar loss, and a dict of scalar means: `cross_entropy`, `accuracy`, `macs` (of the whole
        pass, for each sample), `steps` (for each solve), `unconverged` (share of the solves).
    """
    check_model(model)
    check_costs(costs, len(model.widths))
    logits, trace = call(model, params, DynaLay.__call__, x, router, price, key, probe)
    check_labels(labels, logits)
    loss = jnp.mean(_cross_entropy(logits, labels, label_smoothing))
    sweeps = trace.sweeps
    solves = jnp.maximum(jnp.sum(sweeps.iterate), 1).astype(jnp.float32)
    over = lambda value: jnp.sum(value).astype(jnp.float32) / solves
    macs = spent(costs, sweeps.iterate, sweeps.steps)
    return loss, {
        "cross_entropy": loss,
        "accuracy": jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32)),
        "macs": jnp.mean(macs) + costs.straight,
        "steps": over(jnp.where(sweeps.iterate, sweeps.steps, 0)),
        "unconverged": over(sweeps.iterate & (sweeps.status != 0)),
    }


def all_routes_loss(
    model: DynaLay,
    params: PyTree,
    x: jax.Array,
    labels: jax.Array,
    weights: Sequence[float],
    label_smoothing: float = 0.0,
    distillation: float = 0.0,
) -> tuple[jax.Array, tuple[dict[str, jax.Array], PyTree]]:
    """Cross-entropy of every action on all samples, for models with statistics of each route.

    Action 1 iterates all layers. It is the teacher of the others.

    Args:
        model, params, x, labels, label_smoothing: as of `main_loss`.
        weights: of the actions 0 … L in the loss; actions of weight 0 are not computed.
        distillation: d, share of the teacher in the others' targets, in [0, 1].

    Returns:
        Scalar loss, a dict of scalar means (`cross_entropy`, `accuracy`, and `accuracy_<action>`),
        and the new collection `statistics`.

    References:
        Yu and Huang, Universally Slimmable Networks, ICCV 2019 (distillation between routes).
    """
    check_model(model)
    if len(weights) != len(model.widths) + 1:
        expected = f"expected one for each of {len(model.widths) + 1} actions"
        raise ValueError(f"weights: {expected}, got {len(weights)}.")
    validate.share("distillation", distillation)
    actions = [action for action, weight in enumerate(weights) if weight > 0]
    logits, new = model.apply(params, x, actions, method=DynaLay.every_action, mutable=[STATISTICS])
    check_labels(labels, logits[0])
    losses = _cross_entropy(logits, jnp.broadcast_to(labels, logits.shape[:-1]), label_smoothing)
    if 1 in actions:
        teacher = jax.lax.stop_gradient(jax.nn.softmax(logits[actions.index(1)]))
        taught = optax.softmax_cross_entropy(logits, jnp.broadcast_to(teacher, logits.shape))
        share = jnp.array([distillation * (action != 1) for action in actions])[:, None]
        losses = (1 - share) * losses + share * taught
    weighted = jnp.array([weights[action] for action in actions])
    loss = jnp.sum(weighted * losses.mean(-1))
    right = jnp.mean((jnp.argmax(logits, -1) == labels).astype(jnp.float32), -1)
    metrics = {
        "cross_entropy": loss,
        "accuracy": jnp.sum(weighted * right) / jnp.sum(weighted),
        **{f"accuracy_{action}": right[i] for i, action in enumerate(actions)},
    }
    return loss, (metrics, new[STATISTICS])


def _cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """[...] of logits [..., classes] and labels int32 [...]."""
    fits = lambda smoothing: (smoothing >= 0) & (smoothing < 1)
    validate.number("label_smoothing", smoothing, "a number from 0 to below 1", fits)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def check_labels(labels: jax.Array, logits: jax.Array) -> None:
    """Raises TypeError or ValueError unless `labels` [b] fits the logits [b, classes]."""
    batch, classes = logits.shape
    validate.array("labels", labels, "[B]", jnp.integer)
    if len(labels) != batch:
        raise ValueError(f"labels: expected one for each of {batch} samples, got {len(labels)}.")
    fits = lambda labels: (labels >= 0) & (labels < classes)
    validate.number("labels", labels, f"classes from 0 to {classes - 1}", fits)
