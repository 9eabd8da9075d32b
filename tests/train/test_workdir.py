"""The files of a run: whose a workdir is, and what stays in it."""

import json

import pytest
from short_run import begun, tiny

from train import loop
from train import workdir as workdirs
from train.errors import UserError
from train.run import Run

pytestmark = pytest.mark.usefixtures("flax_promotion")


def test_runs_of_versions_with_fewer_fields_have_the_defaults(tmp_path):
    run = Run.prepare(tiny(), begun(tiny(), tmp_path))
    old = json.loads((tmp_path / "config.json").read_text())
    del old["model"]["own"], old["exploration"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "summary.json").write_text("{}")
    saved = workdirs.trained_config(tmp_path)
    assert saved.model.own == 0.3 and saved.data.to_dict() == tiny().data.to_dict()
    workdirs.claim(tmp_path, run.config, run.dataset)
    assert (tmp_path / "summary.json").exists(), "it is the same config"
    assert "own" in json.loads((tmp_path / "config.json").read_text())["model"]
    with pytest.raises(UserError, match=r"another config\.model\.own;"):
        loop.evaluate_only(tiny(**{"model.own": 0.9}), tmp_path)


def test_measurements_under_another_price_do_not_stay(tmp_path):
    run = Run.prepare(tiny(), tmp_path)
    workdirs.claim(tmp_path, run.config, run.dataset)
    for name in ("summary", "curve", "corruption", "extrapolate_grid", "eval_agent_0.1"):
        workdirs.write_record(tmp_path, name, {})
    kept = lambda: sorted(path.stem for path in tmp_path.glob("*.json"))
    before = kept()
    workdirs.claim(tmp_path, run.config, run.dataset)
    assert kept() == before
    workdirs.claim(tmp_path, Run.prepare(tiny(price=0.5), tmp_path).config, run.dataset)
    assert kept() == ["config", "data", "eval_agent_0.1", "versions"]


def test_a_broken_record_is_named(tmp_path):
    (tmp_path / "curve.json").write_text("{")
    with pytest.raises(UserError, match=r"Cannot read .*curve\.json"):
        workdirs.read_record(tmp_path, "curve")
    assert workdirs.read_record(tmp_path, "summary") is None
