import numpy as np
from PIL import Image
import pytest

from train.data.picture import pixels


def test_a_picture_is_cut_not_stretched():
    thirds = Image.fromarray(np.repeat([[10] * 8 + [200] * 8 + [10] * 8], 8, axis=0).astype("u1"))
    for grey, channels in ((True, 1), (False, 3)):
        found = pixels(thirds, 4, 4, grey)
        assert found.shape == (4, 4, channels) and (found > 100).all()


def test_a_picture_is_turned_upright(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "x.png", exif=b"")
    image = Image.open(tmp_path / "x.png")
    image.getexif()[0x0112] = 6
    assert pixels(image, 2, 1, grey=True).ravel().tolist() == [0, 255]


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_8_bits_are_refused(mode):
    with pytest.raises(ValueError, match="expected an image of 8 bits a channel"):
        pixels(Image.new(mode, (4, 4)), 4, 4, grey=True)
