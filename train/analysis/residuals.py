"""How close to their fixed points do the solves end? ‖f(z) − z‖ / ‖f(z)‖ of their results."""

from typing import Any

import numpy as np

from train.evaluate import Report, Reports

# Four bins a decade. float32 has 7 digits; the first and last bin also count what lies beyond them.
_EDGES = np.logspace(-9, 1, 41)
_ROUTERS = {"agent": "agent", "all_layers": "all"}


def measure(report: Reports, tolerance: float) -> dict[str, Any]:
    """Histograms of the residuals on the test split.

    Returns:
        "tolerance"; "edges" of the bins, the outer bins with all beyond them; "routers": for agent
        and all_layers what `histogram` returns.
    """
    return {
        "tolerance": tolerance,
        "edges": _EDGES.tolist(),
        "routers": {name: histogram(report("test", router)) for name, router in _ROUTERS.items()},
    }


def histogram(report: Report) -> dict[str, Any]:
    """Of the samples that iterate a layer, each with the worst residual of its solves.

    Returns:
        Numbers of `samples`, of `counts` by bin, and of residuals that are exactly `zero` (some
        cells reach their fixed point in finitely many steps); the rest are not finite. And the
        share `unconverged`, with a solve that did not converge; None without samples.
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
        "unconverged": float(np.mean(~converged)) if len(converged) else None,
    }
