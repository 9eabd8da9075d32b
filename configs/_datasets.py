"""The data sets: type, range, meaning and default of the fields of each, and its sizes."""

from pathlib import Path
from typing import Annotated, Literal
import zipfile

import numpy as np
import pydantic
from pydantic import Field

from configs._groups import Group

_Side = Annotated[int, Field(ge=1)]


class Data(Group):
    """A data set."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        """Height, width and channels of an example, and the number of classes."""
        raise NotImplementedError


class Digits(Data):
    """scikit-learn's 1,797 handwritten digits, 8×8. Nothing is downloaded."""

    name: Literal["digits"] = "digits"
    validation: int = Field(200, ge=10, le=1_287)
    """Training images held out for validation, of 1,297."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (8, 8, 1), 10


class _Cifar(Data):
    data_dir: str = ""
    """Folder of the TFDS data sets; empty for the default of TFDS."""
    validation: int = Field(5_000, ge=1, le=49_999)
    """Training images held out for validation, of 50,000."""


class Cifar10(_Cifar):
    """CIFAR-10 through TFDS: 32×32 images of 10 classes."""

    name: Literal["cifar10"] = "cifar10"

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (32, 32, 3), 10


class Cifar100(_Cifar):
    """CIFAR-100 through TFDS: 32×32 images of 100 classes (fine labels)."""

    name: Literal["cifar100"] = "cifar100"

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (32, 32, 3), 100


class _Generated(Data):
    train: int = Field(60_000, ge=2, le=10_000_000)
    """Training examples, those for validation included."""
    validation: int = Field(2_000, ge=1)
    """Training examples held out for validation; fewer than `train`."""
    test: int = Field(5_000, ge=1, le=10_000_000)
    """Test examples."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the examples."""

    @pydantic.model_validator(mode="after")
    def _check_validation(self) -> "_Generated":
        if self.validation >= self.train:
            raise ValueError(
                f"config.data.validation: expected fewer than the {self.train} training examples "
                f"(config.data.train), got {self.validation}."
            )
        return self


class Connectivity(_Generated):
    """Made on the fly: are two cells of a random grid connected?"""

    name: Literal["connectivity"] = "connectivity"
    grid: int = Field(12, ge=2, le=256)
    """Height and width of the images, in pixels."""
    open_fraction: float = Field(0.6, gt=0, lt=1)
    """Probability that a cell is open."""
    blocks: tuple[_Side, ...] = ()
    """Sides of a cell in pixels, each for an equal share of the images; () for cells of 1 pixel."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (self.grid, self.grid, 3), 2

    @pydantic.model_validator(mode="after")
    def _check_blocks(self) -> "Connectivity":
        if any(self.grid % block for block in self.blocks):
            raise ValueError(
                "config.data.blocks: expected numbers that divide the grid of "
                f"{self.grid} (config.data.grid), got {self.blocks}."
            )
        return self


class Mazes(_Generated):
    """Made on the fly: is the path between two cells of a maze whole?"""

    name: Literal["mazes"] = "mazes"
    side: int = Field(5, ge=3, le=128)
    """Height and width of the maze in cells; the image has 2 · side − 1 pixels."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (2 * self.side - 1, 2 * self.side - 1, 3), 2


