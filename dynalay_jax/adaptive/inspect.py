"""A DynaLay model from outside: parameters, shapes, costs in MACs, certified contraction factors.

    costs(model, shape) = MACs of a batch of 2 − MACs of a batch of 1

The difference counts what each sample costs; work shared by a whole batch cancels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dynalay_jax.adaptive import macs
from dynalay_jax.adaptive.model import DynaLay


def call(model: DynaLay, params: Any, method: Callable, *args: Any) -> Any:
    """`method` of the model with these parameters: `model.apply`, with arguments in their order."""
    return model.apply(params, *args, method=method)


def costs(model: DynaLay, input_shape: tuple[int, ...]) -> macs.Costs:
    """MACs a sample of the model's parts, for inputs of `input_shape` (without the batch axis).

    What is computed once for a whole batch, as an orthogonal factor is, counts nothing.
    """
    params = shapes(model, input_shape)
    one, two = (_costs(model, params, (batch, *input_shape)) for batch in (1, 2))
    return jax.tree.map(lambda a, b: b - a, one, two)


def _costs(model: DynaLay, params: Any, shape: tuple[int, ...]) -> macs.Costs:
    """MACs of the model's parts on a batch of inputs."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    run = lambda method: lambda params, *args: call(model, params, method, *args)
    result = lambda method, *args: jax.eval_shape(run(method), params, *args)
    count = lambda method, *args: macs.macs(run(method), params, *args)
    state = result(DynaLay.begin, x)
    inject, step = [], []
    for j in range(len(model.widths)):
        below, z = state.hs[j : j + 2]
        inputs = lambda m, h, j=j: m.layers[j](h)
        straight = lambda m, h, j=j: m.layers[j].straight(*m.layers[j](h))
        turn = lambda m, z, w, u, j=j: m.layers[j].step(z, w, u)
        inject.append(count(straight, below))
        step.append(count(turn, z, *result(inputs, below)))
    return macs.Costs(
        stem=count(DynaLay.stem_output, x),
        inject=tuple(inject),
        step=tuple(step),
        head=count(DynaLay.head, state.hs[-1]),
        agent=count(lambda m, s: m.observe(s, 1.0, 0).log_probs, state),
    )


def shapes(model: DynaLay, input_shape: tuple[int, ...]) -> Any:
    """Shapes and dtypes of the model's parameters, nothing computed."""
    return jax.eval_shape(lambda key: init(model, key, input_shape), jax.random.key(0))


def init(model: DynaLay, key: jax.Array, input_shape: tuple[int, ...]) -> Any:
    """Parameters of main model and agent, {"params": {...}}; the agent's are under "agent"."""
    x = jnp.zeros((1, *input_shape), jnp.float32)
    everything = lambda m, x: m.observe(m.begin(x), 1.0, 0).log_probs
    return jax.jit(lambda key: model.init(key, x, method=everything))(key)


def certificate(model: DynaLay, params: Any, x: jax.Array) -> list[float | None]:
    """Per layer the certified contraction factor κ, or None where the cell promises none.

    Args:
        model, params: the model.
        x: one input, [1, ...].
    """

    def factors(m: DynaLay, x: jax.Array) -> list[jax.Array | None]:
        hs = m.begin(x).hs
        return [
            layer.contraction_factor(layer(h)[0])
            for layer, h in zip(m.layers, hs[:-1], strict=True)
        ]

    return [None if k is None else float(k) for k in call(model, params, factors, x)]
