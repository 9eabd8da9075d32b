"""Saved models that are quick to make: nothing is trained."""

import jax
import jax.numpy as jnp

from dynalay_jax.adaptive import DynaLay, init, shapes
from dynalay_jax.predict.folder import Point, SavedModel

CURVE = (Point(0.1, 0.9, 2000.0), Point(1.0, 0.8, 1500.0), Point(3.0, 0.8, 1200.0))


def saved(shape=(4, 4, 1), zeros=False, router="agent", **fields):
    """A model of two dense layers, unless `fields` say otherwise, with weights as at the start.

    With `zeros`, nothing is compiled, and weights are 0.
    """
    settings = {"cell": "dense", "widths": (4, 4), "strides": (1, 1), "agent_hidden": 4}
    model = DynaLay(classes=3, **{**settings, **fields})
    if zeros:
        leaf = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype)
        variables = jax.tree.map(leaf, shapes(model, shape))
    else:
        variables = init(model, jax.random.key(1), shape)
    return SavedModel(
        model=model,
        variables=variables,
        input_shape=shape,
        classes=("ant", "bee", "cat"),
        mean=(0.5,) * shape[-1],
        std=(0.25,) * shape[-1],
        router=router,
        price=0.1,
        curve=CURVE if router == "agent" else (),
        about="made for tests",
    )
