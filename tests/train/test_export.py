"""What a run hands to `Predictor`."""

import json

import numpy as np
import pytest
from sample_records import SUMMARY
from short_run import begun, tiny

from dynalay_jax import Predictor
from train import export
from train.errors import UserError
from train.run import reopen

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.fixture
def workdir(tmp_path):
    begun(tiny(price=1.0), tmp_path / "run")
    points = [{"price": 1.0, "mean_cost": 0.5, "accuracy": 0.75}]
    curve = {"step": 1, "agent": points, "routers": {}}
    for name, record in (("curve", curve), ("summary", SUMMARY)):
        (tmp_path / "run" / f"{name}.json").write_text(json.dumps(record))
    return tmp_path / "run"


def test_a_run_is_exported_as_it_is_evaluated(workdir, tmp_path, capsys):
    out = tmp_path / "model"
    export.main([str(workdir), f"--out={out}"])
    assert f"Predictor.load('{out}')" in capsys.readouterr().out
    predictor, run = Predictor.load(out), reopen(workdir)
    each = run.evaluate(run.restored()[1], "test").each
    found = predictor.predict(run.dataset.test.images)
    assert (found.labels == each["predicted"]).mean() > 0.99  # rounding decides close calls
    assert (found.steps == each["steps"]).mean() > 0.99
    straight = run.task.costs.straight
    assert np.isclose(found.macs.mean(), straight * (1 + each["cost"].mean()), rtol=1e-2)
    assert predictor.curve == (found.expected,) == ((1.0, 0.75, straight * 1.5),)
    assert predictor.saved.about == "digits, seed 0, step 1; the curve is of its 500 test examples"


def test_a_curve_of_another_checkpoint_is_left_out(workdir, capsys):
    curve = json.loads((workdir / "curve.json").read_text())
    (workdir / "curve.json").write_text(json.dumps(curve | {"step": 18}))
    export.main([str(workdir)])
    assert "curve.json is of another checkpoint than step 1" in capsys.readouterr().out
    assert Predictor.load(workdir).curve == ()


def test_runs_that_cannot_be_exported_are_refused(workdir, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*file/model: Not a directory"):
        export.main([str(workdir), f"--out={tmp_path}/file/model"])
    (workdir / "summary.json").unlink()
    with pytest.raises(UserError, match="expected a finished run"):
        export.main([str(workdir)])
