"""A DynaLay model from outside: parameters, shapes, costs in MACs, certified contraction factors.

    costs(model, shape) = MACs of a batch of 2 − MACs of a batch of 1

The difference counts what each sample costs; work shared by a whole batch cancels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.adaptive.macs import Costs, macs
from dynalay_jax.adaptive.model import DynaLay
from dynalay_jax.layers import validate
from dynalay_jax.solve.adjoints import Implicit
from dynalay_jax.solve.api import backward_probe
from dynalay_jax.solve.solution import BackwardStats


def call(model: DynaLay, params: Any, method: Callable, *args: Any) -> Any:
    """`model.apply` of a method: `call(model, params, DynaLay.begin, x)`."""
    check_model(model)
    if not isinstance(params, Mapping):
        raise TypeError(f"params: expected those of init, got {type(params).__name__}.")
    return model.apply(params, *args, method=method)


def check_model(model: Any) -> None:
    """Raises TypeError unless `model` is a `DynaLay`."""
    if not isinstance(model, DynaLay):
        raise TypeError(f"model: expected a DynaLay, got {validate.shown(model)}.")


def costs(model: DynaLay, input_shape: tuple[int, ...]) -> Costs:
    """MACs of the model's parts for one sample of shape `input_shape` (without the batch axis).

    Work that is done once for a whole batch, such as an orthogonal factor, counts nothing.
    """
    check_model(model)
    # Rounding factors changes no count, but the program that rounds them pads channels.
    model = model.clone(factors=jnp.float32)
    params = shapes(model, input_shape)
    one, two = (_costs(model, params, (batch, *input_shape)) for batch in (1, 2))
    return jax.tree.map(lambda a, b: b - a, one, two)


def _costs(model: DynaLay, params: Any, shape: tuple[int, ...]) -> Costs:
    """MACs of the model's parts on a batch of inputs."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    run = lambda method: lambda params, *args: call(model, params, method, *args)
    result = lambda method, *args: jax.eval_shape(run(method), params, *args)
    count = lambda method, *args: macs(run(method), params, *args)
    state = result(DynaLay.begin, x)
    inject, step = [], []
    for j in range(len(model.widths)):
        below, z = state.hs[j : j + 2]
        inputs = lambda m, h, j=j: m.layers[j](h)
        straight = lambda m, h, j=j: m.layers[j].straight(*m.layers[j](h))
        once = lambda m, z, w, u, j=j: m.layers[j].step(z, w, u)
        inject.append(count(straight, below))
        step.append(count(once, z, *result(inputs, below)))
    return Costs(
        stem=count(DynaLay.stem_output, x),
        inject=tuple(inject),
        step=tuple(step),
        head=count(DynaLay.head, state.hs[-1]),
        agent=count(lambda m, s: m.observe(s, 1.0, 0).log_probs, state),
    )


def shapes(model: DynaLay, input_shape: tuple[int, ...]) -> Any:
    """Shapes and dtypes of the model's parameters, as `init` returns them; nothing is computed."""
    # A key that is made while tracing starts no device.
    return jax.eval_shape(lambda: init(model, jax.random.key(0), input_shape))


def init(model: DynaLay, key: jax.Array, input_shape: tuple[int, ...]) -> Any:
    """Parameters of main model and agent, {"params": {...}}; the agent's are under "agent".

    Models with a `Whitening` stem or `stage` cells also have {"statistics": {...}}, which are
    measured, not trained.

    Args:
        model: a DynaLay.
        key: typed PRNG key.
        input_shape: of one sample, without the batch axis.
    """
    check_model(model)
    validate.key("key", key)
    validate.integers("input_shape", input_shape)
    if len(input_shape) != 3 and not model.flat():
        raise ValueError(
            "input_shape: expected (height, width, channels), without the batch axis, got "
            f"{input_shape}."
        )
    x = jnp.zeros((1, *input_shape), jnp.float32)
    decide = lambda m, x: m.observe(m.begin(x), 1.0, 0).log_probs
    return jax.jit(lambda key: model.init(key, x, method=decide))(key)


def probes(model: DynaLay, batch: int) -> BackwardStats | None:
    """The `probe` of a pass, `BackwardStats` [rounds, L, B]; None without a backward solve.

    As with `backward_probe`, its gradient is the account of each backward solve,
    float32. Steps are 0 where no solve was needed.
    """
    check_model(model)
    validate.integer("batch", batch, 0)
    if not isinstance(model.adjoint, Implicit) or model.by_route():
        return None
    solves = (model.rounds, len(model.widths))
    each = lambda leaf: jnp.broadcast_to(leaf, (*solves, *leaf.shape))
    return jax.tree.map(each, backward_probe(batch))


def certificate(model: DynaLay, params: Any, x: jax.Array) -> list[float | None]:
    """The certified contraction factor κ of each layer, or None if the cell has none.

    Args:
        model: the model.
        params: of `init`.
        x: one input, [1, ...].
    """

    def factors(m: DynaLay, x: jax.Array) -> list[jax.Array | None]:
        hs = m.begin(x).hs
        return [
            layer.contraction_factor(layer(h)[0])
            for layer, h in zip(m.layers, hs[:-1], strict=True)
        ]

    return [None if k is None else float(k) for k in call(model, params, factors, x)]
