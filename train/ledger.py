"""What the paper claims, and what finished runs say about it.

Each claim is looked up in every run it can be looked up in; where none was made it says so. The
paper is arXiv 2312.12781.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np

from train import seeds
from train.seeds import Group

Summaries = Sequence[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the ledger."""

    claim: str
    paper: str
    here: str
    n: str
    verdict: str
    why: str


@dataclasses.dataclass(frozen=True)
class _Claim:
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


def entries(groups: Sequence[Group]) -> list[Entry]:
    """The ledger.

    Args:
        groups: runs by config.
    """
    return [_entry(claim, {group.name: group.summaries for group in groups}) for claim in _CLAIMS]


def _entry(claim: _Claim, runs: dict[str, Summaries]) -> Entry:
    here, n, held = [], [], []
    for name in claim.configs:
        known = [s for s in runs.get(name, ()) if all(s.get(k) is not None for k in claim.needs)]
        if known:
            here.append(f"{name}: {claim.here(known)}")
            n.append(str(len(known)))
            held += [claim.holds(summary) for summary in known]
    verdict = f"holds in {sum(held)} of {len(held)} runs" if held else "not run"
    return Entry(claim.claim, claim.paper, "; ".join(here), ", ".join(n), verdict, claim.why)


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


def _share_of_cost(summaries: Summaries) -> str:
    share = np.mean([s["mean_cost"] / s["all_layers_cost"] for s in summaries])
    accuracies = _against(("agent", "test"), ("all layers", "all_layers"))(summaries)
    return f"{accuracies}, at {100 * share:.0f} % of their cost"


_IMAGES = ("cifar10", "cifar10_small", "digits")
_ALL = (*_IMAGES, "connectivity")
_ACCURACIES = ("test_accuracy", "straight_accuracy", "all_layers_accuracy")
_CLAIMS = (
    _Claim(
        "DynaLay is more accurate than the plain CNN on CIFAR-10 (Table 1)",
        "92 % against 88 %",
        ("cifar10", "cifar10_small"),
        _ACCURACIES,
        _against(("agent", "test"), ("straight pass of the same weights", "straight")),
        lambda s: s["test_accuracy"] > s["straight_accuracy"],
        "The plain CNN here shares its weights with the iterated routes; trained by itself it is "
        "model_0 in the table of baselines, where that was run.",
    ),
    _Claim(
        "DynaLay reaches 85 % on CIFAR-100 (Table 1)",
        "85 %, plain CNN 82 %",
        ("cifar100",),
        _ACCURACIES,
        _against(("agent", "test"), ("straight pass", "straight")),
        lambda s: s["test_accuracy"] >= 0.85,
        "82 % for a plain CNN of 3 layers is not credible.",
    ),
    _Claim(
        "No operation is chosen most (Fig. 3)",
        "layer 1 25 %, layer 2 20 %",
        _IMAGES,
        ("actions",),
        _shares,
        lambda s: s["actions"][0] == max(s["actions"]),
        "The shares follow from the price and from what iterating gains.",
    ),
    _Claim(
        "The agent chooses among the layers (Fig. 3)",
        "two layers above 20 %",
        _ALL,
        ("actions",),
        _shares,
        lambda s: sum(share >= 0.02 for share in s["actions"][1:]) > 1,
        "Counted as holding where two layers get 2 % or more. Else the agent only decides whether "
        "to iterate the one layer that gains most.",
    ),
    _Claim(
        "Iterating all layers is the most accurate route (Fig. 6)",
        "on 100 test samples, ± 6 points",
        _ALL,
        (*_ACCURACIES, "layer_accuracies"),
        _routes,
        lambda s: s["all_layers_accuracy"] > max(s["straight_accuracy"], *s["layer_accuracies"]),
        "The paper trains a model for each route; here the same weights take them all.",
    ),
    _Claim(
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
    _Claim(
        "Which samples are iterated matters",
        "not compared with random routing",
        _ALL,
        ("test_accuracy", "random_accuracy", "shuffled_accuracy"),
        _against(("agent", "test"), ("random at its cost", "random"), ("shuffled", "shuffled")),
        lambda s: s["test_accuracy"] > max(s["random_accuracy"], s["shuffled_accuracy"]),
    ),
    _Claim(
        "The agent is worth more than a threshold on confidence",
        "not compared",
        _ALL,
        ("test_accuracy", "confidence_accuracy"),
        _against(("agent", "test"), ("confidence at its cost", "confidence")),
        lambda s: s["test_accuracy"] > s["confidence_accuracy"],
        "What unsure samples iterate is chosen on validation data.",
    ),
    _Claim(
        "Hard samples get more thought",
        "in words",
        _ALL,
        ("steps_when_straight_wrong", "steps_when_straight_right"),
        _steps,
        lambda s: s["steps_when_straight_wrong"] > s["steps_when_straight_right"],
    ),
    _Claim(
        "The iterated layers reach their fixed points (Theorem 1)",
        "no contraction is enforced, no residual shown",
        _ALL,
        ("converged",),
        lambda summaries: f"{seeds.mean(summaries, 'converged')} % of the samples iterated",
        lambda s: s["converged"] > 0.99,
        "Counted as holding above 99 % at the config's tolerance.",
    ),
    _Claim(
        "Training is cheaper than the plain CNN's, and than a DEQ's (Table 1)",
        "87 against 120 and 600, in seconds or minutes",
        why="The units differ between table and text. Not measured yet.",
    ),
    _Claim(
        "An LSTM gains from iterating a layer (Fig. 7)",
        "WikiText-2, IMDB",
        why="Sequence models are still to be written.",
    ),
)
