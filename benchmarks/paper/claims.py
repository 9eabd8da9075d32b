"""The rows of the ledger: the paper's claims, and eight that a sceptical reader would ask for.

The paper is arXiv 2312.12781. A claim is data: where it is looked up, what is shown, when it holds.
`verdicts` says which facts a run has.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from benchmarks.paper.published import ACCURACY, BACKWARD, MODELS_SAMPLES, SELECTION

Facts = Mapping[str, Any]
IMAGES = ("cifar10", "cifar10_small", "digits")
_MADE = ("connectivity", "scales", "mazes", "parity", "parity_extrapolation")
ALL = (*IMAGES, *_MADE, "imdb", "wikitext2")
# On texts no layer gains from being iterated, so iterating nothing keeps every promise.
_GAINING = (*IMAGES, *_MADE)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is claimed, and how runs decide it.

    Attributes:
        text, paper: the claim, and what the paper says.
        shown: what the ledger shows: text with a place for the number → fact, format, factor. A
            run without one of these facts has no say.
        holds: whether the claim is true of a run.
        why: what to know about the verdict.
        configs: where the claim is looked up.
        ahead: if given, the claim is that the first accuracy is above all others; then the verdict
            also counts the runs where the difference exceeds two standard errors.
    """

    text: str
    paper: str
    shown: Mapping[str, tuple[str, str, float]]
    holds: Callable[[Facts], bool] = lambda run: False
    why: str = ""
    configs: tuple[str, ...] = ALL
    ahead: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class TimedClaim:
    """A bound on how long an arm of DynaLay takes, against arms whose names begin with `other`.

    `part` is what is timed: "backward" or "gradient", which is the whole step.
    """

    text: str
    paper: str
    part: str
    other: str
    bound: float
    why: str = ""


def _percent(fact: str) -> tuple[str, str, float]:
    return fact, ".1f", 100


def _more_accurate(
    than: str,
    others: Mapping[str, str],
    own: str = "test",
    paper: str = "not compared",
    why: str = "",
) -> Claim:
    """DynaLay's accuracy is above all others': what they are called → VARIANT of the fact."""
    shown = {"agent": own, **others}
    return Claim(
        f"DynaLay is more accurate than {than}",
        paper,
        {f"{words} {{}} %": _percent(f"{name}_accuracy") for words, name in shown.items()},
        why=why,
        ahead=tuple(f"{name}_accuracy" for name in shown.values()),
    )


_CIFAR_10, _CIFAR_100 = ACCURACY["CIFAR-10"], ACCURACY["CIFAR-100"]
_ORDER = "The two are compared run by run, in the order of the seeds."
_AGENT = {"agent {} %": _percent("test_accuracy")}
_STRAIGHT = {"straight pass {} %": _percent("straight_accuracy")}
_ALL_LAYERS = {"all layers {} %": _percent("all_layers_accuracy")}
_FIG_6 = f"on {MODELS_SAMPLES} test samples, ± 6 points"
_TIMES = (
    f"{BACKWARD['DynaLay']} against {BACKWARD['plain CNN']} and {BACKWARD['DEQ']}, "
    "seconds or minutes"
)

