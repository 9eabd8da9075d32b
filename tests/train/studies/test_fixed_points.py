"""Random starts and unrolled gradients recognise fixed points."""

import jax
import pytest
from short_run import tiny

from dynalay_jax import Implicit, JacobianFree
from dynalay_jax.adaptive import inspect
from train import run
from train.data import loading
from train.studies import fixed_points

pytestmark = pytest.mark.usefixtures("flax_promotion")


def beginning(adjoint=Implicit(), **changes):
    """Task, variables and examples of a model as it begins."""
    config = tiny(**changes)
    dataset = loading.load(config.data)
    task = run.build_task(config, dataset)
    object.__setattr__(task, "model", task.model.clone(adjoint=adjoint))
    variables = inspect.init(task.model, jax.random.key(0), dataset.test.images.shape[1:])
    return task, variables, dataset.test.take(slice(20))


# One layer: most of the time is compilation.
ONE = {"model.widths": (8,), "model.strides": (1,)}
SOLVED = {"model.tol": 1e-5, "model.max_steps": 200, **ONE}


@pytest.mark.slow
def test_a_contraction_has_one_fixed_point_and_its_gradient():
    run = beginning(**SOLVED)
    for end in fixed_points.starts(*run):
        assert end["converged"] == end["same_answer"] == 1
        assert 0 < end["median_distance"] <= end["far_distance"] < 1e-3
    for errors in fixed_points.gradients(*run):
        assert max(errors.values()) < 1e-3


def test_solves_cut_short_depend_on_their_start():
    for end in fixed_points.starts(*beginning(**{"model.max_steps": 2, "model.tol": 1e-5})):
        assert end["converged"] == 0 and end["median_distance"] > 1e-2


def test_a_biased_gradient_differs_from_solves_that_stop_too_soon():
    for errors in fixed_points.gradients(*beginning(JacobianFree(), **SOLVED)):
        assert errors["gradient_error"] > 1e-2 > 1e-3 > errors["stopped_error"]
    for errors in fixed_points.gradients(*beginning(**SOLVED | {"model.tol": 0.3})):
        assert min(errors.values()) > 1e-2


def test_a_record_has_both_for_each_layer(opened, monkeypatch):
    ends = {"converged": 1.0, "same_answer": 0.9, "median_distance": 1e-4, "far_distance": 0.01}
    errors = {"gradient_error": 1e-3, "stopped_error": 2e-3}
    monkeypatch.setattr(fixed_points, "starts", lambda *_: [ends, ends])
    monkeypatch.setattr(fixed_points, "gradients", lambda *_: [errors, errors])
    record = fixed_points.measure(*opened)
    assert (record["test_examples"], record["gradient_examples"]) == (500, 64)
    assert record["layers"] == [ends | errors, ends | errors]
    assert fixed_points.table(record).rows[1][:3] == ["2", "100.0 %", "90.0 %"]
