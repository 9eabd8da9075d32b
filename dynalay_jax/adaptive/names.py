"""What the names of precisions, adjoints, solvers and routers stand for."""

from typing import Any

import jax.numpy as jnp

from dynalay_jax.adaptive import routers
from dynalay_jax.layers import validate
from dynalay_jax.solve.adjoints import Implicit, JacobianFree, Phantom, Unrolled
from dynalay_jax.solve.solvers import Anderson, Broyden, Picard

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ADJOINTS = {
    "implicit": Implicit(on_failure="jacobian_free"),
    "jacobian_free": JacobianFree(),
    "phantom": Phantom(),
    "unrolled": Unrolled(),
}
SOLVERS = {
    "picard": Picard(),
    "damped": Picard(damping=0.5),
    "anderson": Anderson(),
    "broyden": Broyden(),
}
# Fields of `DynaLay` whose values have names.
NAMED: dict[str, dict[str, Any]] = {
    "dtype": DTYPES,
    "factors": DTYPES,
    "adjoint": ADJOINTS,
    "solver": SOLVERS,
}


def router(name: str, layers: int, rounds: int) -> routers.Router:
    """The router of a name, with ":setting" if it has one, as "random:0.5".

    Raises:
        ValueError: there is none.
    """
    kind, _, setting = name.partition(":")
    try:
        known = routers.by_name(float(setting or 0), layers, rounds)
    except ValueError as error:
        raise ValueError(f"router: expected a number after the colon, got {name!r}.") from error
    validate.one_of("router", kind, known)
    return known[kind]
