"""The command line: exit codes and one-line answers, in a process of its own as a user has it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from short_run import TINY


def start(*args, env=None, kilobytes="unlimited"):
    """The command, where no file may be larger than that."""
    shell = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash"]
    command = [*shell, sys.executable, "-m", "train.main", *args]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stopped_once_it_trains(workdir, environment, stop="SIGTERM"):
    """A run that gets a signal after its first steps."""
    process = start(*TINY, f"--workdir={workdir}", env=environment)
    while not (workdir / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(getattr(signal, stop))
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


DIGITS = "--config=configs/digits.py"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(
            ["--config=configs/none.py"],
            "no file configs/none.py; there are configs/cifar10.py",
            id="unknown file",
        ),
        pytest.param([DIGITS, "--config.sed=1"], 'Did you mean "seed"', id="misspelt field"),
        pytest.param([DIGITS, "--config.seed=many"], "many", id="wrong type"),
        pytest.param([DIGITS, "--worldir=x"], "worldir", id="misspelt flag"),
        pytest.param(
            [DIGITS, "--config.train.batch_size=0"],
            "positive multiple of the 1 devices, got 0",
            id="batch size",
        ),
        pytest.param([DIGITS, "--workdir=/proc/run"], "Cannot use workdir", id="read-only workdir"),
        pytest.param([], "--config is missing", id="no config"),
        pytest.param(
            ["--config=configs/cifar10.py", "--config.data.data_dir=/no/such"],
            "/no/such",
            id="data_dir",
        ),
    ],
)
def test_mistakes_are_answered_in_one_line(args, said):
    process = start(*args)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert said in err and err.count("\n") == 1 and "Traceback" not in out + err


@pytest.mark.parametrize(("stop", "status"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_signals_save_and_exit(tmp_path, environment, stop, status):
    code, out, err = stopped_once_it_trains(tmp_path, environment, stop)
    assert code == status, err
    assert "saved. The same command goes on from there." in out
    assert any(path.name.isdigit() for path in (tmp_path / "checkpoints").iterdir())


def test_seeds_share_compiled_programs(tmp_path, environment):
    """Nothing of a seed is in them as a constant, so that a second one compiles nothing."""
    cache = tmp_path / "cache"
    env = {**environment, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    short = [f"--config.train.epochs.{phase}=0.1" for phase in ("main", "agent", "joint")]
    compiled = []
    for seed in (0, 1):
        own = [f"--config.seed={seed}", f"--workdir={tmp_path / str(seed)}"]
        process = start(*TINY, *short, *own, env=env)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        compiled.append({path.name for path in cache.iterdir() if path.name.endswith("-cache")})
    assert compiled[0] == compiled[1]


def test_a_full_disk_is_told_in_one_line_and_nothing_is_lost(tmp_path, environment):
    """The disk is full for files beyond a size: checkpoints no longer fit."""
    assert stopped_once_it_trains(tmp_path, environment)[0] == 0
    command = [*TINY, f"--workdir={tmp_path}"]
    # Nothing new in the cache of compiled programs: it would complain of the disk, too.
    env = {**environment, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "600"}
    process = start(*command, env=env, kilobytes=20)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert err.startswith(("error: Cannot save", "error: Cannot write")), err
    assert err.count("\n") == 1 and "File too large" in err
    process = start(*command, env=environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Resumed from step" in out and (tmp_path / "summary.json").exists()


def test_killed_20_times_ends_with_the_same_weights(tmp_path, environment):
    """kill -9 while starting, training, evaluating and saving."""
    length = [f"--config.train.epochs.{phase}=3.0" for phase in ("main", "agent", "joint")]
    run = lambda name: start(*TINY, *length, f"--workdir={tmp_path / name}", env=environment)
    begun = time.monotonic()
    whole = run("whole")
    while not (tmp_path / "whole" / "metrics.jsonl").exists() and whole.poll() is None:
        time.sleep(0.02)
    startup = time.monotonic() - begun
    _, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err

    metrics = tmp_path / "killed" / "metrics.jsonl"
    size = lambda: metrics.stat().st_size if metrics.exists() else 0
    for i in range(20):
        process, before = run("killed"), size()
        if i % 4 == 0:
            time.sleep(startup * i / 20)
        else:
            while size() <= before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(0.03 * (7 * i % 20))
        assert process.poll() is None, "ended before it was killed; make the run longer"
        process.kill()
        process.communicate()
    last = run("killed")
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert "Resumed from step" in out
    digest = lambda name: json.loads((tmp_path / name / "summary.json").read_text())
    assert digest("killed")["params_sha256"] == digest("whole")["params_sha256"]


@pytest.mark.skipif(
    "DYNALAY_TFDS_DIR" not in os.environ,
    reason="DYNALAY_TFDS_DIR does not name a folder with CIFAR-10 as prepared by TFDS",
)
def test_real_cifar10_trains(tmp_path, environment):
    """A short run on the real images gets well beyond chance, on every test image."""
    process = start(
        "--config=configs/cifar10_small.py",
        f"--workdir={tmp_path}",
        f"--config.data.data_dir={os.environ['DYNALAY_TFDS_DIR']}",
        "--config.model.widths=(16,32)",
        "--config.model.strides=(4,2)",
        "--config.model.windows=(4,2)",
        "--config.model.stem=0",
        "--config.model.rounds=1",
        "--config.model.compact=64",
        "--config.train.epochs.main=0.4",
        "--config.train.epochs.agent=0.05",
        "--config.train.epochs.joint=0.1",
        "--config.prices=(0.1,)",
        env=environment,
    )
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["test_examples"] == 10_000
    assert summary["test_accuracy"] > 0.25
