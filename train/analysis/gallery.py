"""On which images does the agent spend least, and on which most?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.data.types import Split
from train.evaluate import Reports

_SHOWN = 8


def measure(report: Reports, test: Split, classes: Sequence[str]) -> dict[str, Any]:
    """The test images on which the agent spent least, and those on which the agent spent most.

    At equal cost, images on which the straight pass is sure are easier.

    Returns:
        "marks": whether channels are marks of a generated task, not colours; "easiest" (easiest
        first) and "hardest" (hardest first), each with its `image` as nested lists, `label`,
        whether the agent's answer was `correct`, `steps`, and the iterated `layers` from 1.
    """
    each = report("test").each
    cost, sure = each["cost"], each["straight_confidence"]
    example = lambda i: {
        "image": test.images[i].tolist(),
        "label": classes[int(test.labels[i])],
        "correct": bool(each["correct"][i]),
        "steps": int(each["steps"][i]),
        "layers": (np.flatnonzero(each["iterated"][i]) + 1).tolist(),
    }
    return {
        # Generated tasks know their difficulty; no other data set does.
        "marks": test.difficulty is not None,
        "easiest": [example(i) for i in np.lexsort((-sure, cost))[:_SHOWN]],
        "hardest": [example(i) for i in np.lexsort((sure, -cost))[:_SHOWN]],
    }
