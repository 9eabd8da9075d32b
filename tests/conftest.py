"""Strict JAX settings for every test, and four CPU devices, so that pmap is real."""

import os
import tempfile

# XLA's threads, by default one a core. Devices that wait in a collective hold threads which the
# device that they wait for may need for its loops: with too few, all wait for ever.
os.environ.setdefault("NPROC", "32")

import jax
import pytest

# What several modules compile, this process compiles once; with JAX_COMPILATION_CACHE_DIR set, once
# and for all.
if not jax.config.jax_compilation_cache_dir:
    _cache = tempfile.TemporaryDirectory()
    jax.config.update("jax_compilation_cache_dir", _cache.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
# Most of a test's time is compilation.
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


@pytest.fixture
def x64():
    """float64 for the test: exact enough to compare with closed forms."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def flax_promotion():
    """For modules that test models: Flax's biases broadcast over ranks, its norms mix dtypes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Compiled programs hold memory maps, of which a process may have only so many."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Of processes on one CPU device that keep compiled programs for each other."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PLATFORMS": "cpu",
    }
    return {**os.environ, **settings}
