"""What the paper claims, and what its claims leave open: the rows of the ledger.

The paper is arXiv 2312.12781.
"""

from benchmarks.paper import published
from benchmarks.paper.claim import (
    Claim,
    Summaries,
    against,
    ahead,
    at_the_lowest_price,
    best_layer,
    clearly_ahead,
    ends,
    everything,
    falls,
    gaps,
    matched_at_half,
    one_fixed_point,
    routes,
    share_of_cost,
    shares,
    steps,
)
from train.analysis import seeds

_IMAGES = ("cifar10", "cifar10_small", "digits")
_MADE = ("connectivity", "scales", "mazes", "parity", "parity_extrapolation")
_ALL = (*_IMAGES, *_MADE, "imdb", "wikitext2")
# On texts nothing gains from being iterated, so that to iterate nothing keeps every promise.
_GAINING = (*_IMAGES, *_MADE)
_NOT_TEXTS = "Texts, where nothing gains from being iterated, are left out."
_STATIC = {"wide": "wider plain CNN", "deep": "deeper plain CNN", "residual": "residual net"}
_PAIRED = "Runs of the two are compared in order: first with first, second with second."
_ACCURACIES = ("test_accuracy", "straight_accuracy", "all_layers_accuracy")


def _more_accurate(
    than: str, words: str, key: str, said: str, why: str, own: str = "test"
) -> Claim:
    """The agent, with `own`_accuracy, is ahead of what has `key`_accuracy in the summary."""
    by = ahead(own, key)

    def here(summaries: Summaries) -> str:
        # Of each run with its own: what the runs have in common, a hard task say, falls out.
        points = seeds.mean([{"ahead": by(s)} for s in summaries], "ahead", ".2f")
        return f"{against(('agent', own), (words, key))(summaries)}, ahead by {points} points"

    return Claim(
        f"DynaLay is more accurate than {than}",
        said,
        _ALL,
        (f"{own}_accuracy", f"{key}_accuracy"),
        here,
        lambda s: by(s) > 0,
        why,
        # On larger data as many examples need not have been asked about.
        clearly_ahead(own, key) if own == "test" else None,
    )


def _certified(cell: str) -> Claim:
    """Cells that are contractions by their construction are as accurate as those that are free."""
    key, free = f"cell_{cell}_all_layers", "cell_free_all_layers"
    return Claim(
        f"Layers can be certified contractions without loss of accuracy, {cell} (Eq. 6)",
        "not compared",
        _ALL,
        (f"{key}_accuracy", f"{free}_accuracy"),
        against((f"{cell} cells", key), ("free cells", free), ("the config's", "all_layers")),
        lambda s: s[f"{key}_accuracy"] >= s[f"{free}_accuracy"] - 0.01,
        "All layers are iterated for every sample: what an agent iterates differs with the cells. "
        f"Counted as holding within 1 point of free cells. {_PAIRED}",
    )


