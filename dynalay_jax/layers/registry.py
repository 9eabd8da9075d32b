"""Names of cells, as configs and `DynaLay(cell=...)` use them: name → class.

`CELLS` holds the cells that are iterated to a fixed point. `STATIC` holds the layers that have
nothing to iterate. To add a cell, subclass `layers.base.Cell` and add the class here.
"""

from dynalay_jax.layers.cascade import CascadeConv
from dynalay_jax.layers.certified import BoundedConv, OrthogonalConv, OrthogonalDense
from dynalay_jax.layers.concave import ConcaveConv, SeparableConcaveConv
from dynalay_jax.layers.free import FreeConv
from dynalay_jax.layers.recurrent import LSTM, ScanConv
from dynalay_jax.layers.stage import StageConv
from dynalay_jax.layers.static import GatedConv, PlainConv, ResidualConv

CELLS = {
    "concave": ConcaveConv,
    "separable": SeparableConcaveConv,
    "orthogonal": OrthogonalConv,
    "bounded": BoundedConv,
    "free": FreeConv,
    "cascade": CascadeConv,
    "stage": StageConv,
    "scan": ScanConv,
    "lstm": LSTM,
    "dense": OrthogonalDense,
}


STATIC = {"plain": PlainConv, "gated": GatedConv, "residual": ResidualConv}
