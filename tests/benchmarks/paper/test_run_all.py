"""The plan of all evidence: every question is asked, what is done is skipped, failures stop it."""

import os
from pathlib import Path
import subprocess
import threading

import pytest

from benchmarks.paper import run_all
from configs import _variants

OUT = Path("runs")
PLAN = run_all.Plan(
    "digits",
    (1, 2),
    ("model_0", "residual_1.7x"),
    ("cell_free",),
    corruption=True,
    larger=("grid=8,9",),
    timed=("train_step", "routed_pass"),
)


def commands(plan):
    return [" ".join(step.command) for step in run_all.steps(plan, OUT)]


def test_every_run_is_trained_and_asked():
    first, once, *rest = commands(PLAN)
    configs = "digits,digits:model_0,digits:residual_1.7x"
    assert first == f"train.sweep --configs={configs} --seeds=1,2 --out=runs"
    assert once == "train.sweep --configs=digits:cell_free --seeds=1 --out=runs"
    assert "train.studies.fixed_points runs/digits_cell_free-1" in rest
    for seed in (1, 2):
        for name in ("early_exit", "fixed_points", "corruption", "calibrate", "extrapolate"):
            assert any(c.startswith(f"train.studies.{name} runs/digits-{seed}") for c in rest)
        calibrated = [
            c for c in rest if c.startswith(f"train.studies.calibrate runs/digits-{seed} ")
        ]
        assert [c.rpartition("=")[2] for c in calibrated] == ["agent", "confidence"]
        judge = "runs/digits_residual_1.7x-1"
        assert f"train.studies.difficulty_judge runs/digits-{seed} {judge}" in rest
    static = [f"runs/digits_{net}-1 grid=8,9" for net in ("model_0", "residual_1.7x")]
    assert [c.partition(" ")[2] for c in rest if c.startswith("train.studies.extrapolate")][
        2:
    ] == static
    assert rest[-2:] == [
        "benchmarks.train_step --workdir=runs/digits-1 --out=runs/digits-1",
        "benchmarks.routed_pass runs/digits-1 --static runs/digits_model_0-1 "
        "runs/digits_residual_1.7x-1 --out=runs/digits-1",
    ]


def test_answers_are_files_of_the_run():
    """So that those of another run, or committed ones, are not taken for it."""
    made = [step.makes for step in run_all.steps(PLAN, OUT)]
    assert made[:2] == [None, None] and all(path.parent.parent == OUT for path in made[2:])


def test_finished_runs_are_collected(tmp_path):
    assert run_all.collection([PLAN], tmp_path) == []
    done = [tmp_path / name for name in ("digits-1", "digits_model_0-1")]
    for folder in done:
        folder.mkdir()
        (folder / "summary.json").touch()
    (tmp_path / "digits-2").mkdir()
    assert [step.command for step in run_all.collection([PLAN], tmp_path)] == [
        ("benchmarks.paper.results", *map(str, done)),
        ("benchmarks.paper.readme",),
    ]


def test_dear_variants_are_trained_with_one_seed():
    sweeps = lambda **fields: commands(run_all.Plan("digits", **fields, once=("resnet20",)))[:2]
    assert sweeps(seeds=(1, 2)) == [
        "train.sweep --configs=digits --seeds=1,2 --out=runs",
        "train.sweep --configs=digits:resnet20 --seeds=1 --out=runs",
    ]
    assert sweeps(seeds=(1,))[0] == (
        "train.sweep --configs=digits,digits:resnet20 --seeds=1 --out=runs"
    )


def test_more_seeds_begin_with_those_that_are_done():
    more = PLAN.with_seeds(3)
    assert more.seeds == (1, 2, 3)
    assert set(commands(PLAN)[2:-2]) < set(commands(more))
    assert commands(more)[0].startswith("train.sweep --configs=digits,digits:model_0,")
    assert "digits:cell_free --seeds=1,2,3 " in commands(more)[0], "and what was trained once"


@pytest.mark.parametrize("scale", run_all.SCALES)
def test_every_config_and_variant_of_a_scale_exists(scale):
    for plan in run_all.SCALES[scale]:
        assert Path(f"configs/{plan.config}.py").exists()
        for variant in (*plan.variants, *plan.once):
            assert _variants.split(f"{plan.config}_{variant}") == (plan.config, variant)


def test_what_is_done_is_skipped_and_a_failure_ends_its_study(tmp_path, monkeypatch, capsys):
    called = []
    call = lambda command, env: called.append(command[2]) or int(command[2] == "bad")
    monkeypatch.setattr(subprocess, "call", call)
    (tmp_path / "there").touch()
    steps = [
        run_all.Step("a", ("done",), tmp_path / "there"),
        run_all.Step("a", ("new",), tmp_path / "absent"),
        run_all.Step("a", ("always",)),
        run_all.Step("a", ("bad",)),
        run_all.Step("a", ("never",)),
        run_all.Step("b", ("other",)),
    ]
    assert run_all.carry_out(steps) == ["[4/6] bad: ended with 1"]
    assert called == ["new", "always", "bad", "other"]
    out = capsys.readouterr().out
    assert "[1/6] done: done already" in out and "[5/6] never: left out" in out


def test_studies_run_side_by_side_and_what_is_timed_alone(monkeypatch):
    """Each on cores of its own; a command of one waits for what the other one started."""
    met, cores, order = threading.Barrier(2, timeout=10), {}, []

    def call(command, env):
        name = command[2]
        if name in ("a", "b"):
            cores[name] = os.sched_getaffinity(0)
            met.wait()
        order.append(name)
        return 0

    monkeypatch.setattr(subprocess, "call", call)
    everything = os.sched_getaffinity(0)
    steps = [
        run_all.Step("a", ("a",)),
        run_all.Step("a", ("timed",), alone=True),
        run_all.Step("b", ("b",)),
        run_all.Step("b", ("later",)),
    ]
    assert run_all.carry_out(steps, jobs=2) == []
    assert order[-1] == "timed" and sorted(order[:-1]) == ["a", "b", "later"]
    assert cores["a"] | cores["b"] == everything == os.sched_getaffinity(0)
    assert len(everything) == 1 or not cores["a"] & cores["b"]


def test_commands_of_a_study_share_compiled_programs(tmp_path, monkeypatch):
    """Two studies do not, as they run at the same time; what is timed compiles for itself."""
    folders, name = {}, "JAX_COMPILATION_CACHE_DIR"
    monkeypatch.delenv(name, raising=False)
    call = lambda command, env: folders.update({command[2]: env.get(name)}) or 0
    monkeypatch.setattr(subprocess, "call", call)
    studies = [(study, step) for study in "ab" for step in ("train", "ask", "time")]
    steps = [run_all.Step(a, (a + step,), alone=step == "time") for a, step in studies]
    assert run_all.carry_out(steps, jobs=2, programs=tmp_path) == []
    assert folders["atrain"] == folders["aask"] == str(tmp_path / "a")
    assert folders["btrain"] == folders["bask"] == str(tmp_path / "b")
    assert folders["atime"] is folders["btime"] is None
