"""What the paper claims, and what its claims leave open: the rows of the ledger.

The paper is arXiv 2312.12781.
"""

from collections.abc import Callable, Sequence
import dataclasses
import itertools
from typing import Any

import numpy as np

from train import paper, seeds

Summaries = Sequence[dict[str, Any]]


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
        why: what to know of it.
    """

    claim: str
    paper: str
    configs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    here: Callable[[Summaries], str] = lambda _: ""
    holds: Callable[[dict[str, Any]], bool] = lambda _: False
    why: str = ""


def _against(*names: tuple[str, str]) -> Callable[[Summaries], str]:
    """Accuracies side by side: (name in words, name in the summary)."""
    return lambda summaries: ", ".join(
        f"{words} {seeds.mean(summaries, f'{key}_accuracy')} %" for words, key in names
    )


def _routes(summaries: Summaries) -> str:
    layers = 100 * np.mean([summary["layer_accuracies"] for summary in summaries], axis=0)
    alone = ", ".join(f"layer {i + 1} {accuracy:.1f} %" for i, accuracy in enumerate(layers))
    ends = _against(("none", "straight"), ("all", "all_layers"))(summaries)
    return f"{ends}, {alone}"


def _steps(summaries: Summaries) -> str:
    mean = lambda where: seeds.mean(summaries, f"steps_when_straight_{where}", ".1f", 1)
    return f"{mean('wrong')} where the straight pass is wrong, {mean('right')} elsewhere"


def _shares(summaries: Summaries) -> str:
    return f"no operation / layer 1 / …: {seeds.shares(summaries)} %"


def _ends(summaries: Summaries) -> str:
    """Cost and accuracy at the lowest and at the highest price."""
    ends = []
    for end in (0, -1):
        points = [summary["curve"][end] for summary in summaries]
        accuracy, cost = seeds.mean(points, "accuracy"), seeds.mean(points, "mean_cost", ".2f", 1)
        ends.append(f"{accuracy} % at a cost of {cost} (λ = {points[0]['price']:.3g})")
    return ", ".join(ends)


def _falls(summary: dict[str, Any]) -> bool:
    costs = [point["mean_cost"] for point in summary["curve"]]
    return costs[-1] < costs[0] and all(a >= b for a, b in itertools.pairwise(costs))


def _share_of_cost(summaries: Summaries) -> str:
    share = np.mean([s["mean_cost"] / s["all_layers_cost"] for s in summaries])
    accuracies = _against(("agent", "test"), ("all layers", "all_layers"))(summaries)
    return f"{accuracies}, at {100 * share:.0f} % of their cost"


def _share_of_macs(summary: dict[str, Any]) -> float:
    """Of the agent at its lowest price, in all layers'; costs are beyond one straight pass."""
    return (1 + summary["curve"][0]["mean_cost"]) / (1 + summary["all_layers_cost"])


def _at_the_lowest_price(summaries: Summaries) -> str:
    agent = seeds.mean([s["curve"][0] for s in summaries], "accuracy")
    share = np.mean([_share_of_macs(s) for s in summaries])
    everything = _against(("all layers", "all_layers"))(summaries)
    return f"agent {agent} %, {everything}, at {100 * share:.0f} % of their MACs"


def _more_accurate(
    than: str, words: str, key: str, said: str, why: str, own: str = "test"
) -> Claim:
    """The agent, with `own`_accuracy, is ahead of what has `key`_accuracy in the summary."""
    ahead = lambda s: s[f"{own}_accuracy"] - s[f"{key}_accuracy"]

    def here(summaries: Summaries) -> str:
        # Of each run with its own: what the runs have in common, a hard task say, falls out.
        by = seeds.mean([{"ahead": ahead(s)} for s in summaries], "ahead", ".2f")
        return f"{_against(('agent', own), (words, key))(summaries)}, ahead by {by} points"

    return Claim(
        f"DynaLay is more accurate than {than}",
        said,
        _ALL,
        (f"{own}_accuracy", f"{key}_accuracy"),
        here,
        lambda s: ahead(s) > 0,
        why,
    )


_IMAGES = ("cifar10", "cifar10_small", "digits")
_MADE = ("connectivity", "scales", "mazes", "parity", "parity_extrapolation")
_ALL = (*_IMAGES, *_MADE, "imdb", "wikitext2")
_STATIC = {"wide": "wider plain CNN", "deep": "deeper plain CNN", "residual": "residual net"}
_PAIRED = "Runs of the two are compared in order: first with first, second with second."
_ACCURACIES = ("test_accuracy", "straight_accuracy", "all_layers_accuracy")


