"""The command: options, help and mistakes in this process; signals and a full disk in others."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest
from short_run import TINY

from train import config, main
from train.errors import UserError
from train.workdir import write_record

pytestmark = pytest.mark.usefixtures("flax_promotion")


def start(*args, env=None, kilobytes="unlimited"):
    """The command, where no file may be larger than that."""
    shell = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash"]
    command = [*shell, sys.executable, "-m", "train.main", *args]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def written(workdir):
    """Bytes of metrics: 0 until the first steps are done."""
    metrics = workdir / "metrics.jsonl"
    return metrics.stat().st_size if metrics.exists() else 0


def stopped_once_it_trains(workdir, environment, stop="SIGTERM"):
    """A run that gets a signal after its first steps."""
    process = start(*TINY, f"--workdir={workdir}", env=environment)
    while not written(workdir) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(getattr(signal, stop))
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "--config is missing; for example --config=configs/digits.py."),
        ("--config.seed=3", "--config is missing"),
        ("--config", "expected one argument"),
        ("--config=configs/none.py", "no file configs/none.py; there are configs/cifar10.py"),
        ("--config=dgits", "Did you mean digits?"),
        ("--config=setup.cfg", "no file setup.cfg"),
        ("--config=configs/_base.py", "expected a config with a function get_config, got none"),
        ("--config=digits --worldir=x", "no such option; there are --config, --workdir, --mode, "),
        ("--conf=digits", "--conf: no such option"),
        ("--config=digits --mode=evil", "invalid choice: 'evil'"),
        ("--config=digits here", "Unknown argument 'here'"),
        ("--config=digits --config.model.norm maybe", "Unknown argument 'maybe'"),
        ("--config=digits --config.seed many", "config.seed: expected a whole number"),
        ("--config=digits --noconfig.model.norm=1", "does not take an argument"),
        ("--config=digits:modle_0", "no variant 'modle_0'. Did you mean 'model_0'?"),
        ("--config=digits:model_4", "no variant 'model_4'"),
        ("--config=digits:wide", "no variant 'wide'"),
        ("--config=digits:wide_0x", "more than 0 and at most 100 times the MACs, got wide_0x"),
        ("--config=digits:deep_1000x", "at most 100 times the MACs, got deep_1000x"),
        ("--config=digits:deep_0.01x", "the nearest has"),
        ("--config=digits --workdir=setup.cfg", "--workdir: expected a folder, got the file"),
        ("--config=digits --workdir=", "--workdir: expected a folder, got an empty name"),
        (f"--config=digits --workdir={300 * 'a'}", "a name that the system refuses"),
        ("--config=cifar10 --config.data.data_dir=/no/such", "no folder '/no/such'"),
        ("--config=imdb --config.data.data_dir=setup.cfg", "no folder 'setup.cfg'"),
        ("--config=digits --config.data.name=mazes", "data.name: expected digits, the data set"),
        ("--config=digits --config.router=zzz", "config.router: expected one of agent, none, all"),
        ("--config=digits --config.router=random:4", "mean number of layers up to 3"),
        ("--config=digits --config.model.widths=32", "1 number, as many as model.widths=(32,) has"),
        (
            "--config=digits --config.exploration.epsilon=0.3",
            "two numbers, 0 to 1 each, as --config.exploration.epsilon='(0.3, 0.02)', got (0.3,)",
        ),
    ],
)
def test_mistakes_are_answered_in_one_line(options, said):
    with pytest.raises(UserError) as caught:
        main.main(options.split())
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("config.train.lr = 1", "config.train.lr: no such field. config.train has batch_size, "),
        ("config.seed = 'x'", "mine.py, line 4: TypeError: "),
        ("return None", "mine.py: TypeError: expected get_config to return a ConfigDict, got None"),
        ("config.(", "mine.py: SyntaxError: "),
    ],
)
def test_mistakes_in_a_config_file_are_answered_in_one_line(tmp_path, source, said):
    lines = ["from configs import _base", "def get_config():", "    config = _base.base()"]
    file = tmp_path / "mine.py"
    file.write_text("\n".join([*lines, f"    {source}", "    return config"]))
    with pytest.raises(UserError) as caught:
        main.load(str(file))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_options_say_what_runs_and_where(monkeypatch):
    calls = []
    monkeypatch.setattr(main.loop, "train_and_evaluate", lambda *args: calls.append(args))
    monkeypatch.setattr(main.loop, "evaluate_only", lambda *args: calls.append(args))
    main.main(["--config=digits:model_1", "--config.seed", "7", "--noconfig.model.norm"])
    twice = ["--config.prices=(3,)", "--config.prices=(1,2)"]
    main.main(["--config=configs/digits.py", "--workdir=w", *twice])
    (first, where), (second, there) = calls
    assert (where, there) == (Path("workdir/digits_model_1"), Path("w"))
    assert (first.seed, first.model.norm, first.router) == (7, False, "first_1")
    assert (second.prices, second.router) == ((1, 2), "agent")


def test_a_run_is_evaluated_as_it_was_trained(tmp_path, monkeypatch, capsys):
    trained = main.load("configs/digits.py", ["--config.seed=7", "--config.price=0.3"])
    write_record(tmp_path, "config", json.loads(trained.to_json_best_effort()))
    write_record(tmp_path, "data", {"mean": [0.0], "std": [1.0]})
    calls = []
    monkeypatch.setattr(main.loop, "evaluate_only", lambda *args: calls.append(args))
    options = ["--mode=eval", f"--workdir={tmp_path}", "--config.prices=(1,2)"]
    main.main(options)
    assert capsys.readouterr().out == ""
    main.main([*options, "--config=digits", "--config.train.batch_size=64"])
    assert capsys.readouterr().out == (
        f"The run in {tmp_path} is evaluated as it was trained, not as --config says: "
        "config.price is 0.3, not 0.03, config.seed is 7, not 0.\n"
    )
    for own, workdir in calls:
        assert workdir == tmp_path
        assert (own.seed, own.price, own.prices) == (7, 0.3, (1, 2))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("", ["  parity  ", "learning_rate=0.001 ", "python -m benchmarks.fixed_point "]),
        ("--config=mazes:loose --config.seed=5", ["tol=0.001 ", "seed=5", "side=5 ", "model_2 "]),
    ],
)
def test_help_fits_100_columns(capsys, options, shown):
    main.main([*options.split(), "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    fields = [field for _, found in config.groups("mazes").values() for field in found]
    names = [field.path.rpartition(".")[2] for field in fields if "data." not in field.path]
    for words in (*shown, *(f"{name}=" for name in names), "python -m train.sweep "):
        assert words in text


@pytest.mark.slow
def test_the_command_answers_mistakes_in_one_line_and_exits_2():
    process = start("--config=configs/digits.py", "--config.train.learning_rate=-1")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (2, "")
    expected = "config.train.learning_rate: expected more than 0, at most 10, got -1.0."
    assert err == f"error: {expected}\n"


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_save_and_exit(tmp_path, environment, stop, status):
    code, out, err = stopped_once_it_trains(tmp_path, environment, stop)
    assert code == status, err
    assert "saved. The same command goes on from there." in out
    assert any(path.name.isdigit() for path in (tmp_path / "checkpoints").iterdir())


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_full_disk_is_told_in_one_line_and_nothing_is_lost(tmp_path, environment):
    """The disk is full for files beyond a size: checkpoints no longer fit."""
    assert stopped_once_it_trains(tmp_path, environment)[0] == 143
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


@pytest.mark.slow
def test_killed_20_times_ends_with_the_same_weights(tmp_path, environment):
    """kill -9 while starting, training, evaluating and saving."""
    length = [f"--config.train.epochs.{phase}=3.0" for phase in ("main", "agent", "joint")]
    run = lambda name: start(*TINY, *length, f"--workdir={tmp_path / name}", env=environment)
    begun = time.monotonic()
    whole = run("whole")
    while not written(tmp_path / "whole") and whole.poll() is None:
        time.sleep(0.02)
    startup = time.monotonic() - begun
    _, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err

    for i in range(20):
        process, before = run("killed"), written(tmp_path / "killed")
        if i % 4 == 0:
            time.sleep(startup * i / 20)
        else:
            while written(tmp_path / "killed") <= before and process.poll() is None:
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


@pytest.mark.slow
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
