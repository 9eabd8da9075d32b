"""Strict JAX settings for every test, and four CPU devices, so that pmap is real."""

import os
import tempfile

# XLA's threads, by default one a core. Devices that wait in a collective hold threads which the
# device that they wait for may need for its loops: with too few, all wait for ever.
os.environ.setdefault("NPROC", "32")

# What several modules compile, or the processes that they start, is compiled once: the first
# process, whose environment the others inherit, makes the folder.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture
def x64():
    """float64 for the test: exact enough to compare with closed forms."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def flax_promotion():
    """For tests of models: Flax's biases broadcast over ranks, and its norms mix dtypes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Compiled programs hold memory maps, of which a process may have only so many."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def environment():
    """Of processes on one CPU device."""
    return {**os.environ, "JAX_PLATFORMS": "cpu"}
