"""Halting routers at the agent's cost: early exit, PonderNet, Q-exit and ACT, on frozen weights.

    python -m train.studies.early_exit WORKDIR

They go through the exits of `train.exits`, one layer more at each. Early exit halts at the first
whose most probable class has a probability of θ or more (Huang et al. 2018, MSDNet, arXiv
1703.09844); nothing is trained for it. For the others a small network says after each exit but the
last whether to halt there, with probability λ_e. Asking it is charged. It alone is trained,
afterwards (`train.pondering`), on training examples as they are.

- PonderNet halts at exit e with probability p_e, by chance: what is reported is the expectation.
- Q-exit (Balagansky & Gavrilov 2022, PALBERT, arXiv 2204.03276): the same networks halt at the
  first exit at which the sum of p reaches q.
- ACT halts at the first exit at which the sum of λ reaches 1 − ε, and answers with a mixture.

Each has settings from dear to cheap, and the straight pass as the cheapest of all. At the agent's
mean cost on the test split, accuracy is interpolated between the settings next to it in cost, which
is what mixing the two at random has in expectation; a router that nowhere costs as much has its
dearest setting. The validation split chooses the networks of Q-exit, and no label anything else.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.adaptive import agent, macs
from train import run as finished
from train import state
from train.cli import friendly
from train.console import percent, print_table
from train.data.types import Dataset, Split
from train.parallel import unreplicate
from train.plots import cost_curves
from train.plots import run as figures
from train.step import Task
from train.studies import exits
from train.studies.exits import Exits
from train.studies.halting_nets import (
    HaltingNet,
    Loss,
    act_loss,
    act_weights,
    distribution,
    fit,
    ponder_loss,
)
from train.workdir import write_record

# λ_p of PonderNet, q of Q-exit, τ of ACT.
_PRIORS = (0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
_QUANTILES = tuple(np.linspace(0.05, 0.95, 19).round(2).tolist())
_TAUS = (1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
# Training examples that the halting networks see, at most.
_EXAMPLES = 20_000

# What a router does: (logits of λ, exits) → expected correctness and cost of each example, [n].
Rule = Callable[[np.ndarray, Exits], tuple[np.ndarray, np.ndarray]]
Points = list[dict[str, Any]]


def early(splits: dict[str, Exits], thresholds: int = 101) -> Points:
    """Early exit's points, as of `measure`, at quantiles of the confidence on the validation split.

    Args:
        splits: "validation" and "test", without the cost of asking anything.
        thresholds: how many.
    """
    sure = {name: np.exp(seen.log_probs[:, :-1].max(-1)) for name, seen in splits.items()}

    taken = lambda name, theta: _first(sure[name] >= theta, splits[name])
    thetas = np.quantile(sure["validation"], np.linspace(0, 1, thresholds)).tolist()
    means = lambda theta: _means(taken("test", theta), taken("validation", theta))
    return [_straight(splits), *({"theta": theta} | means(theta) for theta in thetas)]


def asked(net: HaltingNet, task: Task, seen: Exits) -> Exits:
    """The exits with the cost of asking the network at each but the last."""
    share = asking(net, seen.phi) / task.costs.straight
    layers = len(task.model.widths)
    times = np.minimum(np.arange(1, layers + 2), layers)
    return dataclasses.replace(seen, cost=seen.cost + share * times)


def asking(net: HaltingNet, phi: agent.Phi) -> float:
    """MACs of asking the network once about one sample of φ, leaves [..., n]."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[-1:], jnp.float32), phi)
    params = jax.eval_shape(net.init, jax.random.key(0), one)
    return macs.macs(net.apply, params, one)


def training_split(dataset: Dataset) -> Split:
    """The examples that halting networks are trained on."""
    return dataset.train.take(slice(_EXAMPLES))


def sample(logits: np.ndarray, seen: Exits) -> tuple[np.ndarray, np.ndarray]:
    """PonderNet's `Rule`."""
    p = np.exp(distribution(jnp.asarray(logits)))
    return np.sum(p * seen.correct, axis=1), np.sum(p * seen.cost, axis=1)


def threshold(logits: np.ndarray, seen: Exits, q: float) -> tuple[np.ndarray, np.ndarray]:
    """Q-exit's `Rule`."""
    reached = np.cumsum(np.exp(distribution(jnp.asarray(logits))), axis=1) >= q
    return _first(reached[:, :-1], seen)


def _first(halts: np.ndarray, seen: Exits) -> tuple[np.ndarray, np.ndarray]:
    """Correctness and cost at the first exit that halts, bool [n, L]; else at the last one."""
    stops = np.column_stack([halts, np.ones(len(halts), bool)])
    taken = np.arange(len(stops)), stops.argmax(1)
    return seen.correct[taken], seen.cost[taken]


def mixed(logits: np.ndarray, seen: Exits) -> tuple[np.ndarray, np.ndarray]:
    """ACT's `Rule`."""
    p, halts = map(np.asarray, act_weights(jnp.asarray(logits)))
    mixture = np.einsum("ne,nec->nc", p, np.exp(seen.log_probs))
    return mixture.argmax(1) == seen.labels, seen.cost[halts]


