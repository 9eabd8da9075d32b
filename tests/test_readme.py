"""The README's code runs, and its tables are the committed results."""

from pathlib import Path
import re

import jax
import numpy as np

from benchmarks import readme

TEXT = Path(__file__).parent.parent.joinpath("README.md").read_text()


def test_examples_run(capsys):
    example, probe = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    scope = {}
    with jax.numpy_rank_promotion("warn"):
        exec(example, scope)
        assert np.isfinite(scope["value"]) and np.all(np.isfinite(scope["gradient"]))
        w, x, f = (scope[name] for name in ("w", "x", "f"))
        z = np.zeros_like(x)
        for _ in range(100):
            z = f(z, w, x)
        np.testing.assert_allclose(scope["value"], np.sum(z**2), rtol=1e-4)
        exec(probe, scope)
    assert scope["backward"].steps.shape == (3,)
    assert np.all(scope["backward"].status == 0)
    assert "Array" in capsys.readouterr().out or scope["backward"].steps.min() > 1


def test_tables_are_written_from_the_results():
    assert readme.insert(TEXT, readme.render()) == TEXT
