"""Predicts images or arrays with a trained model, and writes a JSON line for each.

    python -m train.predict MODEL INPUT... [--out=preds.jsonl] [--price=0.1 | --budget_macs=1e6]

MODEL is a folder of `train.export` or the workdir of a finished run. An INPUT is an image, a .npy
of one sample or several, or a folder with such files. A bad file is reported, and the others are
predicted.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
import itertools
import json
import math
from pathlib import Path
import time
from typing import Any, TextIO

import numpy as np
from PIL import Image

from dynalay_jax import Prediction, Predictor, Status
from train.cli import Parser, folder, friendly
from train.console import Progress, human, percent, print_table
from train.data.picture import pixels
from train.errors import UserError

# Bad inputs that are named one by one.
_NAMED = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    description = (__doc__ or "").partition("\n")[0]
    parser = Parser("python -m train.predict", description=description)
    parser.add_argument("model", type=folder, help="of train.export, or the workdir of a run")
    parser.add_argument("input", nargs="+", type=Path, help="image, .npy, or a folder of them")
    parser.add_argument("--out", type=Path, default=Path("preds.jsonl"), help="file to write")
    prices = parser.add_mutually_exclusive_group()
    prices.add_argument("--price", type=float, help="λ; the model's own if left out")
    prices.add_argument("--budget_macs", type=float, help="most MACs of an input on average")
    options = parser.parse_args(arguments)
    files = _files(options.input)
    try:
        with Progress("Loading the model"):
            predictor = Predictor.load(options.model)
        asked = {"price": options.price, "budget_macs": options.budget_macs}
        reader = _Reader(predictor, files)
        results = predictor.stream(reader, **asked)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error
    try:
        with options.out.open("w") as lines:
            _predict(reader, results, lines)
    except OSError as error:
        raise UserError(f"Cannot write {options.out}: {error.strerror}.") from error
    print(f"Written to {options.out}.")


def _predict(reader: "_Reader", results: Iterator[Prediction], lines: TextIO) -> None:
    """Writes the lines, and prints what was done."""
    kept: list[tuple[str, int, float]] = []
    begun = time.monotonic()
    with Progress("Predicting", reader.total, unit="inputs") as progress:
        for done, result in enumerate(results, 1):
            lines.write(json.dumps(reader.names.popleft() | _line(result)) + "\n")
            kept.append((str(result.routes), int(result.steps), float(result.macs)))
            progress.update(done)
    seconds = time.monotonic() - begun
    for message in reader.bad[:_NAMED]:
        print(f"Skipped {message}")
    if len(reader.bad) > _NAMED:
        print(f"Skipped {len(reader.bad) - _NAMED:,} more.")
    if not kept:
        raise UserError("no input could be predicted.")
    for what, count in reader.changes.items():
        print(f"Images {what}: {count:,}.")
    if result.expected:
        price, accuracy, macs = result.expected
        print(
            f"Price {price:g}: on test examples, accuracy {percent(accuracy)} with {human(macs)} "
            "MACs on average."
        )
    _print_routes(kept)
    print(
        f"{len(kept):,} inputs in {seconds:.1f} s with compilation, "
        f"{human(len(kept) / seconds)} inputs/s; {len(reader.bad):,} skipped."
    )


def _line(result: Prediction) -> dict[str, Any]:
    residual = float(result.residual)
    return {
        "label": int(result.labels),
        "name": str(result.names),
        "probability": float(result.probabilities[result.labels]),
        "route": str(result.routes),
        "steps": int(result.steps),
        "residual": residual if math.isfinite(residual) else None,
        "status": Status(int(result.status)).name,
        "macs": float(result.macs),
    }


def _print_routes(kept: list[tuple[str, int, float]]) -> None:
    rows = []
    for route, group in itertools.groupby(sorted(kept), lambda one: one[0]):
        _, steps, macs = zip(*group, strict=True)
        shares = [f"{len(steps):,}", percent(len(steps) / len(kept))]
        rows.append([route, *shares, f"{np.mean(steps):.1f}", human(float(np.mean(macs)))])
    rows.sort(key=lambda row: -int(row[1].replace(",", "")))
    print_table("Routes", ["route", "inputs", "share", "mean steps", "mean MACs"], rows)


def _files(inputs: Sequence[Path]) -> list[Path]:
    """The files that are named, and those in the folders that are named.

    Raises:
        UserError: a name is no file's, or a folder has no images and no .npy.
    """
    known = {*Image.registered_extensions(), ".npy"}
    files: list[Path] = []
    for path in inputs:
        inside = [path]
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in known and file.is_file() and file.name[0] != "."
            )
        elif not path.is_file():
            raise UserError(f"{path}: expected an image, a .npy or a folder; there is none.")
        if not inside:
            raise UserError(f"{path}: expected a folder with images or .npy files, got none.")
        files += inside
    return files


class _Reader:
    """Iterates over the samples in files, each checked.

    Attributes:
        total: number of samples, as far as it can be known.
        names: of the samples that were read and not yet taken: what a line says of the input.
        bad: what was skipped, and why.
        changes: what was done to images, and to how many.
    """

    def __init__(self, predictor: Predictor, files: Sequence[Path]) -> None:
        self._predictor, self._files = predictor, files
        self.total = sum(map(_count, files))
        self.names: deque[dict[str, Any]] = deque()
        self.bad: list[str] = []
        self.changes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[np.ndarray]:
        for path in self._files:
            named: dict[str, Any] = {"input": str(path)}
            try:
                samples = self._array(path) if _is_array(path) else self._image(path)[None]
                if samples.shape[1:] == self._predictor.input_shape:
                    self._predictor.check(np.zeros_like(samples[:1]))
                else:
                    self._predictor.check(samples)
            except Exception as error:  # whatever NumPy or Pillow stumble over, the file is bad
                self.bad.append(f"{path}: {' '.join(str(error).split())}")
                continue
            for i in range(len(samples)):
                try:
                    checked = self._predictor.check(samples[i : i + 1])[0]
                except (TypeError, ValueError) as error:
                    self.bad.append(f"{path}, sample {i}: {error}")
                    continue
                self.names.append(named | ({"index": i} if _is_array(path) else {}))
                yield checked

    def _array(self, path: Path) -> np.ndarray:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        text = bool(self._predictor.saved.model.vocabulary)
        single = 1 if text else len(self._predictor.input_shape)
        return array[None] if array.ndim in (0, single) else array

    def _image(self, path: Path) -> np.ndarray:
        """uint8 of the model's shape.

        Raises:
            Exception: the model takes no images, or this one is refused by `pixels`.
        """
        height, width, channels = self._predictor.input_shape
        if self._predictor.saved.model.vocabulary or channels not in (1, 3):
            shape = ", ".join(map(str, self._predictor.input_shape))
            raise ValueError(f"the model takes no image files: pass a .npy of shape [B, {shape}]")
        with Image.open(path) as image:
            found = pixels(image, height, width, grey=channels == 1)
            coloured = image.mode not in ("1", "L", "LA")
            if coloured != (channels == 3):
                self.changes["turned grey" if coloured else "grey, for a model of colours"] += 1
            if image.size != (width, height):
                self.changes[f"cut to the shape of {height}×{width} pixels and resized"] += 1
            return found


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def _count(path: Path) -> int:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False)) if _is_array(path) else 1
    except Exception:  # a bad file, which is reported when it is read
        return 1


if __name__ == "__main__":
    with friendly():
        main()
