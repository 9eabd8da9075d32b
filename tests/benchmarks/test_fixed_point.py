"""The comparison in short: of each side its fastest arm, failures aside."""

from benchmarks import fixed_point


def test_summary_takes_the_fastest_arms():
    def arm(name, ms, to_peer=None):
        gradient = {"median_ms": ms, "to_fastest_peer": to_peer, "temp_mb": 10 * ms}
        return {"arm": name, "gradient": gradient}

    rows = [
        arm("dynalay_jax, masked", 3.0, 1.5),
        arm("dynalay_jax, compact", 1.0, 0.5),
        arm("jaxopt", 4.0),
        arm("banax", 2.0),
        {"arm": "optimistix", "failure": "gradient needs 34.4 GB"},
    ]
    lines = fixed_point.summary([{"problem": "a batch", "rows": rows}]).splitlines()
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "a batch", "1", "2 (banax)", "0.50"
    ]  # fmt: skip
