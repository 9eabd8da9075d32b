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
    exec(example, scope)
    w, x, f = (scope[name] for name in ("w", "x", "f"))
    z = np.zeros_like(x)
    for _ in range(100):
        z = f(z, w, x)
    np.testing.assert_allclose(scope["value"], np.sum(z**2), rtol=1e-4)
    assert np.all(np.isfinite(scope["gradient"]))
    exec(probe, scope)
    np.testing.assert_array_equal(scope["backward"].status, 0)
    assert np.all(scope["backward"].steps > 5) and np.all(scope["backward"].residual <= 1e-5)
    np.testing.assert_allclose(scope["gradient"], jax.grad(lambda w: scope["loss"](w, None))(w))
    assert capsys.readouterr().out


def test_tables_are_written_from_the_results():
    assert readme.insert(TEXT, readme.render()) == TEXT