PAPERS = (
    Claim(
        "DynaLay is more accurate than its own straight pass on CIFAR-10 (Table 1)",
        f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['plain CNN']} %",
        _AGENT | _STRAIGHT,
        lambda run: run["test_accuracy"] > run["straight_accuracy"],
        "The paper's plain CNN is trained by itself: see the next row.",
        ("cifar10", "cifar10_small"),
    ),
    _more_accurate(
        "the plain CNN trained by itself (Table 1)",
        {"plain CNN": "model_0"},
        paper=f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['plain CNN']} % on CIFAR-10",
        why=_ORDER,
    ),
    _more_accurate(
        "a DEQ (Table 1)",
        {"DEQ": "deq_anderson"},
        paper=f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['DEQ']} % on CIFAR-10",
        why=f"The DEQ has one layer, the middle one. {_ORDER}",
    ),
    Claim(
        "DynaLay reaches 85 % on CIFAR-100 (Table 1)",
        f"{_CIFAR_100['DynaLay']} %, plain CNN {_CIFAR_100['plain CNN']} %",
        _AGENT | _STRAIGHT,
        lambda run: run["test_accuracy"] >= _CIFAR_100["DynaLay"] / 100,
        f"{_CIFAR_100['plain CNN']} % for a plain CNN of 3 layers is not credible.",
        ("cifar100",),
    ),
    TimedClaim(
        "The backward pass is cheaper than the plain CNN's (Table 1)",
        _TIMES,
        "backward",
        "plain CNN",
        1.0,
        "One step. The straight pass alone is a plain CNN's work; iterating comes on top. The "
        "units differ between the paper's table and its text.",
    ),
    TimedClaim(
        "The backward pass is 5 times cheaper than a DEQ's (Table 1)",
        _TIMES,
        "backward",
        "DEQ",
        1 / 5,
        "DEQs of one layer have the middle layer's cell; those of all layers have all cells.",
    ),
    Claim(
        "The straight pass is chosen most (Fig. 3)",
        ", ".join(f"layer {layer} {share} %" for layer, share in SELECTION.items()),
        {"straight pass {} %": _percent("action_none"),
         "a layer at most {} %": _percent("action_top")},
        lambda run: run["action_none"] >= run["action_top"],
        "The shares follow from the price and from what iterating gains.",
        IMAGES,
    ),
    Claim(
        "The agent chooses among the layers (Fig. 3)",
        "two layers above 20 %",
        {"second route beside the straight pass {} %": _percent("route_second")},
        lambda run: run["route_second"] >= 0.2,
        "Holds if two routes other than the straight pass get 20 % or more. Otherwise the agent "
        "only decides whether to iterate what gains most.",
    ),
    Claim(
        "Pre-training helps (Fig. 4)",
        "curves",
        _AGENT | {"all epochs joint {} %": _percent("no_warmup_accuracy")},
        lambda run: run["test_accuracy"] > run["no_warmup_accuracy"],
        f"For the same number of epochs. {_ORDER}",
    ),
    Claim(
        "A higher penalty makes the agent iterate less (Fig. 5b)",
        "curves",
        {"cost {} at the lowest price": ("cost_lowest", ".2f", 1),
         "{} at the highest": ("cost_highest", ".2f", 1)},
        lambda run: run["cost_falls"],
        "Holds if the cost falls, and rises at no price. One model serves all prices.",
    ),
    Claim(
        "Iterating all layers is the most accurate route (Fig. 6)",
        _FIG_6,
        _STRAIGHT | _ALL_LAYERS | {"best layer alone {} %": _percent("layer_best")},
        lambda run: run["all_layers_accuracy"] > max(run["straight_accuracy"], run["layer_best"]),
        "The paper trains a model for each route; here the same weights take all routes.",
    ),
    Claim(
        "Iterating all layers beats the plain CNN, each trained by itself (Fig. 6)",
        _FIG_6,
        {"plain CNN {} %": _percent("model_0_accuracy"),
         "all layers {} %": _percent("model_all_accuracy")},
        lambda run: run["model_all_accuracy"] > run["model_0_accuracy"],
        _ORDER,
    ),
    Claim(
        "An LSTM gains from iterating a layer (Fig. 7)",
        "curves on WikiText-2 and IMDB",
        _STRAIGHT | {"worst layer alone {} %": _percent("layer_worst")},
        lambda run: run["layer_worst"] > run["straight_accuracy"] + 0.001,
        "Holds if every layer gains more than 0.1 points.",
        ("imdb", "wikitext2"),
    ),
    Claim(
        "The agent keeps the accuracy of iterating all layers at less cost (Sec. 4)",
        "in words",
        _AGENT | _ALL_LAYERS | {"at {} % of their cost": ("cost_share", ".0f", 100)},
        lambda run: (
            run["test_accuracy"] >= run["all_layers_accuracy"] - 0.01 and run["cost_share"] <= 0.5
        ),
        "Holds within 1 point at half the cost or less. Texts, where no layer gains, are left out.",
        _GAINING,
    ),
    Claim(
        "Hard samples get more steps",
        "in words",
        {"{} steps where the straight pass is wrong": ("steps_when_straight_wrong", ".1f", 1),
         "{} where it is right": ("steps_when_straight_right", ".1f", 1)},
        lambda run: run["steps_when_straight_wrong"] > run["steps_when_straight_right"],
    ),
    Claim(
        "Solves reach their tolerance (Theorem 1)",
        "no contraction is enforced, no residual shown",
        {"{} % of the samples that iterate": _percent("converged")},
        lambda run: run["converged"] > 0.99,
        "Holds above 99 %. The next row asks whether the solve ends at the fixed point.",
    ),
    Claim(
        "The start of a solve does not matter, and gradients are right (Theorem 1)",
        "no contraction is enforced, no gradient checked",
        {"worst layer: {} % the same answer": _percent("same_answer"),
         "gradient off by {}": ("gradient_error", ".0e", 1)},
        lambda run: (
            min(run["layer_converged"], run["same_answer"]) > 0.99 and run["gradient_error"] < 0.05
        ),
        "Each layer iterated for every test sample, from the straight pass and from a random "
        "start. Holds if in every layer more than 99 % converge and give the same answer, and the "
        "gradient is within 5 % of the one through twice the allowed number of steps.",
    ),
)  # fmt: skip
OURS = (
    _more_accurate(
        "random routing and its own choices shuffled across samples",
        {"random": "random", "shuffled": "shuffled"},
        why="Both take each layer as often as the agent. So it matters which samples iterate.",
    ),
    _more_accurate(
        "a threshold on confidence at its cost",
        {"confidence": "confidence"},
        why="What unsure samples iterate is chosen on validation data.",
    ),
    _more_accurate(
        "the better of two finer rules on confidence at its cost",
        {"the finer rule": "finer_rule"},
        why="Two thresholds, each with its own route; or two rounds of one threshold.",
    ),
    _more_accurate(
        "the best static net with the same MACs",
        {"static net": "static"},
        why=f"The same as the agent's on average, to 20 %. {_ORDER}",
    ),
    _more_accurate(
        "the best static net with the same MACs, on larger test data than in training",
        {"static net": "static_larger"},
        own="larger",
        why="The largest grids or mazes that both were tested on. There the agent takes more MACs.",
    ),
    Claim(
        "The agent closes 60 % of the way from random routing to the oracle",
        "not compared",
        {"{} %": ("gap_closed", "z.0f", 100)},
        lambda run: run["gap_closed"] >= 0.6,
        "At the agent's mean cost. The oracle knows the labels and has the agent's routes.",
    ),
    Claim(
        "At its lowest price the agent matches all layers with half of their MACs",
        "not compared",
        {"agent {} %": _percent("accuracy_lowest"), **_ALL_LAYERS,
         "at {} % of their MACs": ("macs_share", ".0f", 100)},
        lambda run: (
            run["accuracy_lowest"] >= run["all_layers_accuracy"] - 0.01 and run["macs_share"] <= 0.5
        ),
        "Holds within 1 point at half the MACs or less, straight pass included. Without texts.",
        _GAINING,
    ),
    TimedClaim(
        "A training step costs at most 1.5 times the plain CNN's",
        "not given",
        "gradient",
        "plain CNN",
        1.5,
        "Forward and backward pass together.",
    ),
)  # fmt: skip
