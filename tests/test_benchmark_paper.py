"""The plan of all evidence: every question is asked, what is done is skipped, failures stop it."""

from pathlib import Path
import subprocess

import pytest

from benchmarks import paper
from configs import baselines

OUT, RESULTS = Path("runs"), Path("results")
STUDY = paper.Study(
    "digits", (1, 2), ("model_0", "wide_1.7x"), robustness=True, beyond=("grid=8,9",), timed=True
)


def commands(*studies):
    return [" ".join(step.command) for step in paper.plan(studies, OUT, RESULTS, 2)]


def test_every_run_is_trained_asked_and_collected():
    first, *rest = commands(STUDY)
    configs = "digits,digits:model_0,digits:wide_1.7x"
    assert first == f"train.sweep --configs={configs} --seeds=1,2 --out=runs --jobs=2"
    for seed in (1, 2):
        for name in ("halting", "robustness", "calibrate", "extrapolate"):
            assert any(c.startswith(f"train.{name} runs/digits-{seed}") for c in rest)
        calibrated = [c for c in rest if c.startswith(f"train.calibrate runs/digits-{seed} ")]
        assert [c.rpartition("=")[2] for c in calibrated] == ["agent", "confidence"]
    assert "benchmarks.routers runs/digits-1 --out=results" in rest
    assert "benchmarks.training --workdir=runs/digits-1 --out=results" in rest
    folders = [
        f"runs/{c}-{s}" for c in ("digits", "digits_model_0", "digits_wide_1.7x") for s in (1, 2)
    ]
    assert rest[-2] == f"benchmarks.runs {' '.join(folders)} --out=results"
    assert rest[-1] == (
        f"train.report {' '.join(folders)} --out=results --training results/training_digits.json "
        "--routers results/routers_digits.json"
    )


def test_dear_variants_are_trained_with_one_seed():
    sweeps = lambda **fields: commands(paper.Study("digits", **fields, once=("resnet20",)))[:2]
    assert sweeps(seeds=(1, 2)) == [
        "train.sweep --configs=digits --seeds=1,2 --out=runs --jobs=2",
        "train.sweep --configs=digits:resnet20 --seeds=1 --out=runs --jobs=2",
    ]
    assert sweeps(seeds=(1,))[0] == (
        "train.sweep --configs=digits,digits:resnet20 --seeds=1 --out=runs --jobs=2"
    )


@pytest.mark.parametrize("scale", paper.SCALES)
def test_every_config_and_variant_of_a_scale_exists(scale):
    for study in paper.SCALES[scale]:
        assert Path(f"configs/{study.config}.py").exists()
        for variant in (*study.variants, *study.once):
            assert baselines.split(f"{study.config}_{variant}") == (study.config, variant)


def test_what_is_done_is_skipped_and_a_failure_ends_it(tmp_path, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(subprocess, "call", lambda c: called.append(c[2]) or int(c[2] == "bad"))
    (tmp_path / "there").touch()
    steps = [
        paper.Step(("done",), tmp_path / "there"),
        paper.Step(("new",), tmp_path / "absent"),
        paper.Step(("always",)),
        paper.Step(("bad",)),
        paper.Step(("never",)),
    ]
    with pytest.raises(SystemExit, match=r"\[4/5\] bad: ended with 1"):
        paper.carry_out(steps)
    assert called == ["new", "always", "bad"]
    assert "[1/5] done: done already" in capsys.readouterr().out
