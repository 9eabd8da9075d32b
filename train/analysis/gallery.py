"""On which images does the agent spend least, on which most, and which does it get wrong?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.data.types import Split
from train.evaluate import Reports

_SHOWN = 8


def measure(report: Reports, test: Split, classes: Sequence[str]) -> dict[str, Any]:
    """The test images on which the agent spent least, those on which it spent most, and mistakes.

    At equal cost, images on which the straight pass is sure are easier.

    Returns:
        "marks": whether channels are marks of a generated task, not colours; "easiest" (easiest
        first), "hardest" (hardest first) and "mistakes" (surest first), each with its `image` as
        nested lists, `label`, the agent's answer `predicted`, whether this was `correct`, `steps`,
        and the iterated `layers` from 1.
    """
    each = report("test").each
    cost, sure = each["cost"], each["straight_confidence"]
    wrong = np.flatnonzero(~each["correct"])
    example = lambda i: {
        "image": test.images[i].tolist(),
        "label": classes[int(test.labels[i])],
        "predicted": classes[int(each["predicted"][i])],
        "correct": bool(each["correct"][i]),
        "steps": int(each["steps"][i]),
        "layers": (np.flatnonzero(each["iterated"][i]) + 1).tolist(),
    }
    return {
        # Generated tasks know their difficulty; no other data set does.
        "marks": test.difficulty is not None,
        "easiest": [example(i) for i in np.lexsort((-sure, cost))[:_SHOWN]],
        "hardest": [example(i) for i in np.lexsort((sure, -cost))[:_SHOWN]],
        "mistakes": [example(i) for i in wrong[np.argsort(-each["confidence"][wrong])][:_SHOWN]],
    }
