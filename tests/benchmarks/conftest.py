"""Records of runs as `benchmarks.paper.results` collects them, small."""

import pytest
from sample_records import CURVE, SUMMARY


@pytest.fixture
def record():
    """Makes a record: a summary's changes, or a pair of these and the studies, for each run."""

    def make(*runs, cell="cascade", date="2026-11-21"):
        made = []
        for seed, run in enumerate(runs):
            changes, studies = run if isinstance(run, tuple) else (run, {})
            summary = {**SUMMARY, "seed": seed, **changes}
            made.append({"summary": summary, "curve": CURVE, **studies})
        config = {"model": {"cell": cell}}
        return [{"config": config, "ran": f"P, 2 cores, {date}", "runs": made}]

    return make
