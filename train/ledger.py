"""What the paper claims, and what the summaries of finished runs say about it.

Each claim is looked up in the runs it can be looked up in; where these were not made it says so.
The paper is arXiv 2312.12781.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np

NOT_RUN = "not run"
Summaries = list[dict[str, Any]]


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
        configs: the first of which there are runs answers.
        here: what is seen of a config's summaries.
        holds: whether that is what is claimed, for a summary; all seeds must agree. None where the
            paper's setting and ours are too far apart for a verdict.
        why: what to know of it.
    """

    claim: str
    paper: str
    configs: tuple[str, ...]
    here: Callable[[Summaries], str]
    holds: Callable[[dict[str, Any]], bool] | None
    why: str


def entries(runs: dict[str, Summaries]) -> list[Entry]:
    """The ledger.

    Args:
        runs: summaries of the seeds by the config's name.
    """
    return [_entry(claim, runs) for claim in _CLAIMS]


def _entry(claim: _Claim, runs: dict[str, Summaries]) -> Entry:
    name = next((name for name in claim.configs if name in runs), None)
    if name is None:
        return Entry(claim.claim, claim.paper, NOT_RUN, "", NOT_RUN, claim.why)
    summaries = runs[name]
    agree = [claim.holds(summary) for summary in summaries] if claim.holds else []
    verdict = "no verdict" if not agree else f"holds in {sum(agree)} of {len(agree)}"
    here = f"{name}: {claim.here(summaries)}"
    return Entry(claim.claim, claim.paper, here, str(len(summaries)), verdict, claim.why)


def _percent(summaries: Summaries, key: str) -> str:
    values = 100 * np.array([summary[key] for summary in summaries])
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread} %"


def _against(*names: tuple[str, str]) -> Callable[[Summaries], str]:
    """Accuracies side by side: (name in words, name in the summary)."""
    return lambda summaries: ", ".join(
        f"{words} {_percent(summaries, f'{key}_accuracy')}" for words, key in names
    )


def _shares(summaries: Summaries) -> str:
    none, *layers = 100 * np.mean([summary["actions"] for summary in summaries], axis=0)
    each = (f"layer {i + 1} {share:.0f} %" for i, share in enumerate(layers))
    return f"no operation {none:.0f} %, {', '.join(each)}"


def _steps(summaries: Summaries) -> str:
    mean = lambda where: np.mean([s[f"steps_when_straight_{where}"] for s in summaries])
    return f"{mean('wrong'):.1f} where the straight pass is wrong, {mean('right'):.1f} elsewhere"


def _share_of_cost(summaries: Summaries) -> str:
    means = [np.mean([s[key] for s in summaries]) for key in ("mean_cost", "all_layers_cost")]
    return (
        f"{_against(('agent', 'test'), ('all layers', 'all_layers'))(summaries)} at "
        f"{100 * means[0] / means[1]:.0f} % of their cost"
    )


_IMAGES = ("cifar10", "cifar10_small", "digits")
_CLAIMS = (
    _Claim(
        "DynaLay is more accurate than the plain CNN on CIFAR-10 (Table 1)",
        "92 % against 88 %",
        ("cifar10", "cifar10_small"),
        _against(("agent", "test"), ("straight pass of the same weights", "straight")),
        lambda s: s["test_accuracy"] > s["straight_accuracy"],
        "The plain CNN here shares its weights with the iterated routes; one trained by itself is "
        "a baseline still to be run.",
    ),
    _Claim(
        "DynaLay reaches 85 % on CIFAR-100 (Table 1)",
        "85 %, plain CNN 82 %",
        ("cifar100",),
        _against(("agent", "test"), ("straight pass", "straight")),
        lambda s: s["test_accuracy"] >= 0.85,
        "82 % for a plain CNN of 3 layers is not credible.",
    ),
    _Claim(
        "No operation is chosen most (Fig. 3)",
        "layer 1 25 %, layer 2 20 %",
        _IMAGES,
        _shares,
        lambda s: s["actions"][0] == max(s["actions"]),
        "The shares follow from the price and from what iterating gains.",
    ),
    _Claim(
        "Iterating all layers is the most accurate (Fig. 6)",
        "on 100 test samples, ± 6 points",
        _IMAGES,
        _against(("straight pass", "straight"), ("all layers", "all_layers")),
        lambda s: s["all_layers_accuracy"] > s["straight_accuracy"],
        "",
    ),
    _Claim(
        "The agent keeps the accuracy of iterating all layers at less cost (Sec. 4)",
        "in words",
        ("connectivity", *_IMAGES),
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
        ("connectivity", *_IMAGES),
        _against(("agent", "test"), ("random at its cost", "random"), ("shuffled", "shuffled")),
        lambda s: s["test_accuracy"] > max(s["random_accuracy"], s["shuffled_accuracy"]),
        "",
    ),
    _Claim(
        "Hard samples get more thought",
        "in words",
        ("connectivity", *_IMAGES),
        _steps,
        lambda s: s["steps_when_straight_wrong"] > s["steps_when_straight_right"],
        "",
    ),
    _Claim(
        "The iterated layers reach their fixed points (Theorem 1)",
        "no contraction is enforced, no residual shown",
        ("connectivity", *_IMAGES),
        lambda summaries: f"{_percent(summaries, 'converged')} of the samples iterated",
        lambda s: s["converged"] > 0.99,
        "Counted as holding above 99 % at the config's tolerance.",
    ),
    _Claim(
        "Training is cheaper than the plain CNN's, and than a DEQ's (Table 1)",
        "87 against 120 and 600, in seconds or minutes",
        (),
        lambda summaries: "",
        None,
        "The units differ between table and text. The baselines are still to be run.",
    ),
    _Claim(
        "An LSTM gains from iterating a layer (Fig. 7)",
        "WikiText-2, IMDB",
        (),
        lambda summaries: "",
        None,
        "Sequence models are still to be written.",
    ),
)
