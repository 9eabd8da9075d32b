"""Random crops, flips, cutout and symmetries on the device, drawn for each image separately."""

import functools

import chex
import dm_pix
import jax
import jax.numpy as jnp
import ml_collections


def augment(key: jax.Array, images: jax.Array, config: ml_collections.ConfigDict) -> jax.Array:
    """Augments every image of a batch differently.

    Args:
        key: typed PRNG key; image i uses it folded with i.
        images: [batch, height, width, channels] float32, normalised: 0, which fills what is
            missing, is the mean.
        config: `config.augment`, fixed at trace time. The square of `cutout` is centred anywhere
            in the image and cut off at its border (DeVries & Taylor, arXiv 1708.04552).

    Returns:
        Like images.

    Raises:
        AssertionError: images is not of rank 4 and float32.
    """
    chex.assert_rank(images, 4)
    chex.assert_type(images, jnp.float32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images)))
    return jax.vmap(functools.partial(_augment_image, config=config))(keys, images)


def _augment_image(
    key: jax.Array, image: jax.Array, config: ml_collections.ConfigDict
) -> jax.Array:
    crop_key, flip_key, cutout_key, symmetry_key = jax.random.split(key, 4)
    if config.crop:
        padding = (config.crop, config.crop)
        mode = "reflect" if config.reflect else "constant"
        padded = jnp.pad(image, (padding, padding, (0, 0)), mode)
        image = dm_pix.random_crop(crop_key, padded, image.shape)
    if config.flip:
        image = dm_pix.random_flip_left_right(flip_key, image)
    if config.cutout:
        image = _cutout(cutout_key, image, config.cutout)
    if config.symmetries:
        image = _random_symmetry(symmetry_key, image)
    return image


def _cutout(key: jax.Array, image: jax.Array, size: int) -> jax.Array:
    height, width, _ = image.shape
    row_key, column_key = jax.random.split(key)
    rows, columns = _stretch(row_key, height, size), _stretch(column_key, width, size)
    return jnp.where(rows[:, None, None] & columns[None, :, None], 0.0, image)


def _stretch(key: jax.Array, length: int, size: int) -> jax.Array:
    """`size` neighbouring places around a random one of `length`: [length] bool."""
    place = jnp.arange(length) - jax.random.randint(key, (), 0, length) + size // 2
    return (place >= 0) & (place < size)


def _random_symmetry(key: jax.Array, image: jax.Array) -> jax.Array:
    """Three coins, for a transposition and two flips, make each of the eight symmetries once."""
    transpose_key, across_key, down_key = jax.random.split(key, 3)
    transpose = jax.random.bernoulli(transpose_key)
    image = jnp.where(transpose, jnp.swapaxes(image, 0, 1), image)
    image = dm_pix.random_flip_left_right(across_key, image)
    return dm_pix.random_flip_up_down(down_key, image)
