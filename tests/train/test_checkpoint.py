"""Checkpoints: exact, the right ones kept, and usable after a kill, damage or a full disk."""

from pathlib import Path
import resource
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.checkpoint import Checkpoints
from train.errors import UserError


class Moments(NamedTuple):
    mu: dict
    count: jax.Array
    nothing: None = None


def state(seed, size=40):
    rng = np.random.default_rng(seed)
    return {
        "step": jnp.int32(seed),
        "params": {"dense": {"kernel": jnp.asarray(rng.normal(size=(size, 3)), jnp.float32)}},
        "moments": (Moments({"kernel": jnp.full((2,), seed, jnp.bfloat16)}, jnp.uint32(seed)),),
        "numpy": [rng.normal(size=size), rng.integers(0, 255, 5).astype(np.uint8)],
        "special": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        "flag": jnp.asarray([True, False]),
        "empty": np.zeros((0, 4), np.int64),
    }


def template():
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state(0))


def assert_equal(restored, expected):
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def saved(folder, steps, metrics=None, keep=9):
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(step, state(step), {"epoch": step}, (metrics or {}).get(step))
    checkpoints.close()
    return folder


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(str(part) in text for part in parts), text


def test_restores_bit_by_bit(tmp_path):
    folder = tmp_path / "deep" / "checkpoints"
    checkpoints = Checkpoints(folder)
    assert checkpoints.restore_latest(template()) is None
    assert checkpoints.restore_best(template()) is None
    assert not folder.exists(), "reading must not write"
    meta = {"epoch": 3, "rate": 0.1, "name": "naïve", "nested": {"list": [1, None, True]}}
    checkpoints.save(7, state(7), meta)
    checkpoints.wait()
    for reader in (checkpoints, Checkpoints(folder)):
        step, restored, read = reader.restore_latest(template())
        assert (step, read) == (7, meta)
        assert_equal(restored, state(7))
    assert checkpoints.restore_best(template()) is None, "it has no metric"
    checkpoints.close()


def test_state_may_change_once_save_has_returned(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    mutable = {"a": np.zeros(100_000), "b": jnp.zeros(100_000)}
    checkpoints.save(1, mutable, {})
    mutable["a"] += 1
    jax.jit(lambda b: b + 1, donate_argnums=0)(mutable["b"]).block_until_ready()
    types = {"a": mutable["a"], "b": jax.ShapeDtypeStruct((100_000,), jnp.float32)}
    _, restored, _ = checkpoints.restore_latest(types)
    assert not restored["a"].any() and not restored["b"].any()
    checkpoints.close()


def test_keeps_the_newest_and_the_best(tmp_path):
    metrics = {1: float("nan"), 2: 0.9, 3: 0.2, 5: 0.9, 6: 0.3}
    saved(tmp_path, range(1, 6), metrics, keep=2)
    # The best is remembered by the files, not by the process; of equals it is the first.
    saved(tmp_path, [6, 7], metrics, keep=2)
    checkpoints = Checkpoints(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "6", "7"]
    assert checkpoints.restore_latest(template())[0] == 7
    step, best, _ = checkpoints.restore_best(template())
    assert step == 2
    assert_equal(best, state(2))


def test_a_step_saved_again_is_overwritten_and_an_earlier_one_refused(tmp_path):
    saved(tmp_path, [1, 2], {2: 0.5})
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, state(20), {"second": True}, 0.7)
    checkpoints.save(2, state(21), {"third": True})
    step, restored, meta = checkpoints.restore_latest(template())
    assert (step, meta) == (2, {"third": True})
    assert_equal(restored, state(21))
    assert checkpoints.restore_best(template()) is None, "what was overwritten has no metric"
    with pytest.raises(UserError) as error:
        checkpoints.save(1, state(1), {})
    one_line(error, "step 1", "holds step 2", tmp_path)
    checkpoints.close()


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "state truncated": lambda f: [
        p.write_bytes(p.read_bytes()[:99]) for p in f.glob("state/**/d/*")
    ],
    "state bit flipped": lambda f: [flip_a_bit(p) for p in f.glob("state/**/d/*")],
    "state is junk": lambda f: [p.write_bytes(b"junk" * 200) for p in f.glob("state/**/manifest*")],
    "state removed": lambda f: shutil.rmtree(f / "state"),
    "state is another": lambda f: shutil.copytree(
        f.parent / "20" / "state", f / "state", dirs_exist_ok=True
    ),
    "meta emptied": lambda f: (f / "meta" / "metadata").write_text(""),
    "meta altered": lambda f: (f / "meta" / "metadata").write_text(
        (f / "meta" / "metadata").read_text().replace('"epoch": 30', '"epoch": 40')
    ),
    "meta removed": lambda f: (f / "meta" / "metadata").unlink(),
    "all removed": lambda f: [shutil.rmtree(p) for p in f.iterdir() if p.is_dir()],
}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    metrics = {10: 0.1, 20: 0.2, 30: 0.3}
    return saved(tmp_path_factory.mktemp("three"), metrics, metrics)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(three, tmp_path, capsys, damage):
    folder = shutil.copytree(three, tmp_path / "copy")
    DAMAGE[damage](folder / "30")
    checkpoints = Checkpoints(folder)
    step, restored, meta = checkpoints.restore_latest(template())
    assert (step, meta) == (20, {"epoch": 20})
    assert_equal(restored, state(20))
    (warning,) = capsys.readouterr().out.splitlines()
    assert "step 30" in warning and str(folder) in warning
    assert checkpoints.restore_best(template())[0] == 20
    # The run goes on from step 20, and its next save may come before step 30.
    checkpoints.save(25, state(25), {})
    assert_equal(checkpoints.restore_latest(template())[1], state(25))
    checkpoints.close()
    assert sorted(p.name for p in folder.iterdir()) == ["10", "20", "25"]


