"""How accurate are early exit, PonderNet, Q-exit and ACT at the agent's cost, on the same weights?

    python -m train.studies.early_exit WORKDIR

These routers take a sample through a sequence of exits (`train.studies.exits`), each with one more
layer iterated. Early exit halts at the first exit whose most probable class has a probability of θ
or more (Huang et al. 2018, MSDNet, arXiv 1703.09844). It needs no training. The other routers run a
small network after each exit but the last (`train.studies.halting_nets`), and its MACs are charged.
The network gives the probability h of halting there. It is trained on training examples, without
augmentation; the model's own weights stay as they are.

- PonderNet halts at exit e with probability p_e. Its accuracy and cost are expectations.
- Q-exit (Balagansky & Gavrilov 2022, PALBERT, arXiv 2204.03276) uses PonderNet's networks. It halts
  at the first exit at which the sum of p reaches q.
- ACT halts at the first exit at which the sum of h reaches 1 − ε, and answers with a mixture.

Each router has settings from expensive to cheap; the cheapest is the straight pass. At the agent's
mean cost on the test split, accuracy is interpolated between the two nearest settings, as if these
two were mixed at random. A router that never costs as much as the agent is shown at its most
expensive setting. The labels of the validation split choose the networks of Q-exit. Nothing else is
chosen by labels.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train import state
from train.parallel import unreplicate
from train.plots.cost_curves import HALTING
from train.run import Run
from train.step import PyTree
from train.studies import exits
from train.studies.exits import Exits
from train.studies.halting_nets import (
    HaltingNet,
    Loss,
    act_loss,
    act_weights,
    before_last,
    charged,
    distribution,
    fit,
    ponder_loss,
)
from train.studies.runner import COST, Record, Study, Table, tabulate

# Training examples of the halting networks, at most.
_EXAMPLES = 20_000
# Prior of PonderNet, q of Q-exit, τ of ACT.
_PRIORS = (0.05, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
_QUANTILES = tuple(np.linspace(0.05, 0.95, 19).round(2).tolist())
_TAUS = (1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)

# Whether each example is answered correctly, and its cost, [n]; expectations for PonderNet.
Outcome = tuple[np.ndarray, np.ndarray]
# How a router halts: (logits of h, exits) → outcome.
Rule = Callable[[np.ndarray, Exits], Outcome]
Points = list[dict[str, Any]]


def measure(run: Run, params: PyTree) -> Record:
    """The halting routers beside the agent.

    Returns:
        `examples` of each split; for each router of `cost_curves.HALTING` its points, as of
        `early` and `trained`; `at_agent_cost`: `mean_cost` and `accuracy` of the agent and of each
        halting router.
    """
    agent, validated = (run.evaluate(params, split) for split in ("test", "validation"))
    data, visit = run.dataset, exits.measurement(run.task, state.join(unreplicate(params)))
    net = HaltingNet(run.task.model.agent_hidden)
    some = data.train.take(slice(_EXAMPLES))
    parts = {"train": some, "validation": data.validation, "test": data.test}
    seen = {name: visit(split) for name, split in parts.items()}
    splits = {name: charged(net, run.task, each) for name, each in seen.items()}
    points = {
        "early_exit": early(seen),
        **trained(net, splits, validated.mean_cost, run.config.seed),
    }
    return {
        "examples": {name: len(split.labels) for name, split in parts.items()},
        **points,
        "at_agent_cost": {
            "agent": agent.point(),
            **{name: at_cost(each, agent.mean_cost) for name, each in points.items()},
        },
    }


def table(record: Record) -> Table:
    """The routers at the agent's cost."""
    names = {"agent": "agent"} | {name: label for name, (label, _) in HALTING.items()}
    title = f"Test set of {record['examples']['test']}, at the agent's cost"
    columns = {
        "router": ("name", ""), "accuracy": ("accuracy", "%"), "mean cost": ("mean_cost", ".2f")
    }  # fmt: skip
    rows = ({"name": names[name], **at} for name, at in record["at_agent_cost"].items())
    return tabulate(title, columns, rows, COST)


def early(splits: dict[str, Exits], thresholds: int = 101) -> Points:
    """Points of early exit, as of `trained`, at quantiles of the confidence on validation data.

    Args:
        splits: "validation" and "test", without the cost of a network.
        thresholds: number of quantiles.
    """
    sure = {name: np.exp(seen.log_probs[:, :-1].max(-1)) for name, seen in splits.items()}

    def point(theta: float) -> dict[str, float]:
        at = lambda name: _first(sure[name] >= theta, splits[name])
        return {"theta": theta} | _means(at("test"), at("validation"))

    thetas = np.quantile(sure["validation"], np.linspace(0, 1, thresholds)).tolist()
    return [_straight(splits), *map(point, thetas)]


