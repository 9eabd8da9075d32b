"""The arms compute the same convolution, and the table shows them all."""

import importlib.util

import pytest

from benchmarks import convolution


@pytest.mark.parametrize("torch", [True, False])
def test_arms_agree_and_missing_ones_say_so(monkeypatch, torch):
    if torch:
        pytest.importorskip("torch")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = convolution.run(4, 5, 3, seconds=0)
    assert [row["arm"] for row in rows] == [*convolution.JAX, *convolution.TORCH]
    for row in rows:
        if row["arm"] in convolution.TORCH and not torch:
            assert row["failure"] == "not installed"
        else:
            assert row["error"] < (0.01 if "bfloat16" in row["arm"] else 1e-5)
            assert (row["speed"] is not None) == torch
    lines = convolution.table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert ("not installed" in lines[-1]) != torch
