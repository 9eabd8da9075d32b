"""How near to their fixed points are the solves? ‖f(z) − z‖ / ‖f(z)‖ of what they returned."""

from typing import Any

import numpy as np

from train.evaluate import Report, Reports

# Four bins a decade; float32 has 7 digits, and what lies beyond the ends is put into the end bins.
_EDGES = np.logspace(-9, 1, 41)
_ROUTERS = {"agent": "agent", "all_layers": "all"}


def measure(report: Reports, tolerance: float) -> dict[str, Any]:
    """Histograms of the residuals on the test split, by router.

    Args:
        report: of the final parameters.
        tolerance: relative residual at which a solve has converged.

    Returns:
        "tolerance"; "edges" of the bins, what is outside being counted in the first and last;
        "routers": for agent and all_layers what `histogram` says.
    """
    return {
        "tolerance": tolerance,
        "edges": _EDGES.tolist(),
        "routers": {name: histogram(report("test", router)) for name, router in _ROUTERS.items()},
    }


def histogram(report: Report) -> dict[str, Any]:
    """Of the samples that were iterated, each with the worst residual of its solves.

    Returns:
        `samples` that were iterated; of these `counts`, one a bin, `zero`, whose residual is
        exactly 0, as that of cells which reach their fixed point in finitely many steps, and
        `not_finite`, which add up to `samples`; `unconverged`, their share with a solve that did
        not converge, None if nothing was iterated.
    """
    iterated = report.each["iterated"].any(-1)
    residual = report.each["residual"][iterated].astype(float)
    positive = residual[np.isfinite(residual) & (residual > 0)]
    counts, _ = np.histogram(np.clip(positive, _EDGES[0], _EDGES[-1]), _EDGES)
    converged = report.each["converged"][iterated]
    return {
        "samples": len(residual),
        "counts": counts.tolist(),
        "zero": int(np.sum(residual == 0)),
        "not_finite": int(np.sum(~np.isfinite(residual))),
        "unconverged": float(np.mean(~converged)) if len(converged) else None,
    }
