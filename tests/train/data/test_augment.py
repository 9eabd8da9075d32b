"""Augmentation: each operation does what it says, to every image in its own way."""

import functools

import chex
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from train.data.augment import augment

BATCH, SIZE = 256, 6
IMAGES = np.random.default_rng(0).normal(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)


def config(**changes):
    fields = {"crop": 0, "reflect": False, "flip": False, "cutout": 0, "symmetries": False}
    return ConfigDict({**fields, **changes})


@functools.cache
def compiled(settings):
    return jax.jit(lambda key, x: augment(key, x, config(**dict(settings))))


def run(images=IMAGES, seed=0, **changes):
    out = compiled(tuple(changes.items()))(jax.random.key(seed), images)
    assert (out.shape, out.dtype) == (images.shape, jnp.float32)
    return np.asarray(out)


def how_often(out, variants):
    """Counts of the variants [variant, batch, ...] among the outputs, each exactly one of them."""
    same = (out[None] == np.stack(variants)).all((2, 3, 4))
    np.testing.assert_array_equal(same.sum(0), np.ones(BATCH))
    return same.sum(1)


def test_nothing_asked_for_nothing_done():
    np.testing.assert_array_equal(run(), IMAGES)


def test_crop_shifts_and_fills_with_zeros():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    shifts = [padded[:, i : i + SIZE, j : j + SIZE] for i in range(5) for j in range(5)]
    assert how_often(run(crop=2), shifts).min() > 0


def test_crop_fills_with_the_reflection_if_asked():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    shifts = [padded[:, i : i + SIZE, j : j + SIZE] for i in range(5) for j in range(5)]
    assert how_often(run(crop=2, reflect=True), shifts).min() > 0


def test_flip_turns_half_of_the_images():
    counts = how_often(run(flip=True), [IMAGES, IMAGES[:, :, ::-1]])
    assert counts.min() > 0.35 * BATCH


def test_symmetries_are_all_eight():
    turned = [np.rot90(IMAGES, k, (1, 2)) for k in range(4)]
    counts = how_often(run(symmetries=True), [*turned, *(x[:, :, ::-1] for x in turned)])
    assert counts.min() > 0.05 * BATCH


@pytest.mark.parametrize("size", [1, 2, 3])
def test_cutout_is_a_square_anywhere(size):
    out = run(cutout=size)
    cut = (out == 0).all(-1)
    np.testing.assert_array_equal(out[~cut], IMAGES[~cut])
    rows, columns = cut.any(2), cut.any(1)
    np.testing.assert_array_equal(cut, rows[:, :, None] & columns[:, None, :])
    for sides in (rows, columns):
        # One stretch, of full length unless cut off at the border, and anywhere.
        assert (np.diff(sides, axis=1).sum(1) <= 2).all()
        length = sides.sum(1)
        touches = sides[:, 0] | sides[:, -1]
        assert (length[~touches] == size).all()
        assert ((length >= (size + 1) // 2) & (length <= size)).all()
        assert sides.any(0).all()


def test_an_image_is_augmented_alike_in_any_batch():
    everything = {"crop": 2, "flip": True, "cutout": 2, "symmetries": True}
    whole = run(**everything)
    np.testing.assert_array_equal(run(IMAGES[:10], **everything), whole[:10])
    assert (run(seed=1, **everything) != whole).any()


def test_a_new_key_does_not_compile_again():
    settings = config(flip=True)
    traced = jax.jit(chex.assert_max_traces(lambda key, x: augment(key, x, settings), n=1))
    for step in range(3):
        traced(jax.random.fold_in(jax.random.key(0), step), IMAGES)


def test_an_image_need_not_be_square():
    assert run(IMAGES[:, :, :5], crop=1).shape == (BATCH, SIZE, 5, 3)


def test_images_that_are_not_normalised_are_refused():
    with pytest.raises(AssertionError, match="uint8 but expected"):
        augment(jax.random.key(0), jnp.zeros((2, 6, 6, 3), jnp.uint8), config(flip=True))