def _certified(cell: str) -> Claim:
    """Cells that are contractions by their construction lose no accuracy."""
    key = f"cell_{cell}_all_layers"
    return Claim(
        f"Layers can be certified contractions without loss of accuracy, {cell} (Eq. 6)",
        "not compared",
        _ALL,
        ("all_layers_accuracy", f"{key}_accuracy"),
        _against(("all layers", "all_layers"), (f"of {cell} cells", key)),
        lambda s: s[f"{key}_accuracy"] >= s["all_layers_accuracy"] - 0.01,
        "All layers are iterated for every sample: what an agent iterates differs with the cells. "
        f"Counted as holding within 1 point. {_PAIRED}",
    )


_CIFAR_10, _CIFAR_100 = (paper.ACCURACY[name] for name in ("CIFAR-10", "CIFAR-100"))
CLAIMS = (
    Claim(
        "DynaLay is more accurate than its own straight pass on CIFAR-10 (Table 1)",
        f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['plain CNN']} %",
        ("cifar10", "cifar10_small"),
        _ACCURACIES,
        _against(("agent", "test"), ("straight pass of the same weights", "straight")),
        lambda s: s["test_accuracy"] > s["straight_accuracy"],
        "The paper's is a plain CNN trained by itself: the next row.",
    ),
    _more_accurate(
        "the plain CNN trained by itself (Table 1)",
        "model_0",
        "model_0",
        f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['plain CNN']} % on CIFAR-10",
        _PAIRED,
    ),
    _more_accurate(
        "a DEQ (Table 1)",
        "deq_anderson",
        "deq_anderson",
        f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['DEQ']} % on CIFAR-10",
        f"The DEQ has one layer, the middle one's. {_PAIRED}",
    ),
    Claim(
        "DynaLay reaches 85 % on CIFAR-100 (Table 1)",
        f"{_CIFAR_100['DynaLay']} %, plain CNN {_CIFAR_100['plain CNN']} %",
        ("cifar100",),
        _ACCURACIES,
        _against(("agent", "test"), ("straight pass", "straight")),
        lambda s: s["test_accuracy"] >= _CIFAR_100["DynaLay"] / 100,
        f"{_CIFAR_100['plain CNN']} % for a plain CNN of 3 layers is not credible.",
    ),
    Claim(
        "No operation is chosen most (Fig. 3)",
        ", ".join(f"layer {layer} {share} %" for layer, share in paper.SELECTION.items()),
        _IMAGES,
        ("actions",),
        _shares,
        lambda s: s["actions"][0] == max(s["actions"]),
        "The shares follow from the price and from what iterating gains.",
    ),
    Claim(
        "The agent chooses among the layers (Fig. 3)",
        "two layers above 20 %",
        _ALL,
        ("actions",),
        _shares,
        lambda s: sum(share >= 0.02 for share in s.get("routes", s["actions"])[1:]) > 1,
        "Counted as holding where two routes other than none get 2 % or more. Else the agent only "
        "decides whether to iterate what gains most.",
    ),
    Claim(
        "Iterating all layers is the most accurate route (Fig. 6)",
        f"on {paper.MODELS_SAMPLES} test samples, ± 6 points",
        _ALL,
        (*_ACCURACIES, "layer_accuracies"),
        _routes,
        lambda s: s["all_layers_accuracy"] > max(s["straight_accuracy"], *s["layer_accuracies"]),
        "The paper trains a model for each route; here the same weights take them all.",
    ),
    Claim(
        "Iterating all layers beats the plain CNN, each trained by itself (Fig. 6)",
        f"on {paper.MODELS_SAMPLES} test samples, ± 6 points",
        _ALL,
        ("model_0_accuracy", "model_all_accuracy"),
        _against(("none", "model_0"), ("all", "model_all")),
        lambda s: s["model_all_accuracy"] > s["model_0_accuracy"],
        _PAIRED,
    ),
    Claim(
        "A higher penalty makes the agent iterate less (Fig. 5b)",
        "curves",
        _ALL,
        ("curve",),
        _ends,
        _falls,
        "Counted as holding where the cost falls, and at no price rises. One model has all prices.",
    ),
    Claim(
        "Pre-training helps (Fig. 4)",
        "curves",
        _ALL,
        ("test_accuracy", "no_warmup_accuracy"),
        _against(("agent", "test"), ("all epochs joint", "no_warmup")),
        lambda s: s["test_accuracy"] > s["no_warmup_accuracy"],
        f"For the same number of epochs in all. {_PAIRED}",
    ),
    *map(_certified, ("orthogonal", "bounded")),
    Claim(
        "The agent keeps the accuracy of iterating all layers at less cost (Sec. 4)",
        "in words",
        _ALL,
        _ACCURACIES,
        _share_of_cost,
        lambda s: (
            s["test_accuracy"] >= s["all_layers_accuracy"] - 0.01
            and s["mean_cost"] <= 0.5 * s["all_layers_cost"]
        ),
        "Counted as holding within 1 point at half the cost or less.",
    ),
    Claim(
        "At its lowest price the agent matches uniform iteration with half of its MACs",
        "in words",
        _ALL,
        ("curve", "all_layers_accuracy", "all_layers_cost"),
        _at_the_lowest_price,
        lambda s: (
            s["curve"][0]["accuracy"] >= s["all_layers_accuracy"] - 0.01
            and _share_of_macs(s) <= 0.5
        ),
        "All layers are iterated by uniform iteration. Counted as holding within 1 point, at half "
        "of the MACs, straight pass included, or less.",
    ),
    Claim(
        "Which samples are iterated matters",
        "not compared with random routing",
        _ALL,
        ("test_accuracy", "random_accuracy", "shuffled_accuracy"),
        _against(("agent", "test"), ("random at its cost", "random"), ("shuffled", "shuffled")),
        lambda s: s["test_accuracy"] > max(s["random_accuracy"], s["shuffled_accuracy"]),
    ),
    Claim(
        "The agent closes 60 % of the way from random routing to the oracle",
        "not compared",
        _ALL,
        ("gap_closed",),
        lambda summaries: f"{seeds.mean(summaries, 'gap_closed', 'z.0f')} %",
        lambda s: s["gap_closed"] >= 0.6,
        "At the agent's mean cost. The oracle knows the labels, and has the agent's routes.",
    ),
    _more_accurate(
        f"a {_STATIC['wide']} of as many parameters",
        _STATIC["wide"],
        "wide_parameters",
        "not compared",
        _PAIRED,
    ),
    *(
        _more_accurate(
            f"a {net} of as many MACs",
            net,
            f"{direction}_macs",
            "not compared",
            f"As the agent's routes have on the mean, straight pass included, to 20 %. {_PAIRED}",
        )
        for direction, net in _STATIC.items()
    ),
    *(
        _more_accurate(
            f"a {net} of as many MACs, on larger test data than in training",
            net,
            f"{direction}_macs_largest",
            "not compared",
            "The largest grids or mazes that both were asked about. MACs are matched on data as in "
            f"training; on larger ones the agent's solves take more steps. {_PAIRED}",
            own=f"{direction}_macs_beside_largest",
        )
        for direction, net in _STATIC.items()
    ),
    _more_accurate(
        "a threshold on confidence at its cost",
        "confidence",
        "confidence",
        "not compared",
        "What unsure samples iterate is chosen on validation data.",
    ),
    _more_accurate(
        "two thresholds on confidence at its cost",
        "two thresholds",
        "graded",
        "not compared",
        "The least sure samples take one route, the next another, chosen on validation data.",
    ),
    _more_accurate(
        "two looks by confidence at its cost",
        "two looks",
        "cascade",
        "not compared",
        "Which layer first, which second, for how many is chosen on validation data. Where the "
        "agent looks twice.",
    ),
    Claim(
        "Hard samples get more thought",
        "in words",
        _ALL,
        ("steps_when_straight_wrong", "steps_when_straight_right"),
        _steps,
        lambda s: s["steps_when_straight_wrong"] > s["steps_when_straight_right"],
    ),
    *(
        Claim(
            f"Parity is told {where}",
            f"PonderNet (arXiv 2107.05407, Sec. 3.1): {said}; figures in plots only",
            (config,),
            _ACCURACIES,
            _against(("agent", "test"), ("straight pass", "straight")),
            lambda s: s["test_accuracy"] > 0.99,
            "Counted as holding above 99 %. A step of PonderNet's is of an RNN that is shown the "
            "whole vector; a solve here takes about one an entry.",
        )
        for config, where, said in (
            (
                "parity",
                "for as many entries as in training",
                "more accurate than ACT, in some 3 steps",
            ),
            (
                "parity_extrapolation",
                "for more entries than in training",
                "nearly perfect in 5 steps, ACT at chance",
            ),
        )
    ),
    Claim(
        "The iterated layers reach their fixed points (Theorem 1)",
        "no contraction is enforced, no residual shown",
        _ALL,
        ("converged",),
        lambda summaries: f"{seeds.mean(summaries, 'converged')} % of the samples iterated",
        lambda s: s["converged"] > 0.99,
        "Counted as holding above 99 % at the config's tolerance.",
    ),
    Claim(
        "An LSTM gains from iterating a layer (Fig. 7)",
        "curves on WikiText-2 and IMDB",
        ("imdb", "wikitext2"),
        (*_ACCURACIES, "layer_accuracies"),
        _routes,
        lambda s: min(s["layer_accuracies"]) > s["straight_accuracy"] + 0.001,
        "Counted as holding where every layer gains more than 0.1 points: the best of them, chosen "
        "on test data, mostly would. The same weights on every route.",
    ),
)
