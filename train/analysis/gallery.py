"""Which images does the agent find easy, and which hard?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.data.types import Split
from train.evaluate import Reports

_SHOWN = 8


def measure(report: Reports, test: Split, classes: Sequence[str]) -> dict[str, Any]:
    """The test images on which the agent spent least, and those on which it spent most.

    Where it spent the same, the surest of the straight pass are the easiest, the least sure the
    hardest.

    Args:
        report: of the final parameters.
        test: the split.
        classes: name of each label.

    Returns:
        "marks": whether channels are marks of a task made here, rather than colours; "easiest",
        from the easiest on, and "hardest", from the hardest on, each with its `image` as nested
        lists, `label`, whether the agent's answer was `correct`, `steps`, `cost`, `layers` that
        were iterated, counted from 1, and `straight_confidence`.
    """
    each = report("test").each
    cost, sure = each["cost"], each["straight_confidence"]
    example = lambda i: {
        "image": test.images[i].tolist(),
        "label": classes[int(test.labels[i])],
        "correct": bool(each["correct"][i]),
        "steps": int(each["steps"][i]),
        "cost": float(cost[i]),
        "layers": (np.flatnonzero(each["iterated"][i]) + 1).tolist(),
        "straight_confidence": float(sure[i]),
    }
    return {
        # The tasks made here are those that know their difficulty.
        "marks": test.difficulty is not None,
        "easiest": [example(i) for i in np.lexsort((-sure, cost))[:_SHOWN]],
        "hardest": [example(i) for i in np.lexsort((sure, -cost))[:_SHOWN]],
    }
