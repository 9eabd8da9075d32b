"""Every example runs and finds what it is about."""

from pathlib import Path
import runpy

import jax
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(capsys):
    """The result of an example, which prints one line."""

    def main(name):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            result = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
        assert len(capsys.readouterr().out.splitlines()) == 1
        return result

    return main


def test_deq_classifier(run):
    assert run("deq_classifier") > 0.9


def test_linen_deq(run):
    accuracies, converged = run("linen_deq")
    assert len(accuracies) == 10 and min(accuracies) > 0.9 and min(converged) > 0.99


def test_hypergradient(run):
    losses = run("hypergradient")
    assert losses[-1] < losses[0] / 2


def test_inverse_reinforcement(run):
    found, error = run("inverse_reinforcement")
    assert found and error < 0.02


def test_all_examples_are_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"deq_classifier", "hypergradient", "inverse_reinforcement", "linen_deq"}
