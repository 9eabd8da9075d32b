"""Layers injected again, for the samples below which something has changed."""

from typing import Any

import jax

from dynalay_jax.layers.base import Cell
from dynalay_jax.solve import buckets
from dynalay_jax.solve import per_sample as lanes

PyTree = Any


def injected_again(
    layer: Cell, below: jax.Array, changed: jax.Array, u: PyTree, min_bucket: int
) -> PyTree:
    """What a layer is injected with, computed anew for the samples that changed.

    Args:
        layer: bound to its parameters.
        below: activations of the layer below, [B, ...].
        changed: bool [B].
        u: what the layer was injected with before, leaves [B, ...].
        min_bucket: the samples that changed are gathered into the smallest bucket that holds them,
            none smaller than this; 0 computes all and drops what is not needed.

    Returns:
        u, with new values where `changed`.
    """
    if not min_bucket:
        return lanes.select(changed, layer(below)[1], u)
    module, variables = layer.unbind()
    variables, u = lanes.vary_like((variables, u), below, changed)

    def inject(level: int, ids: jax.Array | None, operands: tuple, fixed: tuple) -> PyTree:
        variables, below = operands
        return module.apply(variables, buckets.gather(below, ids))[1]

    sizes = buckets.bucket_sizes(len(changed), min_bucket, between=True)
    return buckets.update(inject, changed, u, (variables, below), sizes)
