"""Images of one's own: a folder with a subfolder for each class, or an .npz file.

The arrays of a file are `images` [n, height, width] or [n, height, width, channels] of uint8 and
`labels` [n], numbers or names; `test_images` and `test_labels` may be beside them.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from PIL import Image
from sklearn import model_selection

from configs._datasets import image_classes, image_parts
from train.data.picture import UNREADABLE, pixels
from train.data.types import Parts, Split
from train.errors import UserError

Labelled = list[tuple[Any, int]]


def load(config: ml_collections.ConfigDict) -> Parts:
    """The parts; prints how many images each class has, and which files cannot be read.

    Raises:
        UserError: there are too few images, or none that can be read.
    """
    try:
        classes, path = image_classes(config.path), Path(config.path)
    except ValueError as error:
        raise UserError(str(error)) from error
    if path.is_dir():
        found = [_files(folder, classes) for folder in image_parts(path)]
        read: Callable = Image.open
    else:
        found, read = _arrays(path, classes), Image.fromarray
    splits = [_read(labelled, read, config) for labelled in found if labelled]
    if not splits:
        raise UserError(f"config.data.path: expected images in {path}, found none.")
    everything, *test = splits
    for split in splits:
        _check_classes(split, classes)
    _describe(everything, classes)
    rest, held_out = (everything, test[0]) if test else _divide(everything, config.test_share)
    train, validation = _divide(rest, config.validation_share)
    return Parts(train, validation, held_out, classes)


def _files(folder: Path, classes: Sequence[str]) -> Labelled:
    """The files of each class, in order."""
    hidden = lambda file: file.name.startswith(".")
    each = ((name, sorted((folder / name).rglob("*"))) for name in classes)
    return [
        (file, classes.index(name))
        for name, files in each
        for file in files
        if file.is_file() and not hidden(file)
    ]


def _arrays(path: Path, classes: Sequence[str]) -> list[Labelled]:
    """The images of an .npz file as arrays, those of the test part second."""
    found = []
    with np.load(path, allow_pickle=False) as file:
        tested = {"test_images", "test_labels"} & set(file)
        for prefix in ("", "test_") if tested else ("",):
            if missing := {f"{prefix}images", f"{prefix}labels"} - set(file):
                raise UserError(
                    f"config.data.path: expected the array {min(missing)} in {path}, got "
                    f"{', '.join(sorted(file))}."
                )
            images, labels = file[f"{prefix}images"], file[f"{prefix}labels"]
            colours = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
            if images.dtype != np.uint8 or not colours:
                raise UserError(
                    f"config.data.path: expected {prefix}images of uint8 [n, height, width] or "
                    f"[n, height, width, 1 or 3], got {images.dtype} {list(images.shape)}."
                )
            if labels.shape != images.shape[:1]:
                raise UserError(
                    f"config.data.path: expected one label for each of {len(images)} {prefix}images"
                    f", got {prefix}labels of shape {list(labels.shape)}."
                )
            labels = labels.astype(str)
            if other := set(labels) - set(classes):
                raise UserError(
                    f"config.data.path: expected {prefix}labels of {', '.join(classes)}, got "
                    f"{min(other)}."
                )
            flat = images[..., 0] if images.shape[3:] == (1,) else images
            found.append([(x, classes.index(y)) for x, y in zip(flat, labels, strict=True)])
    return found


def _read(labelled: Labelled, read: Callable, config: ml_collections.ConfigDict) -> Split:
    """All images of one size; says which files are left out."""

    def one(item: tuple[Any, int]) -> np.ndarray | None:
        try:
            with read(item[0]) as image:
                return pixels(image, config.side, config.side, config.grey)
        except UNREADABLE:
            return None

    with futures.ThreadPoolExecutor() as pool:
        images = list(pool.map(one, labelled))
    bad = [str(item[0]) for item, image in zip(labelled, images, strict=True) if image is None]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        print(f"Left out, as they are no readable images: {', '.join(bad[:3])}{more}.")
    kept = [(x, label) for x, (_, label) in zip(images, labelled, strict=True) if x is not None]
    if not kept:
        raise UserError(f"config.data.path: expected images in {config.path}, found none.")
    return Split(np.stack([x for x, _ in kept]), np.array([label for _, label in kept], np.int32))


def _check_classes(split: Split, classes: Sequence[str]) -> None:
    counts = np.bincount(split.labels, minlength=len(classes))
    if not counts.all():
        raise UserError(
            "config.data.path: expected images of every class in each part, found none of "
            f"{classes[int(np.argmin(counts))]!r} in one."
        )


def _describe(split: Split, classes: Sequence[str]) -> None:
    counts = np.bincount(split.labels, minlength=len(classes))
    least, most = int(np.argmin(counts)), int(np.argmax(counts))
    print(
        f"{len(split.labels)} images of {len(classes)} classes; the smallest is {classes[least]} "
        f"with {counts[least]}, the largest {classes[most]} with {counts[most]}."
    )


def _divide(split: Split, share: float) -> tuple[Split, Split]:
    """All but a share of each class, and that share. Always the same ones."""
    try:
        places: Iterable = model_selection.train_test_split(
            np.arange(len(split.labels)), test_size=share, stratify=split.labels, random_state=0
        )
    except ValueError as error:
        raise UserError(
            f"config.data: expected enough images to hold out {share:g} of each class, got "
            f"{len(split.labels)} in all. Add images, or raise config.data.validation_share or "
            "config.data.test_share."
        ) from error
    kept, held_out = (split.take(some) for some in places)
    return kept, held_out
