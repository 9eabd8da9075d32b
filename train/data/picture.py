"""An image file as the pixels that a model takes: the same in training and in prediction."""

import numpy as np
from PIL import Image, ImageOps

# What Pillow raises for files that are none of its images, damaged or too large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def pixels(image: Image.Image, height: int, width: int, grey: bool) -> np.ndarray:
    """The image upright, cut to that shape so that nothing is stretched, and resized.

    Args:
        image: of any size and colours.
        height, width, grey: of the result.

    Returns:
        uint8 [height, width, 1 or 3].

    Raises:
        ValueError: it has more than 8 bits a channel, which Pillow would clip to white.
        One of UNREADABLE: it is damaged.
    """
    if image.mode[0] in "IF":
        raise ValueError(
            f"expected an image of 8 bits a channel, got mode {image.mode}; convert it"
        )
    upright = ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
    return np.asarray(ImageOps.fit(upright, (width, height))).reshape(height, width, -1)
