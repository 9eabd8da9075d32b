"""Layers that are iterated to a fixed point, and certified bounds on how much maps expand."""

from dynalay_jax.layers.base import Cell
from dynalay_jax.layers.cascade import CascadeConv
from dynalay_jax.layers.certified import BoundedConv, OrthogonalConv, OrthogonalDense
from dynalay_jax.layers.concave import ConcaveConv, SeparableConcaveConv
from dynalay_jax.layers.free import FreeConv
from dynalay_jax.layers.norm_bounds import (
    contractive,
    conv_bound,
    dense_bound,
    depthwise_bound,
    orthogonal,
)
from dynalay_jax.layers.recurrent import LSTM, ScanConv
from dynalay_jax.layers.registry import CELLS, STATIC
from dynalay_jax.layers.stage import RouteHead, RouteNorm, StageConv
from dynalay_jax.layers.static import GatedConv, PlainConv, ResidualConv
from dynalay_jax.layers.whitening import Whitening, whiten

__all__ = [
    "CELLS",
    "LSTM",
    "STATIC",
    "BoundedConv",
    "CascadeConv",
    "Cell",
    "ConcaveConv",
    "FreeConv",
    "GatedConv",
    "OrthogonalConv",
    "OrthogonalDense",
    "PlainConv",
    "ResidualConv",
    "RouteHead",
    "RouteNorm",
    "ScanConv",
    "SeparableConcaveConv",
    "StageConv",
    "Whitening",
    "contractive",
    "conv_bound",
    "dense_bound",
    "depthwise_bound",
    "orthogonal",
    "whiten",
]
