import numpy as np
import pytest

from dynalay_jax.predict import inputs

SHAPE = (4, 6, 3)
WHOLE = np.full((2, *SHAPE), 200, np.uint8)
PARTS = WHOLE / 255


@pytest.mark.parametrize(
    "images, said",
    [
        (
            WHOLE.astype(int),
            "uint8 from 0 to 255, or floating-point numbers from 0 to 1, got int64",
        ),
        (WHOLE > 0, "got bool"),
        ("cat.png", "got <U7"),
        (PARTS * 255, r"to 1 \(white\), got 200 to 200. Pass uint8, or divide by 255"),
        (PARTS - 1, "Pass images that are not normalised"),
        (np.where(np.arange(2)[:, None, None, None], np.nan, PARTS), "nan or inf in image 1"),
        (WHOLE[:0], "There is nothing to predict"),
        (WHOLE[0], r"expected shape \[B, 4, 6, 3\], got \(4, 6, 3\). Pass images\[None\]"),
        (np.moveaxis(WHOLE, -1, 1), r"numpy.moveaxis\(images, 1, -1\)"),
        (WHOLE[:, :2], "Bring them to that size"),
        (WHOLE[..., :1], "Bring them to that size and number of channels"),
        (np.uint8(3), r"got \(\)"),
    ],
)
def test_other_images_are_refused(images, said):
    with pytest.raises((TypeError, ValueError), match=said) as error:
        inputs.check_images(images, SHAPE)
    assert "\n" not in str(error.value)


def test_images_without_the_axis_of_channels_get_the_cure():
    with pytest.raises(ValueError, match=r"Pass images\[..., None\]"):
        inputs.check_images(WHOLE[..., 0], (4, 6, 1))


def test_the_dtype_says_the_scale():
    assert inputs.check_images(WHOLE, SHAPE).dtype == np.uint8
    for dtype in (np.float16, np.float64):
        taken = inputs.check_images(PARTS.astype(dtype), SHAPE)
        assert taken.dtype == np.float32 and np.allclose(taken, PARTS, atol=1e-3)
    inputs.check_images(np.where(PARTS > 0.5, 1.001, -0.001), SHAPE)  # as bicubic resizing gives


@pytest.mark.parametrize("images", [WHOLE // 200, PARTS / 255])
def test_images_that_are_as_good_as_black_get_a_warning(images):
    with pytest.warns(UserWarning, match="as good as black"):
        inputs.check_images(images, SHAPE)


def test_tokens_have_their_range():
    words = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert inputs.check_tokens(words, (1, 3, 1), 6).shape == (2, 1, 3, 1)
    for wrong, said in (
        (words, "expected 0 to 4, got 0 to 5"),
        (words / 5, "expected whole numbers"),
        (words[:, :2], r"expected shape \[B, 1, 3, 1\]"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            inputs.check_tokens(wrong, (1, 3, 1), 5)


@pytest.mark.parametrize("price", [0, -1.0, 1e99, np.inf, "low", True, np.ones(2)])
def test_a_price_is_one_number_above_0(price):
    with pytest.raises((TypeError, ValueError), match="price: expected"):
        inputs.check_price(price)
