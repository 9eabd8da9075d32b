"""Does the model think longer about harder inputs? For tasks that know their difficulty."""

import itertools
from typing import Any

import numpy as np

from train.data.types import Split
from train.evaluate import COMPARED, Reports, shares

# Fewest examples of a bin; rarer difficulties are taken together.
_LEAST = 50
_SHOWN = 8


def measure(report: Reports, test: Split, what: str) -> dict[str, Any]:
    """Accuracy and steps by difficulty on the test split, and examples.

    Args:
        report: of the final parameters.
        test: the split, with difficulties; negative ones are not difficulties ("no path").
        what: the difficulty is.

    Returns:
        "difficulty": what it is; "bins": from easy to hard, each with `first` and `last`
        difficulty, `examples`, for straight, agent and all_layers `ROUTER_accuracy` and
        `ROUTER_steps`, and the agent's `actions` as of `Report.actions`; "examples": some, from
        easy to hard, each with its `image` as nested lists, `difficulty`, the agent's `steps` and
        whether it was `correct`, and whether the straight pass was.
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
    # The middle example of equally long stretches of the order.
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
                "straight_correct": bool(each["straight"]["correct"][i]),
            }
            for i in order[middle.astype(int)]
        ],
    }


def _groups(ordered: np.ndarray) -> list[slice]:
    """Stretches of equal difficulty, joined with the next until they hold `_LEAST` examples."""
    ends = [*np.flatnonzero(np.diff(ordered)) + 1, len(ordered)]
    bounds = [0]
    for end in map(int, ends):
        if end - bounds[-1] >= _LEAST:
            bounds.append(end)
    # What is left at the end belongs to the last bin.
    bounds = [*(bounds[:-1] if len(bounds) > 1 else bounds), len(ordered)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]
