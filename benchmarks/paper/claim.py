"""What a row of the ledger is made of: a claim, and what runs show of it."""

from collections.abc import Callable, Sequence
import dataclasses
import itertools
from typing import Any

import numpy as np

from train.analysis import seeds

Summaries = Sequence[dict[str, Any]]
# Accuracy and cost of a route, by the summary.
Route = Callable[[dict[str, Any]], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is claimed, in which configs it is looked up, and how.

    Attributes:
        claim, paper: in words.
        configs: where it is looked up.
        needs: keys of the summary that it is about; a run in which one is missing or None has no
            say.
        here: what the summaries of a config show.
        holds: whether it is so in a summary.
        clear: whether it is so by more than two standard errors, where that can be said.
        why: what to know of it.
    """

    claim: str
    paper: str
    configs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    here: Callable[[Summaries], str] = lambda _: ""
    holds: Callable[[dict[str, Any]], bool] = lambda _: False
    why: str = ""
    clear: Callable[[dict[str, Any]], bool] | None = None


def against(*names: tuple[str, str]) -> Callable[[Summaries], str]:
    """Accuracies side by side: (name in words, name in the summary)."""
    return lambda summaries: ", ".join(
        f"{words} {seeds.mean(summaries, f'{key}_accuracy')} %" for words, key in names
    )


def routes(summaries: Summaries) -> str:
    """Accuracies of no operation, of all layers, and of each layer alone."""
    layers = 100 * np.mean([summary["layer_accuracies"] for summary in summaries], axis=0)
    alone = ", ".join(f"layer {i + 1} {accuracy:.1f} %" for i, accuracy in enumerate(layers))
    ends = against(("none", "straight"), ("all", "all_layers"))(summaries)
    return f"{ends}, {alone}"


def steps(summaries: Summaries) -> str:
    """Steps spent where the straight pass is wrong, and where it is right."""
    mean = lambda where: seeds.mean(summaries, f"steps_when_straight_{where}", ".1f", 1)
    return f"{mean('wrong')} where the straight pass is wrong, {mean('right')} elsewhere"


def shares(summaries: Summaries) -> str:
    """Shares of the samples that iterate nothing, layer 1, …"""
    return f"no operation / layer 1 / …: {seeds.shares(summaries)} %"


def ends(summaries: Summaries) -> str:
    """Cost and accuracy at the lowest and at the highest price."""
    ends = []
    for end in (0, -1):
        points = [summary["curve"][end] for summary in summaries]
        accuracy, cost = seeds.mean(points, "accuracy"), seeds.mean(points, "mean_cost", ".2f", 1)
        ends.append(f"{accuracy} % at a cost of {cost} (λ = {points[0]['price']:.3g})")
    return ", ".join(ends)


def falls(summary: dict[str, Any]) -> bool:
    """Whether the cost falls over the prices, and at none rises."""
    costs = [point["mean_cost"] for point in summary["curve"]]
    return costs[-1] < costs[0] and all(a >= b for a, b in itertools.pairwise(costs))


def one_fixed_point(summaries: Summaries) -> str:
    """What `train.solves` found of each layer: starts that do not matter, gradients that agree."""
    layers = []
    for number, each in enumerate(zip(*(s["solves"] for s in summaries), strict=True), 1):
        same, error = seeds.mean(each, "same_answer"), seeds.mean(each, "gradient_error", ".0e", 1)
        layers.append(f"layer {number} {same} % the same answer, gradient off by {error}")
    return ", ".join(layers)


def gaps(summaries: Summaries) -> str:
    """Shares of the way from random routing to the oracle: the agent's, and the surest routes'."""
    own = seeds.mean(summaries, "gap_closed", "z.0f")
    surest = [{"gap": share_of_gap(summary, "surest")} for summary in summaries]
    return f"{own} %, the surest routes {seeds.mean(surest, 'gap', 'z.0f')} %"


def share_of_gap(summary: dict[str, Any], name: str) -> float | None:
    """The share of the way from random routing to the oracle that name_accuracy goes."""
    random, oracle, own = (f"{each}_accuracy" for each in ("random", "oracle", name))
    # Where the oracle has no more than random routing, there is no gap.
    known = all(summary.get(key) is not None for key in ("gap_closed", random, oracle, own))
    if not known:
        return None
    return (summary[own] - summary[random]) / (summary[oracle] - summary[random])


def share_of_cost(summaries: Summaries) -> str:
    """The agent beside all layers, and its cost in theirs."""
    share = np.mean([s["mean_cost"] / s["all_layers_cost"] for s in summaries])
    accuracies = against(("agent", "test"), ("all layers", "all_layers"))(summaries)
    return f"{accuracies}, at {100 * share:.0f} % of their cost"


def everything(summary: dict[str, Any]) -> tuple[float, float]:
    """Accuracy and cost of all layers, iterated for every sample."""
    return summary["all_layers_accuracy"], summary["all_layers_cost"]


def best_layer(summary: dict[str, Any]) -> tuple[float, float]:
    """Accuracy and cost of the layer that is the most accurate by itself."""
    best = int(np.argmax(summary["layer_accuracies"]))
    return summary["layer_accuracies"][best], summary["layer_costs"][best]


def at_the_lowest_price(words: str, whose: str, route: Route) -> Callable[[Summaries], str]:
    """The agent at its lowest price beside a route, and its MACs in the route's."""

    def here(summaries: Summaries) -> str:
        agent = seeds.mean([s["curve"][0] for s in summaries], "accuracy")
        other = seeds.mean([{"accuracy": route(s)[0]} for s in summaries], "accuracy")
        share = np.mean([_share_of_macs(s, route) for s in summaries])
        return f"agent {agent} %, {words} {other} %, at {100 * share:.0f} % of {whose} MACs"

    return here


def matched_at_half(route: Route) -> Callable[[dict[str, Any]], bool]:
    """Whether the agent at its lowest price is within 1 point of it, with half of its MACs."""
    return lambda s: (
        s["curve"][0]["accuracy"] >= route(s)[0] - 0.01 and _share_of_macs(s, route) <= 0.5
    )


def _share_of_macs(summary: dict[str, Any], route: Route) -> float:
    """Of the agent at its lowest price, in the route's; costs are beyond one straight pass."""
    return (1 + summary["curve"][0]["mean_cost"]) / (1 + route(summary)[1])


def ahead(own: str, *others: str) -> Callable[[dict[str, Any]], float]:
    """By how much own_accuracy is above the best of the others'."""
    return lambda s: s[f"{own}_accuracy"] - max(s[f"{other}_accuracy"] for other in others)


def clearly_ahead(own: str, *others: str) -> Callable[[dict[str, Any]], bool]:
    """Whether that is more than two standard errors of a difference on as many test examples.

    As of examples drawn for each by itself: on the same ones it is smaller.
    """

    def clear(summary: dict[str, Any]) -> bool:
        best = max(others, key=lambda other: summary[f"{other}_accuracy"])
        right = np.array([summary[f"{name}_accuracy"] for name in (own, best)])
        error = np.sqrt(np.sum(right * (1 - right)) / summary["test_examples"])
        return bool(ahead(own, best)(summary) > 2 * error)

    return clear
