"""Does the agent spend more steps on harder examples? For tasks that know their difficulty."""

import itertools
from typing import Any

import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is first used

from train.data.types import Split
from train.evaluate import COMPARED, Reports, shares

# Fewest examples of a bin. Rarer difficulties share a bin.
_LEAST = 50
_SHOWN = 8


def correlation(difficulty: np.ndarray, spent: np.ndarray) -> float | None:
    """Spearman's ρ where difficulty is ≥ 0 (known); None if either is constant there."""
    known = difficulty >= 0
    if np.ptp(difficulty[known]) == 0 or np.ptp(spent[known]) == 0:
        return None
    return float(scipy.stats.spearmanr(difficulty[known], spent[known]).statistic)


def measure(report: Reports, test: Split, what: str) -> dict[str, Any]:
    """Accuracy and steps by difficulty on the test split, and examples.

    Args:
        report: of the final parameters.
        test: the split, with difficulties; negative ones are unknown ("no path").
        what: name of the difficulty.

    Returns:
        "difficulty": its name; "bins": from easy to hard, each with `first` and `last` difficulty,
        number of `examples`, `ROUTER_accuracy` and `ROUTER_steps` of `COMPARED`, and the agent's
        `actions`; "examples": some, from easy to hard, each with its `image` as nested lists,
        `difficulty`, the agent's `steps` and whether the agent was `correct`.
    """
    assert test.difficulty is not None
    each = {name: report("test", router).each for name, router in COMPARED.items()}
    known = np.flatnonzero(test.difficulty >= 0)
    order = known[np.argsort(test.difficulty[known], kind="stable")]
    bins = []
    for group in _groups(test.difficulty[order]):
        chosen = order[group]
        row: dict[str, Any] = {
            "first": int(test.difficulty[chosen[0]]),
            "last": int(test.difficulty[chosen[-1]]),
            "examples": len(chosen),
        }
        for name, result in each.items():
            row[f"{name}_accuracy"] = float(np.mean(result["correct"][chosen]))
            row[f"{name}_steps"] = float(np.mean(result["steps"][chosen]))
        row["actions"] = shares(each["agent"]["iterated"][chosen])
        bins.append(row)
    # The middle example of each of equally long parts of the order.
    middle = (np.arange(_SHOWN) + 0.5) * len(order) / _SHOWN
    return {
        "difficulty": what,
        "bins": bins,
        "examples": [
            {
                "image": test.images[i].tolist(),
                "difficulty": int(test.difficulty[i]),
                "steps": int(each["agent"]["steps"][i]),
                "correct": bool(each["agent"]["correct"][i]),
            }
            for i in order[middle.astype(int)]
        ],
    }


def _groups(ordered: np.ndarray) -> list[slice]:
    """Parts of equal difficulty, joined with the next part until they hold `_LEAST` examples."""
    ends = [*np.flatnonzero(np.diff(ordered)) + 1, len(ordered)]
    bounds = [0]
    for end in map(int, ends):
        if end - bounds[-1] >= _LEAST:
            bounds.append(end)
    # The rest at the end belongs to the last bin.
    bounds = [*(bounds[:-1] if len(bounds) > 1 else bounds), len(ordered)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]