def test_all_damaged(three, tmp_path, capsys):
    folder = shutil.copytree(three, tmp_path / "copy")
    DAMAGE["state removed"](folder / "10")
    DAMAGE["meta emptied"](folder / "20")
    DAMAGE["state truncated"](folder / "30")
    with pytest.raises(UserError) as error:
        Checkpoints(folder).restore_latest(template())
    one_line(error, folder, "step 10", "step 20", "step 30")
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda t: t["params"]["dense"].update(kernel=np.zeros((40, 4), np.float32)),
         ["params/dense/kernel", "float32[40, 3]", "float32[40, 4]"]),
        (lambda t: t["params"]["dense"].update(kernel=np.zeros((40, 3), np.float64)),
         ["params/dense/kernel", "float32[40, 3]", "float64[40, 3]"]),
        (lambda t: t["params"].update(gate=np.zeros(3)), ["params/gate", "absent there"]),
        (lambda t: t.pop("flag"), ["flag", "bool[2] there", "absent here"]),
        (lambda t: t.update(params={}, flag=np.zeros(1)), ["1 more"]),
    ],
    ids=["shape", "dtype", "added", "removed", "two"],
)  # fmt: skip
def test_another_model_is_refused(three, change, parts):
    other = template()
    change(other)
    with pytest.raises(UserError) as error:
        Checkpoints(three).restore_latest(other)
    one_line(error, three / "30", "config", *parts)


def test_a_full_disk_is_told_and_harms_nothing(tmp_path, caplog):
    """As a limit on the size of files, which the writing thread runs into."""
    saved(tmp_path, [1, 2], {1: 0.5})
    checkpoints = Checkpoints(tmp_path, keep=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        checkpoints.save(3, state(3, size=20_000), {}, 0.9)
        with pytest.raises(UserError) as error:
            checkpoints.wait()
        one_line(error, tmp_path, "File too large", "room")
        checkpoints.save(3, state(3, size=20_000), {}, 0.9)
        with pytest.raises(UserError):
            checkpoints.save(4, state(4), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not caplog.records, "the error says it all"
    assert checkpoints.restore_latest(template())[0] == 2
    assert checkpoints.restore_best(template())[0] == 1
    checkpoints.save(4, state(4), {})
    checkpoints.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "4"]


def test_a_folder_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    checkpoints = Checkpoints(file / "checkpoints")
    with pytest.raises(UserError) as error:
        checkpoints.save(1, state(1), {})
    one_line(error, file, "step 1", "Not a directory")


ENDLESS = """
import itertools, pathlib, sys
import numpy as np
from train.checkpoint import Checkpoints

state = lambda step: {str(i): np.full((200, 200), step + i / 10) for i in range(9)}
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]))
found = checkpoints.restore_latest(state(0))
assert found is None or all(np.array_equal(found[1][k], v) for k, v in state(found[0]).items())
for step in itertools.count(found[0] + 1 if found else 1):
    checkpoints.save(step, state(step), {"step": step}, 1 / step)
"""


def test_killed_while_saving(tmp_path):
    """SIGKILL at any moment; each life begins by checking what the one before has left."""
    shape = {str(i): np.empty((200, 200)) for i in range(9)}
    last = 0
    for _ in range(2):
        command = [sys.executable, "-c", ENDLESS, tmp_path]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as run:
            while not (tmp_path / str(last + 3)).exists() and run.poll() is None:
                time.sleep(0.01)
            while not list(tmp_path.glob("*tmp*")) and run.poll() is None:
                pass
            run.kill()
            assert run.stderr.read() == b"", "orbax is silent"
        step, restored, meta = Checkpoints(tmp_path).restore_latest(shape)
        assert step >= last + 3 and meta == {"step": step}
        assert all((restored[name] == step + int(name) / 10).all() for name in shape)
        last = step


def test_leftovers_of_a_killed_save_are_cleared(tmp_path):
    saved(tmp_path, [1, 2])
    leftover = shutil.copytree(tmp_path / "2", tmp_path / "3.orbax-checkpoint-tmp")
    shutil.rmtree(leftover / "meta")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore_latest(template())[0] == 2
    assert leftover.exists(), "a reader must not take it from a run that is still saving"
    checkpoints.save(4, state(4), {})
    checkpoints.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "4"]
