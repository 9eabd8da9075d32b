"""The command line: exit codes and one-line answers, in a process of its own as a user has it."""

import os
import subprocess
import sys
import time

import pytest

from train.data import load  # noqa: F401 - fails here, not twenty times below, if it cannot

TINY = [
    "--config=configs/digits.py",
    "--config.model.cell=dense",
    "--config.model.widths=(8,)",
    "--config.model.strides=(1,)",
    "--config.model.compact=0",
    "--config.train.steps_per_call=1",
    "--config.train.epochs.main=1.0",
    "--config.train.epochs.agent=1.0",
    "--config.train.epochs.joint=1.0",
    "--config.eval_every=0.06",
    "--config.prices=(0.1,)",
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Compiled programs are kept between the processes."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
    }
    return {**os.environ, **cache}


def start(*args, env=None):
    command = [sys.executable, "-m", "train.main", *args]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--config=configs/none.py"], "configs/none.py"),
        (["--config=configs/digits.py", "--config.sed=1"], "Did you mean"),
        (["--config=configs/digits.py", "--config.seed=many"], "many"),
        (["--config=configs/digits.py", "--worldir=x"], "worldir"),
        ([], "--config is missing"),
        (["--config=configs/cifar10.py", "--config.data.data_dir=/no/such"], "/no/such"),
    ],
    ids=["unknown file", "misspelt field", "wrong type", "misspelt flag", "no config", "data_dir"],
)
def test_mistakes_are_answered_in_one_line(args, said):
    process = start(*args)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said in err and err.count("\n") == 1 and "Traceback" not in out + err


@pytest.mark.parametrize("stop", ["SIGTERM", "SIGINT"])
def test_signals_save_and_exit_0(tmp_path, environment, stop):
    import signal

    process = start(*TINY, f"--workdir={tmp_path}", env=environment)
    while not (tmp_path / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(getattr(signal, stop))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "saved. The same command goes on from there." in out
    assert any(path.name.isdigit() for path in (tmp_path / "checkpoints").iterdir())


def test_killed_20_times_ends_with_the_same_weights(tmp_path, environment):
    """kill -9 at moments spread over the run; each start must get further or lose nothing."""
    import json

    whole = start(*TINY, f"--workdir={tmp_path / 'whole'}", env=environment)
    begun = time.monotonic()
    _, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err
    # A second time, now that everything is compiled, tells how long a run takes.
    begun = time.monotonic()
    start(*TINY, f"--workdir={tmp_path / 'timed'}", env=environment).communicate(timeout=300)
    seconds = time.monotonic() - begun

    killed, args = 0, [*TINY, f"--workdir={tmp_path / 'killed'}"]
    delays = [seconds * (0.35 + 0.6 * ((7 * i) % 20) / 20) for i in range(20)]
    for delay in delays:
        process = start(*args, env=environment)
        try:
            process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        if (tmp_path / "killed" / "summary.json").exists():
            break
    final = start(*args, env=environment)
    _, err = final.communicate(timeout=300)
    assert final.returncode == 0, err
    digest = lambda name: json.loads((tmp_path / name / "summary.json").read_text())[
        "params_sha256"
    ]
    assert digest("killed") == digest("whole")