def measure(
    net: HaltingNet, splits: dict[str, Exits], budget: float, seed: int
) -> dict[str, Points]:
    """Trains the halting networks and lists what each setting does.

    Args:
        net: the network.
        splits: "train", "validation" and "test", with the cost of asking.
        budget: mean cost at which Q-exit's networks are to be the best on the validation split.
        seed: of the training.

    Returns:
        For "pondernet", "q_exit" and "act" a point for each setting, the straight pass first: the
        setting, `mean_cost` and `accuracy` on the test split, and on the validation split
        `validation_mean_cost` and `validation_accuracy`. Those of "q_exit" have one λ_p, `prior`.
    """

    def trained(loss: Loss, settings: Sequence[float]) -> dict[str, np.ndarray]:
        params = fit(net, loss, splits["train"], settings, seed)
        answer = jax.jit(lambda x: jax.lax.map(lambda one: net.apply(one, x), params))
        asked_at = lambda name: jax.tree.map(lambda leaf: leaf[:, :-1], splits[name].phi)
        return {name: np.asarray(answer(asked_at(name))) for name in ("validation", "test")}

    def point(rule: Rule, logits: dict[str, np.ndarray], i: int, **setting: float) -> dict:
        on = lambda name: rule(logits[name][i], splits[name])
        return setting | _means(on("test"), on("validation"))

    ponder, act = trained(ponder_loss, _PRIORS), trained(act_loss, _TAUS)
    straight = _straight(splits)
    sweeps = [
        [point(functools.partial(threshold, q=q), ponder, i, prior=prior, q=q) for q in _QUANTILES]
        for i, prior in enumerate(_PRIORS)
    ]
    before = lambda sweep: at_cost([straight, *sweep], budget, "validation_")["accuracy"]
    return {
        "pondernet": [
            straight,
            *(point(sample, ponder, i, prior=prior) for i, prior in enumerate(_PRIORS)),
        ],
        "q_exit": [straight, *max(sweeps, key=before)],
        "act": [straight, *(point(mixed, act, i, tau=tau) for i, tau in enumerate(_TAUS))],
    }


def _straight(splits: dict[str, Exits]) -> dict[str, float]:
    return _means(*((splits[name].correct[:, 0], 0.0) for name in ("test", "validation")))


def _means(test: tuple[Any, Any], validation: tuple[Any, Any]) -> dict[str, float]:
    keys = ("accuracy", "mean_cost", "validation_accuracy", "validation_mean_cost")
    return {key: float(np.mean(x)) for key, x in zip(keys, (*test, *validation), strict=True)}


def at_cost(points: Points, budget: float, split: str = "") -> dict[str, float]:
    """`mean_cost` and `accuracy` of a router at a mean cost, between its points next to it."""
    pairs = sorted((p[f"{split}mean_cost"], p[f"{split}accuracy"]) for p in points)
    costs, accuracies = zip(*pairs, strict=True)
    accuracy = float(np.interp(budget, costs, accuracies))
    return {"mean_cost": min(budget, costs[-1]), "accuracy": accuracy}


def compare(workdir: str | Path, data_dir: str | None = None) -> dict[str, Any]:
    """Trains halting networks for a finished run, compares, says and writes it.

    Args:
        workdir: of the run; gets halting.json, and its figures are drawn again.
        data_dir: where TFDS keeps its data, if not where it was in training.

    Returns:
        What is written: `step` of the checkpoint, examples of each split, points as of `measure`,
        and `at_agent_cost`: of the agent and each halting router `mean_cost` and `accuracy`.

    Raises:
        UserError: workdir is not that of a trained run with an agent.
    """
    run = finished.reopen(workdir, data_dir)
    step, params = run.restored()
    agent, before = (run.evaluate(params, split) for split in ("test", "validation"))
    data, visit = run.dataset, exits.measurement(run.task, state.join(unreplicate(params)))
    net = HaltingNet(run.task.model.agent_hidden)
    parts = {
        "train": training_split(data),
        "validation": data.validation,
        "test": data.test,
    }
    seen = {name: visit(split) for name, split in parts.items()}
    splits = {name: asked(net, run.task, each) for name, each in seen.items()}
    trained = measure(net, splits, before.mean_cost, run.config.seed)
    points = {"early_exit": early(seen), **trained}
    at_agent = {name: at_cost(each, agent.mean_cost) for name, each in points.items()}
    record = {
        "step": step,
        "examples": {name: len(split.labels) for name, split in parts.items()},
        **points,
        "at_agent_cost": {
            "agent": {"mean_cost": agent.mean_cost, "accuracy": agent.accuracy},
            **at_agent,
        },
    }
    write_record(run.workdir, "halting", record)
    figures.draw(run.workdir)
    _say(record)
    return record


def _say(record: dict[str, Any]) -> None:
    names = {"agent": "agent"} | {name: label for name, (label, _) in cost_curves.HALTING.items()}
    rows = [
        [names[name], percent(at["accuracy"]), f"{at['mean_cost']:.2f}"]
        for name, at in record["at_agent_cost"].items()
    ]
    title = f"Test set of {record['examples']['test']}, at the agent's cost"
    print_table(title, ["router", "accuracy", "mean cost"], rows)


def main() -> None:
    """The command."""
    with friendly():
        compare(**vars(finished.parser("studies.early_exit", __doc__).parse_args()))


if __name__ == "__main__":
    main()
