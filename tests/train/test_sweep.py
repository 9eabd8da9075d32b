"""Sweeps: what runs, what is skipped, what is said, with processes made up where they can be."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import sample_records
from short_run import TINY

from train import main, sweep
from train.cli import Interrupted
from train.errors import UserError
from train.workdir import held, write_record

# Of ml_collections, which loads the configs.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")

SUMMARY = sample_records.SUMMARY | {
    "test_accuracy": 0.95,
    "all_layers_accuracy": 0.96,
    "mean_cost": 1.5,
    "train_seconds": 90.0,
}
# What a shell script needs to play a run; $out, $workdir.
PREAMBLE = """#!/bin/sh
for option; do case $option in --workdir=*) workdir=${option#*=};; esac; done
out=$(dirname "$workdir")
finish() { mkdir -p "$workdir" && cp "$out/summary" "$workdir/summary.json"; }
"""


@pytest.fixture
def run_is(tmp_path, monkeypatch):
    """Puts a shell script in the place of the training command."""
    (tmp_path / "summary").write_text(json.dumps(SUMMARY))

    def replace(body):
        script = tmp_path / "run.sh"
        script.write_text(PREAMBLE + body)
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return replace


def finished(out, config, seed, **changes):
    """The workdir of a run that is done."""
    records = {"summary": SUMMARY | changes, "data": {"mean": [0.0], "std": [1.0]}}
    fields = main.load(f"configs/{config}.py", [f"--config.seed={seed}"])
    records["config"] = json.loads(fields.to_json_best_effort())
    for name, record in records.items():
        write_record(out / f"{config}-{seed}", name, record)


def carry_out(capsys, out, *options):
    """Exit code and output of a sweep of digits."""
    code = 0
    try:
        sweep.main(["--configs=digits", f"--out={out}", *options])
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().out


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_done_runs_are_skipped_and_averaged_over_seeds(tmp_path, capsys, run_is):
    run_is("echo this run; echo error: no luck >&2; exit 2")
    finished(tmp_path, "digits", 0)
    finished(tmp_path, "digits", 1, test_accuracy=0.97, mean_cost=1.7, train_seconds=210.0)
    code, out = carry_out(capsys, tmp_path, "--seeds=0,1,2")
    assert code == 1 and "collect" not in out
    assert "digits-0 done already" in out and "digits-1 done already" in out
    rows = [cells(line) for line in out.splitlines() if line.strip().startswith("digits  ")]
    mean = ["96.0 ± 1.4", "1.60 ± 0.14", "90.0 ± 0.0", "96.0 ± 0.0", "91.0 ± 0.0", "2.5 ± 1.4"]
    assert rows == [
        ["digits", "0", "95.0", "1.50", "90.0", "96.0", "91.0", "1.5", "done"],
        ["digits", "1", "97.0", "1.70", "90.0", "96.0", "91.0", "3.5", "done"],
        ["digits", "2", *"——————", "failed"],
        ["digits", "mean ± std, n = 2", *mean],
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo one; echo error: two >&2; exit 2", r"failed after \d+ s: error: two\n"),
        ("kill -9 $$", r"failed after \d+ s: killed by SIGKILL"),
        ("exit 143", r"stopped after \d+ s"),
        ("exit 130", r"stopped after \d+ s"),
    ],
)
def test_a_run_that_does_not_end_well_is_not_done_and_the_others_go_on(
    tmp_path, capsys, run_is, body, said
):
    run_is(f"case $workdir in *-1) finish;; *) {body};; esac")
    code, out = carry_out(capsys, tmp_path, "--seeds=0,1")
    assert code == 1
    assert re.search(f"digits-0 {said}", out)
    assert re.search(r"digits-1 done after \d+ s: agent 95.0 % at a cost of 1.50", out)


ALONE = 'mkdir "$out/alone" && sleep 0.1 && rmdir "$out/alone"'
TOGETHER = """
touch "$workdir.up"
both() { test -e "$out/digits-0.up" -a -e "$out/digits-1.up"; }
for i in $(seq 500); do both && break; sleep 0.02; done
both"""


@pytest.mark.parametrize(("jobs", "body"), [(1, ALONE), (2, TOGETHER)], ids=["one", "two"])
def test_so_many_run_at_a_time(tmp_path, capsys, run_is, jobs, body):
    run_is(f"{body} && finish")
    code, out = carry_out(capsys, tmp_path, "--seeds=0,1", f"--jobs={jobs}")
    assert code == 0
    assert f"python -m benchmarks.paper.results {tmp_path}/*/" in out


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("INT", 130)])
def test_a_signal_is_passed_on_and_nothing_more_starts(tmp_path, capsys, run_is, name, code):
    run_is(f"""
        trap 'echo saved; exit 143' TERM
        kill -s {name} $PPID
        for i in $(seq 500); do sleep 0.02; done
        finish""")
    with pytest.raises(Interrupted, match=r"Stopped by .*\. The same command goes on") as stopped:
        carry_out(capsys, tmp_path, "--seeds=0,1")
    assert stopped.value.code == code
    assert "digits-0 stopped" in capsys.readouterr().out
    assert (tmp_path / "digits-0.log").read_text() == "saved\n"
    assert not (tmp_path / "digits-1.log").exists()


def test_mistakes_are_found_before_anything_runs(tmp_path, capsys):
    for options, said in {
        ("--seeds=0,x",): "--seeds: expected whole numbers, as 0,1,2, got 0,x",
        ("--set", "config.router=zzz"): "config.router: expected one of agent, none",
    }.items():
        with pytest.raises(UserError, match=said):
            carry_out(capsys, tmp_path, *options)
    finished(tmp_path, "digits", 1, mean_cost=None)
    with pytest.raises(UserError, match=r"Cannot read .*digits-1/summary.json: mean_cost: "):
        carry_out(capsys, tmp_path, "--seeds=0,1")
    assert not (tmp_path / "digits-0.log").exists()


def test_a_seed_is_run_once(tmp_path, capsys, run_is):
    run_is("finish")
    assert carry_out(capsys, tmp_path, "--seeds=00,0,+0")[0] == 0
    assert [path.name for path in tmp_path.glob("digits-*.log")] == ["digits-0.log"]


def test_what_cannot_be_written_is_said(tmp_path, capsys):
    (tmp_path / "digits-0.log").mkdir()
    code, out = carry_out(capsys, tmp_path, "--seeds=0")
    assert code == 1 and "digits-0 failed to start: Is a directory" in out
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--out: expected a folder, got the file"):
        carry_out(capsys, tmp_path / "file", "--seeds=0")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--configs=digits,none"], "no file none; there are configs/cifar10.py"),
        (["--set=config.train.clip=-1"], "config.train.clip: expected more than 0, got -1.0"),
        (["--configs=connectivity,digits", "--set=config.data.grid=9"], "grid"),
        (["--set=config.train.batch_size=many"], "many"),
        (["--set=config.seed=1"], "expected config.x=y, where x is not seed"),
        (["--set", "price=1"], "expected config.x=y"),
        (["--seeds=0,x"], "x"),
        (["--jobs=0"], "--jobs: expected 1 or more, got 0"),
        (["--job"], "expected one argument"),
        (["--sets=1"], "unrecognized arguments: --sets=1"),
    ],
)
def test_mistakes_are_answered_before_anything_starts(tmp_path, options, said):
    with pytest.raises(UserError, match=said) as caught:
        sweep.main(["--configs=digits", f"--out={tmp_path / 'out'}", *options])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_sweep_is_refused(tmp_path):
    finished(tmp_path, "digits", 0)
    options = ["--configs=digits", "--seeds=0", f"--out={tmp_path}"]
    with pytest.raises(UserError, match=r"digits-0 holds a run where config\.price is 0\.03, not"):
        sweep.main([*options, "--set", "config.price=0.5"])
    sweep.main(options)


@pytest.mark.slow
def test_real_runs_stop_and_go_on_and_fail(tmp_path, environment):
    """One is told to stop through the sweep; later it goes on to its end, beside one that fails."""
    short = ["config.train.epochs.agent=0.0", "config.train.epochs.joint=0.0"]
    changes = [*(option.removeprefix("--") for option in TINY[1:]), *short]

    def start(seeds):
        command = [sys.executable, "-m", "train.sweep", "--configs=digits", f"--seeds={seeds}"]
        return subprocess.Popen(
            [*command, f"--out={tmp_path}", "--set", *changes],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    process = start("0,1")
    metrics = tmp_path / "digits-0" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    log = tmp_path / "digits-0.log"
    assert process.returncode == 143, err
    assert "digits-0 stopped after" in out and "Stopped by SIGTERM. The same command" in out
    assert "saved. The same command goes on from there." in log.read_text()
    assert not (tmp_path / "digits-1").exists()

    # A run that cannot write its config fails.
    (tmp_path / "digits-2").mkdir()
    (tmp_path / "digits-2" / "config.json.tmp").mkdir()
    process = start("2,0")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1 and not err
    assert "error: Cannot write" in out and "Is a directory" in out
    assert "digits-0 done after" in out and "Resumed from step" in log.read_text()


def test_a_second_sweep_of_the_same_folder_starts_nothing(tmp_path, capsys):
    with held(tmp_path, "--out"), pytest.raises(UserError, match=r"trains in .*another --out"):
        sweep.main(["--configs=digits", "--seeds=0", f"--out={tmp_path}"])
    assert "running" not in capsys.readouterr().out
