import dataclasses
import hashlib
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load, save
from small_models import saved

from dynalay_jax.predict import folder
from dynalay_jax.solve.solvers import Anderson

pytestmark = pytest.mark.usefixtures("flax_promotion")


def test_a_model_is_read_as_it_was_written(tmp_path):
    fields = {"cell": "stage", "whitening": 2, "pool_first": (True, False), "blocks": (1, 2)}
    written = saved((8, 8, 3), **fields, factors=jnp.bfloat16, solver=Anderson(), tol=1e-2)
    # safetensors would mix up the values of arrays in another order.
    variables = jax.tree.map(lambda leaf: np.array(leaf, order="F"), written.variables)
    in_order_f = dataclasses.replace(written, variables=variables)
    folder.write(tmp_path / "some" / "model", in_order_f)
    read = folder.read(tmp_path / "some")
    assert jax.tree.structure(read.variables) == jax.tree.structure(written.variables)
    jax.tree.map(np.testing.assert_array_equal, read.variables, written.variables)
    assert dataclasses.replace(read, variables=None) == dataclasses.replace(written, variables=None)


def test_what_has_no_name_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"^solver: expected one of picard, damped"):
        folder.write(tmp_path, saved(zeros=True, solver=Anderson(3)))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def written(tmp_path):
    folder.write(tmp_path, saved(zeros=True))
    return tmp_path


def refused(path):
    with pytest.raises((OSError, ValueError)) as error:
        folder.read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "Cannot read .*model.json: .*Export the model again"),
        ("[" * 100_000, "recursion"),
        ("[]", "another kind of file"),
        ('{"model_type": "bert"}', "another kind of file"),
    ],
)
def test_another_file_is_no_model(written, text, said):
    (written / "model.json").write_text(text)
    assert re.search(said, refused(written))


@pytest.mark.parametrize(
    "place, value, said",
    [
        ("version", 2, "version: expected 1, got 2"),
        ("price", None, "price is missing"),
        ("price", 0, "price: expected a number from 1e-06 to 1,000,000, got 0"),
        ("price", float("nan"), "price: expected number, got nan"),
        ("hook", "os.system", "hook: no such field"),
        ("classes", "ant", "classes: expected a list, got 'ant'"),
        ("classes", ["ant"], "classes: expected 3, got 1"),
        ("std", [0.0], "std: expected numbers above 0"),
        ("mean", [True], "mean.0: expected number, got True"),
        ("input_shape", [], "input_shape: expected a tuple of whole numbers"),
        ("router", "clever", "router: expected one of agent, none"),
        ("curve", [{"price": 1.0}], "curve.0.accuracy is missing"),
        ("curve", [{"price": 1.0, "accuracy": 2, "macs": 1}], "accuracy: expected a number from 0"),
        ("architecture.widths", [4, 0], "widths: expected a whole number, 1 or more, got 0"),
        ("architecture.cell", "bert", "cell: expected one of concave"),
        ("architecture.solver", "newton", "solver: expected one of picard"),
        ("architecture.tol", -1, "tol: expected"),
        ("architecture.depth", 3, "architecture.depth: no such field"),
    ],
)
def test_each_field_is_checked(written, place, value, said):
    document = json.loads((written / "model.json").read_text())
    *groups, name = place.split(".")
    group = document[groups[0]] if groups else document
    group.pop(name, None)
    if value is not None:
        group[name] = value
    (written / "model.json").write_text(json.dumps(document))
    assert said in refused(written)


def test_a_field_of_a_newer_version_has_its_default(written):
    document = json.loads((written / "model.json").read_text())
    del document["architecture"]["whitening"]
    (written / "model.json").write_text(json.dumps(document))
    assert folder.read(written).model.whitening == 0


def replaced(written, content):
    """Weights that belong to model.json, as far as it knows."""
    (written / "weights.safetensors").write_bytes(content)
    document = json.loads((written / "model.json").read_text())
    document["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (written / "model.json").write_text(json.dumps(document))


def test_damaged_weights_are_refused(written):
    path = written / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "damaged, or not the weights" in refused(written)
    path.unlink()
    assert "weights.safetensors" in refused(written)


def test_weights_of_another_model_are_refused(written):
    whole = load((written / "weights.safetensors").read_bytes())
    name = "params/classifier/bias"
    replaced(written, b"PK\x03\x04")
    assert "expected safetensors" in refused(written)
    replaced(written, save({**whole, "more": whole[name]}))
    assert "more: expected None, got float32 (3,)" in refused(written)
    replaced(written, save({**whole, name: whole[name][:2]}))
    assert f"{name}: expected float32 (3,), got float32 (2,)" in refused(written)
    replaced(written, save({**whole, name: whole[name] + np.inf}))
    assert "expected finite numbers" in refused(written)


def test_a_folder_without_a_model_gets_the_cure(tmp_path):
    assert "there is no such folder" in refused(tmp_path / "nowhere")
    assert "export one with python -m train.export." in refused(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert f"write its model with python -m train.export {tmp_path}" in refused(tmp_path)
