"""The README's code runs, and its tables are the committed results."""

from pathlib import Path
import re

import jax
import numpy as np

from benchmarks import readme

TEXT = Path(__file__).parent.parent.joinpath("README.md").read_text()


MODEL, EXAMPLE, PROBE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_model_example_runs():
    scope = {}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(MODEL, scope)
    assert scope["logits"].shape == (8, 10)
    assert scope["trace"].sweeps.iterate.shape == (1, 8, 2)


def test_primitive_examples_run(capsys):
    scope = {}
    exec(EXAMPLE, scope)
    w, x, f = (scope[name] for name in ("w", "x", "f"))
    z = np.zeros_like(x)
    for _ in range(100):
        z = f(z, w, x)
    np.testing.assert_allclose(scope["value"], np.sum(z**2), rtol=1e-4)
    assert np.all(np.isfinite(scope["gradient"]))
    exec(PROBE, scope)
    np.testing.assert_array_equal(scope["backward"].status, 0)
    assert np.all(scope["backward"].steps > 5) and np.all(scope["backward"].residual <= 1e-5)
    np.testing.assert_allclose(scope["gradient"], jax.grad(lambda w: scope["loss"](w, None))(w))
    assert capsys.readouterr().out


def test_tables_are_written_from_the_results():
    assert readme.insert(TEXT, readme.render()) == TEXT