_CIFAR_10, _CIFAR_100 = (published.ACCURACY[name] for name in ("CIFAR-10", "CIFAR-100"))
CLAIMS = (
    Claim(
        "DynaLay is more accurate than its own straight pass on CIFAR-10 (Table 1)",
        f"{_CIFAR_10['DynaLay']} % against {_CIFAR_10['plain CNN']} %",
        ("cifar10", "cifar10_small"),
        _ACCURACIES,
        against(("agent", "test"), ("straight pass of the same weights", "straight")),
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
        against(("agent", "test"), ("straight pass", "straight")),
        lambda s: s["test_accuracy"] >= _CIFAR_100["DynaLay"] / 100,
        f"{_CIFAR_100['plain CNN']} % for a plain CNN of 3 layers is not credible.",
    ),
    Claim(
        "No operation is chosen most (Fig. 3)",
        ", ".join(f"layer {layer} {share} %" for layer, share in published.SELECTION.items()),
        _IMAGES,
        ("actions",),
        shares,
        lambda s: s["actions"][0] == max(s["actions"]),
        "The shares follow from the price and from what iterating gains.",
    ),
    Claim(
        "The agent chooses among the layers (Fig. 3)",
        "two layers above 20 %",
        _ALL,
        ("actions",),
        shares,
        lambda s: sum(share >= 0.2 for share in s.get("routes", s["actions"])[1:]) > 1,
        "Counted as holding where two routes other than none get 20 % or more. Else the agent at "
        "most decides whether to iterate what gains most.",
    ),
    Claim(
        "Iterating all layers is the most accurate route (Fig. 6)",
        f"on {published.MODELS_SAMPLES} test samples, ± 6 points",
        _ALL,
        (*_ACCURACIES, "layer_accuracies"),
        routes,
        lambda s: s["all_layers_accuracy"] > max(s["straight_accuracy"], *s["layer_accuracies"]),
        "The paper trains a model for each route; here the same weights take them all.",
    ),
    Claim(
        "Iterating all layers beats the plain CNN, each trained by itself (Fig. 6)",
        f"on {published.MODELS_SAMPLES} test samples, ± 6 points",
        _ALL,
        ("model_0_accuracy", "model_all_accuracy"),
        against(("none", "model_0"), ("all", "model_all")),
        lambda s: s["model_all_accuracy"] > s["model_0_accuracy"],
        _PAIRED,
    ),
    Claim(
        "A higher penalty makes the agent iterate less (Fig. 5b)",
        "curves",
        _ALL,
        ("curve",),
        ends,
        falls,
        "Counted as holding where the cost falls, and at no price rises. One model has all prices.",
    ),
    Claim(
        "Pre-training helps (Fig. 4)",
        "curves",
        _ALL,
        ("test_accuracy", "no_warmup_accuracy"),
        against(("agent", "test"), ("all epochs joint", "no_warmup")),
        lambda s: s["test_accuracy"] > s["no_warmup_accuracy"],
        f"For the same number of epochs in all. {_PAIRED}",
    ),
    *map(_certified, ("orthogonal", "bounded")),
    Claim(
        "The agent keeps the accuracy of iterating all layers at less cost (Sec. 4)",
        "in words",
        _GAINING,
        _ACCURACIES,
        share_of_cost,
        lambda s: (
            s["test_accuracy"] >= s["all_layers_accuracy"] - 0.01
            and s["mean_cost"] <= 0.5 * s["all_layers_cost"]
        ),
        f"Counted as holding within 1 point at half the cost or less. {_NOT_TEXTS}",
    ),
    Claim(
        "At its lowest price the agent matches uniform iteration with half of its MACs",
        "in words",
        _GAINING,
        ("curve", "all_layers_accuracy", "all_layers_cost"),
        at_the_lowest_price("all layers", "their", everything),
        matched_at_half(everything),
        "All layers are iterated by uniform iteration. Counted as holding within 1 point, at half "
        f"of the MACs, straight pass included, or less. {_NOT_TEXTS}",
    ),
    Claim(
        "At its lowest price the agent matches the best layer alone with half of its MACs",
        "not compared",
        _GAINING,
        ("curve", "layer_accuracies", "layer_costs"),
        at_the_lowest_price("the best layer", "its", best_layer),
        matched_at_half(best_layer),
        "As before, against one layer iterated for every sample: the best, chosen on test data.",
    ),
    Claim(
        "Which samples are iterated matters",
        "not compared with random routing",
        _ALL,
        ("test_accuracy", "random_accuracy", "shuffled_accuracy"),
        against(("agent", "test"), ("random at its cost", "random"), ("shuffled", "shuffled")),
        lambda s: ahead("test", "random", "shuffled")(s) > 0,
        "Random routing takes each layer as often; shuffled are the agent's own choices, dealt to "
        "other samples.",
        clearly_ahead("test", "random", "shuffled"),
    ),
    Claim(
        "The agent closes 60 % of the way from random routing to the oracle",
        "not compared",
        _ALL,
        ("gap_closed",),
        gaps,
        lambda s: s["gap_closed"] >= 0.6,
        "At the agent's mean cost. The oracle knows the labels, and has the agent's routes. "
        "Beside it each sample on the route that would be surest of its answer.",
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
        steps,
        lambda s: s["steps_when_straight_wrong"] > s["steps_when_straight_right"],
    ),
    *(
        Claim(
            f"Parity is told {where}",
            f"PonderNet (arXiv 2107.05407, Sec. 3.1): {said}; figures in plots only",
            (config,),
            _ACCURACIES,
            against(("agent", "test"), ("straight pass", "straight")),
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
        "Solves reach their tolerance (Theorem 1)",
        "no contraction is enforced, no residual shown",
        _ALL,
        ("converged",),
        lambda summaries: f"{seeds.mean(summaries, 'converged')} % of the samples iterated",
        lambda s: s["converged"] > 0.99,
        "Counted as holding above 99 %. That is where solves stop; the next row asks whether it is "
        "at the fixed point.",
    ),
    Claim(
        "Answers do not depend on where solves begin, and gradients are right (Theorem 1)",
        "no contraction is enforced, no gradient checked",
        _ALL,
        ("solves",),
        one_fixed_point,
        lambda s: all(
            min(layer["converged"], layer["same_answer"]) > 0.99 and layer["gradient_error"] < 0.05
            for layer in s["solves"]
        ),
        "Each layer iterated for every test sample, from the straight pass and from a random "
        "start. Counted as holding where for every layer more than 99 % converge from there and "
        "have the same answer, and the gradient of 64 examples is within 5 % of that through twice "
        "as many iterations as are allowed.",
    ),
    Claim(
        "An LSTM gains from iterating a layer (Fig. 7)",
        "curves on WikiText-2 and IMDB",
        ("imdb", "wikitext2"),
        (*_ACCURACIES, "layer_accuracies"),
        routes,
        lambda s: min(s["layer_accuracies"]) > s["straight_accuracy"] + 0.001,
        "Counted as holding where every layer gains more than 0.1 points: the best of them, chosen "
        "on test data, mostly would. The same weights on every route.",
    ),
)
