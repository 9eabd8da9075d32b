"""Random starts and unrolled gradients tell a fixed point from what is none."""

import json

import jax
import pytest
from short_run import begun, tiny

from dynalay_jax import Implicit, JacobianFree
from dynalay_jax import model as model_lib
from train import data, setup, solves

pytestmark = pytest.mark.usefixtures("flax_promotion")


def measured(adjoint=Implicit(), **changes):
    """Of a model as it begins: (starts, gradient errors) by layer."""
    config = tiny(**changes)
    dataset = data.load(config.data)
    task = setup.task(config, dataset)
    object.__setattr__(task, "model", task.model.clone(adjoint=adjoint))
    variables = model_lib.init(task.model, jax.random.key(0), dataset.test.images.shape[1:])
    some = dataset.test.take(slice(20))
    return solves.starts(task, variables, some), solves.gradient_errors(task, variables, some)


def test_a_contraction_has_one_fixed_point_and_its_gradient():
    ends, errors = measured(**{"model.tol": 1e-5, "model.max_steps": 200})
    for end, error in zip(ends, errors, strict=True):
        assert end["converged"] == end["same_answer"] == 1
        assert 0 < end["median_distance"] <= end["far_distance"] < 1e-3
        assert error < 1e-3


def test_solves_cut_short_depend_on_their_start():
    for end in measured(**{"model.max_steps": 2, "model.tol": 1e-5})[0]:
        assert end["converged"] == 0 and end["median_distance"] > 1e-2


def test_a_biased_gradient_is_told():
    assert min(measured(JacobianFree())[1]) > 1e-2


def test_what_is_written(tmp_path, capsys, monkeypatch):
    end = {"converged": 1.0, "same_answer": 0.9, "median_distance": 1e-4, "far_distance": 0.01}
    monkeypatch.setattr(solves, "starts", lambda *_: [end, end])
    monkeypatch.setattr(solves, "gradient_errors", lambda *_: [1e-3, 2e-3])
    workdir = begun(tiny(), tmp_path)
    record = solves.solves(workdir)
    assert json.loads((workdir / "solves.json").read_text()) == record
    assert (record["test_examples"], record["gradient_examples"]) == (500, 64)
    assert record["layers"] == [end | {"gradient_error": error} for error in (1e-3, 2e-3)]
    assert "from random starts" in capsys.readouterr().out