def sample(logits: np.ndarray, seen: Exits) -> Outcome:
    """PonderNet's `Rule`."""
    p = np.exp(distribution(jnp.asarray(logits)))
    return np.sum(p * seen.correct, axis=1), np.sum(p * seen.cost, axis=1)


def threshold(logits: np.ndarray, seen: Exits, q: float) -> Outcome:
    """Q-exit's `Rule`."""
    reached = np.cumsum(np.exp(distribution(jnp.asarray(logits))), axis=1) >= q
    return _first(reached[:, :-1], seen)


def _first(halts: np.ndarray, seen: Exits) -> Outcome:
    """At the first exit that halts, bool [n, L]; else at the last one."""
    stops = np.column_stack([halts, np.ones(len(halts), bool)])
    taken = np.arange(len(stops)), stops.argmax(1)
    return seen.correct[taken], seen.cost[taken]


def mixed(logits: np.ndarray, seen: Exits) -> Outcome:
    """ACT's `Rule`."""
    p, halts = map(np.asarray, act_weights(jnp.asarray(logits)))
    mixture = np.einsum("ne,nec->nc", p, np.exp(seen.log_probs))
    return mixture.argmax(1) == seen.labels, seen.cost[halts]


def trained(
    net: HaltingNet, splits: dict[str, Exits], budget: float, seed: int
) -> dict[str, Points]:
    """Trains the halting networks and evaluates each setting.

    Args:
        net: the network.
        splits: "train", "validation" and "test", with the cost of the network.
        budget: mean cost at which the validation split chooses Q-exit's networks.
        seed: of the training.

    Returns:
        For "pondernet", "q_exit" and "act" a point for each setting, the straight pass first: the
        setting, `mean_cost` and `accuracy` on the test split, and on the validation split
        `validation_mean_cost` and `validation_accuracy`. Those of "q_exit" have one `prior`.
    """

    def networks(loss: Loss, settings: Sequence[float]) -> list[tuple[float, dict[str, Any]]]:
        """Each setting, and the logits of its network by split."""
        params = fit(net, loss, splits["train"], settings, seed)
        answer = jax.jit(lambda phi: jax.lax.map(lambda one: net.apply(one, phi), params))
        names = ("validation", "test")
        each = (np.asarray(answer(before_last(splits[name].phi))) for name in names)
        logits = [dict(zip(names, pair, strict=True)) for pair in zip(*each, strict=True)]
        return list(zip(settings, logits, strict=True))

    def point(rule: Rule, logits: dict[str, Any], **setting: float) -> dict[str, float]:
        on = lambda name: rule(logits[name], splits[name])
        return setting | _means(on("test"), on("validation"))

    straight = _straight(splits)
    ponder, act = networks(ponder_loss, _PRIORS), networks(act_loss, _TAUS)
    halts = {q: functools.partial(threshold, q=q) for q in _QUANTILES}
    sweeps = [
        [point(rule, logits, prior=prior, q=q) for q, rule in halts.items()]
        for prior, logits in ponder
    ]
    validated = lambda sweep: at_cost([straight, *sweep], budget, "validation_")["accuracy"]
    return {
        "pondernet": [straight, *(point(sample, of, prior=prior) for prior, of in ponder)],
        "q_exit": [straight, *max(sweeps, key=validated)],
        "act": [straight, *(point(mixed, of, tau=tau) for tau, of in act)],
    }


def _straight(splits: dict[str, Exits]) -> dict[str, float]:
    return _means(*((splits[name].correct[:, 0], 0.0) for name in ("test", "validation")))


def _means(test: tuple[Any, Any], validation: tuple[Any, Any]) -> dict[str, float]:
    keys = ("accuracy", "mean_cost", "validation_accuracy", "validation_mean_cost")
    return {key: float(np.mean(x)) for key, x in zip(keys, (*test, *validation), strict=True)}


def at_cost(points: Points, budget: float, split: str = "") -> dict[str, float]:
    """`mean_cost` and `accuracy` of a router at a mean cost, between the two nearest points."""
    pairs = sorted((p[f"{split}mean_cost"], p[f"{split}accuracy"]) for p in points)
    costs, accuracies = zip(*pairs, strict=True)
    accuracy = float(np.interp(budget, costs, accuracies))
    return {"mean_cost": min(budget, costs[-1]), "accuracy": accuracy}


STUDY = Study("early_exit", __doc__, measure, table)

if __name__ == "__main__":
    STUDY.main()
