"""Routed passes as programs that `benchmarks.routed_pass` times: each does what its router needs.

A program takes (parameters, images, key) and returns `logits` [b, classes], `macs` float32 [b] in
all, with the agent's decisions if the agent decides, and `iterated` bool [b, L].
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.adaptive import routers
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.macs import spent
from dynalay_jax.adaptive.model import DynaLay
from train import state as state_lib
from train import step

PyTree = Any
STRAIGHT, ALL = "none: straight pass alone", "all layers"
# Other shares of samples or layers that iterate, beside the agent's.
_RATES = (0.25, 0.5, 0.75)


class Arm(NamedTuple):
    """What is timed.

    Attributes:
        program: as the module says. Arms that share a program share its compilation.
        params: first argument of the program, arrays.
        kind: name in figures; arms of one kind make a curve; "" for arms that no figure shows.
        price: λ, of the agent's arms.
    """

    program: Callable[[PyTree, jax.Array, jax.Array], dict[str, jax.Array]]
    params: PyTree
    kind: str = ""
    price: float | None = None


def straight(
    task: step.Task, asks: bool, params: PyTree, images: jax.Array, key: jax.Array
) -> dict[str, jax.Array]:
    """The straight pass, in a program that cannot iterate; `asks` evaluates the policy, too."""
    del key
    variables, batch = state_lib.join(params), images.shape[0]
    state = call(task.model, variables, DynaLay.begin, task.normalise(images))
    macs = task.costs.straight + asks * task.costs.agent
    out = {
        "logits": state.logits,
        "macs": jnp.full((batch,), macs, jnp.float32),
        "iterated": jnp.zeros((batch, len(task.model.widths)), bool),
    }
    if asks:  # an output, so that XLA keeps the agent
        seen = call(task.model, variables, DynaLay.observe, state, task.config.price, 0)
        out["log_probs"] = seen.log_probs
    return out


def routed(
    task: step.Task,
    router: Callable[[Any], routers.Router],
    given: tuple[PyTree, Any],
    images: jax.Array,
    key: jax.Array,
) -> dict[str, jax.Array]:
    """A pass with the router that `router` makes of a setting; given: parameters, setting.

    The agent's setting is its price. Other routers have one round.
    """
    params, setting = given
    chosen = router(setting)
    decides = isinstance(chosen, routers.Agent)
    model = task.model if decides else task.model.clone(rounds=1)
    args = task.normalise(images), chosen, setting if decides else task.config.price, key
    logits, trace = call(model, state_lib.join(params), DynaLay.__call__, *args)
    iterate = trace.sweeps.iterate
    asked = jnp.float32(0)
    if decides:
        asked = 1.0 + jnp.sum(jnp.any(iterate[:-1], -1), axis=0).astype(jnp.float32)
    macs = task.costs.straight + spent(task.costs, iterate, trace.sweeps.steps, asked)
    return {"logits": logits, "macs": macs, "iterated": jnp.any(iterate, axis=0)}


def _agent(price: Any) -> routers.Router:
    del price  # the model takes it
    return routers.Agent()


def _constant(mask: jax.Array) -> routers.Router:
    """Iterates the layers of a mask [L] for every sample."""
    return lambda key, seen: jnp.broadcast_to(mask, (len(seen.logits), seen.layers))


def fixed(task: step.Task, params: PyTree) -> dict[str, Arm]:
    """Arms whose settings are known beforehand. The agent has the config's prices, every second."""
    price, prices, layers = task.config.price, task.config.prices, len(task.model.widths)
    agent = functools.partial(routed, task, _agent)
    asked = lambda price: Arm(agent, (params, np.float32(price)), "agent", price)
    constant = functools.partial(routed, task, _constant)
    always = lambda mask, kind="": Arm(constant, (params, mask), kind)
    # A program of its own, because XLA may use that every sample iterates.
    everything = functools.partial(routed, task, routers.Constant)
    return {
        STRAIGHT: Arm(functools.partial(straight, task, False), params, "none"),
        "none: agent asked": Arm(functools.partial(straight, task, True), params),
        "none: routed": always(np.zeros(layers, bool)),
        "agent": asked(price),
        **{
            f"layer {j + 1}": always(np.arange(layers) == j, f"layer {j + 1}")
            for j in range(layers)
        },
        ALL: Arm(everything, (params, None), ALL),
        **{f"agent, λ = {other:.3g}": asked(other) for other in prices[::2] if other != price},
    }


def matched(
    task: step.Task,
    params: PyTree,
    done: Mapping[str, Mapping[str, np.ndarray]],
    summary: Mapping[str, Any],
) -> dict[str, Arm]:
    """Random and confidence routing at the agent's MACs on the whole split, and at other rates.

    Args:
        task, params: of the run.
        done: outputs of the programs of `fixed` for all examples, by name.
        summary: of the run, which says what unsure samples iterate: "all" or "constant_LAYER".

    Returns:
        The arms by name. If the agent takes more MACs than all layers, they iterate all layers.
    """
    sure = np.asarray(jnp.max(jax.nn.softmax(jnp.asarray(done[STRAIGHT]["logits"])), axis=-1))
    route = summary["confidence_route"]
    layer = None if route == "all" else int(route.removeprefix("constant_"))
    layers, which = ((layer - 1,), f"layer {layer}") if layer else (None, ALL)
    extra = lambda name: done[name]["macs"].astype(float) - task.costs.straight
    budget, number = extra("agent").mean(), len(task.model.widths)
    one = np.mean([extra(f"layer {layer + 1}") for layer in range(number)])
    rate = float(np.interp(budget, [0.0, one, extra(ALL).mean()], [0.0, 1.0, number]))
    paid = np.cumsum(extra(which)[np.argsort(sure, kind="stable")]) / len(sure)
    bound = threshold(sure, int(np.searchsorted(paid, budget, side="right")) / len(sure))
    share = float(np.mean(sure < bound))  # less than that if several are equally sure
    drawn = functools.partial(routed, task, routers.Random)
    doubted = functools.partial(
        routed, task, functools.partial(routers.Confidence, iterated=layers)
    )
    random = lambda rate: Arm(drawn, (params, np.float32(rate)), "random")
    unsure = lambda share: Arm(doubted, (params, np.float32(threshold(sure, share))), "confidence")
    return {
        f"random at the agent's MACs, {rate:.2f} layers": random(rate),
        f"unsure at the agent's MACs, {share:.0%} to {which}": unsure(share),
        **{f"random, {other:.2f} layers": random(other) for other in _RATES},
        **{f"unsure, {other:.0%} to {which}": unsure(other) for other in _RATES},
    }


def threshold(confidence: np.ndarray, share: float) -> float:
    """The number that this share of the values is below; infinite for all of them."""
    ordered = np.append(np.sort(confidence), np.inf)
    return float(ordered[round(share * len(confidence))])
