"""Passes that end where a halting rule says so, as programs that `benchmarks.routed_pass` times.

They go through the exits of `train.studies.exits`. `train.studies.early_exit` compared the rules on
recorded exits, for which every sample ran to the end; here a sample that halts saves the solves
beyond. Every exit runs the straight parts of all layers again, as each round of the agent does; the
MACs leave out the layers below the exit, which need not run again.
"""

from collections.abc import Callable
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.support.passes import Arm
from dynalay_jax.adaptive import routers
from dynalay_jax.adaptive.inspect import call
from dynalay_jax.adaptive.macs import spent
from dynalay_jax.adaptive.model import DynaLay
from train import state as state_lib
from train.plots import cost_curves
from train.run import Run
from train.step import Task
from train.studies import exits, halting_nets
from train.studies.halting_nets import HaltingNet
from train.workdir import read_record

PyTree = Any


class Rule(NamedTuple):
    """A halting rule.

    Attributes:
        loss: that the rule's network is trained with; None for a rule without a network, which uses
            the log-probability of the most probable class.
        setting: key of the loss's setting, or of the threshold, in early_exit.json.
        halts: (point of early_exit.json, logits of λ up to here [b, e], key) → bool [b].
        weights: (logits of λ [b, L]) → weight of each exit's answer, [b, L + 1]; None if the last
            answer counts alone.
    """

    loss: halting_nets.Loss | None
    setting: str
    halts: Callable[[dict[str, Any], jax.Array, jax.Array], jax.Array]
    weights: Callable[[jax.Array], jax.Array] | None = None


def _reaches(point: dict[str, Any], logits: jax.Array, key: jax.Array) -> jax.Array:
    del key
    return 1 - jnp.exp(jnp.sum(jax.nn.log_sigmoid(-logits), axis=-1)) >= point["q"]


RULES = {
    "early_exit": Rule(
        None, "theta", lambda point, log_probs, key: jnp.exp(log_probs[:, -1]) >= point["theta"]
    ),
    "pondernet": Rule(
        halting_nets.ponder_loss,
        "prior",
        lambda point, logits, key: jax.random.bernoulli(key, jax.nn.sigmoid(logits[:, -1])),
    ),
    "q_exit": Rule(halting_nets.ponder_loss, "prior", _reaches),
    "act": Rule(
        halting_nets.act_loss,
        "tau",
        lambda point, logits, key: jnp.any(halting_nets.act_weights(logits)[1][:, :-1], axis=-1),
        lambda logits: halting_nets.act_weights(logits)[0],
    ),
}


def halted(
    task: Task,
    net: HaltingNet,
    rule: Rule,
    point: dict[str, Any],
    params: PyTree,
    images: jax.Array,
    key: jax.Array,
) -> dict[str, jax.Array]:
    """A program as in `passes`.

    Args:
        task, net: of the run, and its halting network.
        rule, point: the rule and its setting.
        params: {"main": parameters of the run, "halting": of the network, if there is one}.
        images, key: of the batch.
    """
    variables, layers = state_lib.join(params["main"]), len(task.model.widths)
    state = call(task.model, variables, DynaLay.begin, task.normalise(images))
    own = halting_nets.net_macs(net, exits.features(state, task.model.last)) if rule.loss else 0.0
    macs = jnp.full(images.shape[:1], task.costs.straight, jnp.float32)
    going = jnp.ones(images.shape[:1], bool)
    lambdas, answers, iterated = [], [state.logits], []
    for layer in range(1, layers + 1):
        lambdas.append(
            net.apply(params["halting"], exits.features(state, task.model.last))
            if rule.loss
            else jnp.max(jax.nn.log_softmax(state.logits), axis=-1)
        )
        macs += jnp.where(going, own, 0.0)
        ends = rule.halts(point, jnp.stack(lambdas, -1), jax.random.fold_in(key, layer))
        going &= ~ends
        iterate = routers.as_mask(jnp.where(going, layer, 0), layers)
        state, sweep = call(task.model, variables, DynaLay.sweep, state, iterate)
        macs += spent(task.costs, iterate[None], sweep.steps[None])
        answers.append(state.logits)
        iterated.append(iterate)
    answer = answers[-1]
    if rule.weights:
        p = rule.weights(jnp.stack(lambdas, -1))
        answer = jnp.einsum("be,bec->bc", p, jax.nn.softmax(jnp.stack(answers, 1)))
    return {"logits": answer, "macs": macs, "iterated": jnp.any(jnp.stack(iterated), 0)}


def arms(workdir: Path, run: Run, params: PyTree) -> dict[str, Arm]:
    """An arm for each rule of early_exit.json, at the setting nearest to the agent's cost.

    The networks are trained again, as the study trained them. Without the file there are no arms.
    """
    record = read_record(workdir, "early_exit")
    if not record:
        return {}
    net, budget = HaltingNet(run.task.model.agent_hidden), record["at_agent_cost"]["agent"]
    visit = exits.measurement(run.task, state_lib.join(params))
    seen = halting_nets.charged(net, run.task, visit(halting_nets.training_split(run.dataset)))
    found = {}
    for name, rule in RULES.items():
        points = [point for point in record.get(name, []) if rule.setting in point]
        if not points:
            continue
        distance = lambda point: abs(point["mean_cost"] - budget["mean_cost"])
        point = min(points, key=distance)
        given = {"main": params}
        if rule.loss:
            fitted = halting_nets.fit(net, rule.loss, seen, [point[rule.setting]], run.config.seed)
            given["halting"] = jax.tree.map(lambda leaf: leaf[0], fitted)
        label = cost_curves.HALTING[name][0]
        program = functools.partial(halted, run.task, net, rule, point)
        found[f"{label}, {_words(point)}"] = Arm(program, given, label)
    return found


def _words(point: dict[str, Any]) -> str:
    symbols = {"theta": "θ", "prior": "λ", "q": "q", "tau": "τ"}
    return ", ".join(
        f"{symbol} = {point[key]:.3g}" for key, symbol in symbols.items() if key in point
    )
