"""The routed pass of a saved model as one pure function, for `Predictor` and `jax.export`."""

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.adaptive import macs, names, routers
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.predict.folder import PyTree, SavedModel
from dynalay_jax.solve.solution import Status


def forward(
    saved: SavedModel,
    costs: macs.Costs,
    variables: PyTree,
    samples: jax.Array,
    real: jax.Array,
    price: jax.Array,
) -> dict[str, jax.Array]:
    """What one routed pass does with each sample.

    Args:
        saved: the model; its own variables are not read.
        costs: of the model.
        variables: of the model.
        samples: uint8 or float32 images as of `check_images`, or int32 tokens, [B, ...].
        real: bool [B]; other samples fill the batch and take the straight pass.
        price: λ, float32 scalar.

    Returns:
        Arrays [B, ...] by the name of the field of `Prediction`, and `iterated` bool
        [B, rounds, L].
    """
    model, x = saved.model, samples
    if not model.vocabulary:
        scale = 255.0 if samples.dtype == jnp.uint8 else 1.0
        mean, std = (np.asarray(each, np.float32) for each in (saved.mean, saved.std))
        x = (samples.astype(jnp.float32) / scale - mean) / std
    rule = names.router(saved.router, len(model.widths), model.rounds)

    def routed(key: jax.Array, seen: routers.Observation) -> jax.Array:
        return routers.decide(rule, key, seen) & real[:, None]

    key = jax.random.key(0)
    logits, trace = call(model, variables, DynaLay.__call__, x, routed, price, key)
    iterated, steps, residual, status = trace.sweeps
    asked = 1 + jnp.sum(jnp.any(iterated, -1)[:-1], axis=0)
    decisions = asked.astype(jnp.float32) if saved.router == "agent" else 0.0
    over_solves = lambda values, none: jnp.max(jnp.where(iterated, values, none), axis=(0, 2))
    worst = over_solves(status, -1)
    return {
        "labels": jnp.argmax(logits, -1).astype(jnp.int32),
        "probabilities": jax.nn.softmax(logits),
        "steps": jnp.sum(jnp.where(iterated, steps, 0), axis=(0, 2)),
        "residual": jnp.where(worst < 0, jnp.nan, over_solves(residual, 0.0)),
        "status": jnp.where(worst < 0, Status.SKIPPED, worst).astype(jnp.int32),
        "macs": costs.straight + macs.spent(costs, iterated, steps, decisions),
        "iterated": jnp.moveaxis(iterated, 1, 0),
    }


def route_names(iterated: np.ndarray) -> np.ndarray:
    """Names of routes, bool [B, rounds, L] → str [B]: "none", "all", "layer_2"; "layer_2, layer_1"
    with a second round."""
    batch, rounds, layers = iterated.shape

    def layers_of(mask: np.ndarray) -> str:
        every = [f"layer_{j + 1}" for j in np.flatnonzero(mask)]
        return "all" if len(every) == layers else "+".join(every)

    kinds, which = np.unique(iterated.reshape(batch, -1), axis=0, return_inverse=True)
    each = [filter(None, map(layers_of, kind.reshape(rounds, layers))) for kind in kinds]
    return np.array([", ".join(parts) or "none" for parts in each])[which.reshape(-1)]