class Parity(_Generated):
    """Made on the fly: is the number of ones in a vector of 0, 1 and −1 odd?"""

    name: Literal["parity"] = "parity"
    length: int = Field(64, ge=1, le=65_536)
    """Entries of a vector."""
    least: int = Field(1, ge=1)
    """Least number of entries that are not 0, in training."""
    most: int = Field(64, ge=1)
    """Largest number of entries that are not 0, in training."""
    test_least: int = Field(1, ge=1)
    """Least number of entries that are not 0, in the test set."""
    test_most: int = Field(64, ge=1)
    """Largest number of entries that are not 0, in the test set."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (1, self.length, 2), 2

    @pydantic.model_validator(mode="after")
    def _check_entries(self) -> "Parity":
        for prefix in ("", "test_"):
            least, most = (getattr(self, prefix + name) for name in ("least", "most"))
            if not least <= most <= self.length:
                raise ValueError(
                    f"config.data.{prefix}most: expected {prefix}least ({least}) to length "
                    f"({self.length}), got {most}."
                )
        return self


class Imdb(Data):
    """IMDB's film reviews through TFDS: is a review positive?"""

    name: Literal["imdb_reviews"] = "imdb_reviews"
    data_dir: str = ""
    """Folder of the TFDS data sets; empty for the default of TFDS."""
    length: int = Field(128, ge=1, le=65_536)
    """Words of each review that are used: the last ones."""
    vocabulary: int = Field(8_000, ge=3, le=65_536)
    """Number of tokens: the most frequent words, one for other words, one for padding."""
    validation: int = Field(5_000, ge=1, le=24_999)
    """Training reviews held out for validation, of 25,000."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (1, self.length, 1), 2


class Wikitext2(Data):
    """WikiText-2 from its files: which word comes next?"""

    name: Literal["wikitext2"] = "wikitext2"
    data_dir: str = ""
    """Folder of TFDS: the text is in downloads/manual/wikitext-2; empty for the default of TFDS."""
    length: int = Field(16, ge=1, le=65_536)
    """Words before the one to predict that the model reads."""
    vocabulary: int = Field(10_000, ge=3, le=65_536)
    """Number of tokens: the most frequent words, one for other words, one for padding."""
    validation: int = Field(20_000, ge=1, le=217_646)
    """Words of the validation text that are used, from its beginning."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return (1, self.length, 1), self.vocabulary


class Images(Data):
    """Images of your own, resized to squares: a folder of classes, or an .npz file."""

    name: Literal["images"] = "images"
    path: str = ""
    """A folder of classes, or of `train` and `test` with such folders; or an .npz file."""
    side: int = Field(32, ge=1, le=4_096)
    """Height and width of the images in pixels, after resizing."""
    grey: bool = False
    """One channel instead of three."""
    validation_share: float = Field(0.1, gt=0, lt=0.9)
    """Share of the training images held out for validation."""
    test_share: float = Field(0.1, gt=0, lt=0.9)
    """Share of the images held out as test images, if the data have none."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        # Without a path there is help on the fields, and nothing to train on.
        classes = len(image_classes(self.path)) if self.path else 2
        return (self.side, self.side, 1 if self.grey else 3), classes


def image_classes(path: str) -> tuple[str, ...]:
    """The class names of a folder of images or an .npz file, in order.

    Raises:
        ValueError: it is neither, or has fewer than two classes.
    """
    refuse = lambda expected, got: ValueError(f"config.data.path: expected {expected}, got {got}.")
    place = Path(path)
    if not path or not place.exists():
        raise refuse("a folder of images or an .npz file that exists", repr(path))
    if place.is_dir():
        names, *tested = map(_folders, image_parts(place))
        if tested and tested[0] != names:
            got = f"{', '.join(names)} in train, {', '.join(tested[0])} in test"
            raise refuse("the same classes in train and test", got)
        if len(names) == 2 and {"train", "test"} & set(names):
            raise refuse("two classes, or the folders train and test", " and ".join(names))
    else:
        try:
            with np.load(place, allow_pickle=False) as file:
                names = [str(name) for name in np.unique(file["labels"])]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            got = " ".join(str(error).split()) or type(error).__name__
            raise refuse("an .npz file with the arrays images and labels", got) from error
    if len(names) < 2:
        got = f"{len(names)} in {path}"
        raise refuse("a subfolder or a label for each of two classes or more", got)
    return tuple(names)


def image_parts(place: Path) -> list[Path]:
    """The folders `train` and `test`, if there is no other one, or the folder itself."""
    if (names := _folders(place)) in (["train"], ["test", "train"]):
        return [place / name for name in reversed(names)]
    return [place]


def _folders(place: Path) -> list[str]:
    return sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith("."))


class Given(Data):
    """Arrays that were passed to `train_and_evaluate`, which sets these fields."""

    name: Literal["given"] = "given"
    shape: tuple[_Side, _Side, _Side] = (32, 32, 3)
    """Height, width and channels of an image."""
    classes: int = Field(10, ge=1)
    """Number of classes."""

    def sizes(self) -> tuple[tuple[int, int, int], int]:
        return self.shape, self.classes


Named = (
    Digits | Cifar10 | Cifar100 | Connectivity | Mazes | Parity | Imdb | Wikitext2 | Images | Given
)
DATA: dict[str, type[Data]] = {kind.model_fields["name"].default: kind for kind in Named.__args__}
