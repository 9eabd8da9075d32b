"""`Predictor`: a trained model in use.

    predictor = Predictor.load("workdir/digits")
    prediction = predictor.predict(images)

Batches are filled up to one of a few sizes, so that no new size compiles. The samples that fill a
batch take the straight pass, and their results are dropped.
"""

from collections import deque
from collections.abc import Iterable, Iterator
import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dynalay_jax.adaptive import inspect
from dynalay_jax.layers import validate
from dynalay_jax.predict import folder, inputs, routed
from dynalay_jax.predict.folder import Point, SavedModel


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of B samples, and what each of them took; NumPy arrays.

    `prediction[i]` is that of one sample, without the axis of B, and `prediction[i:j]` of several.

    Attributes:
        labels: most probable class, int32 [B].
        names: the name of that class, str [B].
        probabilities: of all classes, float32 [B, classes].
        routes: "none" for the straight pass, "all" for all layers, else "layer_2" or
            "layer_1+layer_2"; with several rounds, "layer_2, layer_1". str [B].
        steps: evaluations of cells in solves, int32 [B].
        residual: largest relative residual of the solves, float32 [B]; NaN without a solve.
        status: `Status` of the worst solve, int32 [B]; `SKIPPED` without a solve.
        macs: multiply-accumulates of the whole pass, with the agent's, float32 [B].
        price: λ that was used; None for a model without an agent.
        expected: what was measured at this price on test examples; None if nothing was.
    """

    labels: np.ndarray
    names: np.ndarray
    probabilities: np.ndarray
    routes: np.ndarray
    steps: np.ndarray
    residual: np.ndarray
    status: np.ndarray
    macs: np.ndarray
    price: float | None
    expected: Point | None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: Any) -> "Prediction":
        return dataclasses.replace(self, **{key: v[which] for key, v in self._arrays().items()})

    def __iter__(self) -> Iterator["Prediction"]:
        about = map(itertools.repeat, (self.price, self.expected))
        return itertools.starmap(Prediction, zip(*self._arrays().values(), *about, strict=False))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {key: v for key, v in vars(self).items() if key not in ("price", "expected")}


class Predictor:
    """A trained model, ready to use on the default device.

    Attributes:
        saved: the model: its architecture, its weights, and what was measured of it.
        costs: MACs of the model's parts.
    """

    def __init__(self, saved: SavedModel, batch_sizes: tuple[int, ...] = (1, 8, 64, 256)) -> None:
        """See `load`."""
        validate.integers("batch_sizes", batch_sizes)
        self.saved = saved
        self.costs = inspect.costs(saved.model, saved.input_shape)
        self._sizes, self._names = sorted(set(batch_sizes)), np.array(saved.classes)
        self._variables = jax.device_put(saved.variables)
        self._forward = jax.jit(functools.partial(routed.forward, saved, self.costs))

    @classmethod
    def load(
        cls, path: str | Path, *, batch_sizes: tuple[int, ...] = (1, 8, 64, 256)
    ) -> "Predictor":
        """The model in a folder.

        Args:
            path: a folder that `python -m train.export` wrote, or the workdir of a finished run.
            batch_sizes: of the programs that may be compiled, each when it is first needed. More
                samples than the largest are several batches.

        Raises:
            OSError: a file cannot be read.
            TypeError, ValueError: it is no such folder, or the folder is damaged.
        """
        return cls(folder.read(path), batch_sizes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class."""
        return self.saved.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample: (height, width, channels), or (1, words, 1) for text."""
        return self.saved.input_shape

    @property
    def curve(self) -> tuple[Point, ...]:
        """What was measured at each price; empty for a model without an agent."""
        return self.saved.curve

    def check(self, samples: Any) -> np.ndarray:
        """The samples as the model takes them, [B, ...]: uint8 or float32; int32 for tokens.

        Raises:
            TypeError, ValueError: as `predict`.
        """
        if vocabulary := self.saved.model.vocabulary:
            return inputs.check_tokens(samples, self.input_shape, vocabulary)
        return inputs.check_images(samples, self.input_shape)

    def predict(
        self, samples: Any, *, price: float | None = None, budget_macs: float | None = None
    ) -> Prediction:
        """Predicts.

        Args:
            samples: images [B, height, width, channels], uint8 from 0 (black) to 255, or
                floating-point numbers from 0 (black) to 1, not normalised; or tokens [B, words] of
                any integer dtype. B is any number, 1 or more.
            price: λ; a higher one makes the agent iterate less. The model's own if not given.
            budget_macs: instead of a price: the most MACs that an example may take on average. The
                most accurate price of `curve` within it is taken. Other samples than the test
                examples may take more or less.

        Raises:
            TypeError, ValueError: samples of another shape, dtype or range; a price that is not
                positive; a budget below that of every price.
        """
        at = self._price(price, budget_macs)
        checked, largest = self.check(samples), self._sizes[-1]
        batches = (checked[i : i + largest] for i in range(0, len(checked), largest))
        parts = [part._arrays() for part in self._predictions(batches, *at)]
        join = lambda key: np.concatenate([part[key] for part in parts])
        return Prediction(**{key: join(key) for key in parts[0]}, price=at[0], expected=at[1])

    def stream(
        self,
        samples: Iterable[Any],
        *,
        price: float | None = None,
        budget_macs: float | None = None,
    ) -> Iterator[Prediction]:
        """Predicts one sample after the other, in order; see `predict`.

        Samples are collected to batches of the largest of the batch sizes. While the device works
        on a batch, the next one is collected. A result comes when its batch and the next are full,
        or when `samples` ends.

        Args:
            samples: any number of samples without the axis of B.
            price, budget_macs: as of `predict`.

        Returns:
            An iterator over one `Prediction` a sample, as of `prediction[i]`.
        """
        predictions = self._predictions(self._batches(samples), *self._price(price, budget_macs))
        return itertools.chain.from_iterable(predictions)

    def warm_up(self) -> None:
        """Compiles for every batch size and dtype; afterwards nothing compiles any more."""
        for dtype in ("int32",) if self.saved.model.vocabulary else ("uint8", "float32"):
            for size in self._sizes:
                jax.block_until_ready(
                    self._launch(np.zeros((size, *self.input_shape), dtype), self.saved.price)
                )

    def export(self, path: str | Path, platforms: tuple[str, ...] = ("cpu", "cuda", "tpu")) -> None:
        """Writes the model as one program of `jax.export`, which runs with JAX alone.

            program = jax.export.deserialize(bytearray(Path(path).read_bytes()))
            program.call(images, np.float32(price))

        Images are uint8 [B, height, width, channels] with any B, tokens int32 [B, 1, words, 1]. A
        model without an agent takes no price. The result is a dict of arrays: `labels`,
        `probabilities`, `steps`, `residual`, `status` and `macs` as in `Prediction`, and `iterated`
        bool [B, rounds, L]. The program has the weights in it. It does not check its input.

        Args:
            path: of the file.
            platforms: that the program can run on.

        Raises:
            OSError: the file cannot be written.
            ValueError: there is no such platform.
        """
        model = self.saved.model.clone(compact=0)  # buckets need a known size of the batch
        saved = dataclasses.replace(self.saved, model=model)

        def program(samples: jax.Array, price: Any = self.saved.price) -> dict[str, jax.Array]:
            real = jnp.ones(samples.shape[:1], bool)
            about = samples, real, jnp.float32(price)
            return routed.forward(saved, self.costs, self._variables, *about)

        (batch,) = jax.export.symbolic_shape("B")
        dtype = jnp.int32 if model.vocabulary else jnp.uint8
        arguments = [jax.ShapeDtypeStruct((batch, *self.input_shape), dtype)]
        if self.saved.router == "agent":
            arguments.append(jax.ShapeDtypeStruct((), jnp.float32))
        exported = jax.export.export(jax.jit(program), platforms=platforms)(*arguments)
        folder.write_bytes(Path(path), bytes(exported.serialize()))

    def _price(
        self, price: float | None, budget_macs: float | None
    ) -> tuple[float | None, Point | None]:
        """The price to use, and what was measured there."""
        if self.saved.router != "agent":
            if price is not None or budget_macs is not None:
                raise ValueError(
                    "price, budget_macs: expected none, as this model has no agent: its route is "
                    f"{self.saved.router} for every sample."
                )
            return None, None
        if price is not None and budget_macs is not None:
            raise ValueError("price, budget_macs: expected one of them, got both.")
        if budget_macs is None:
            used = inputs.check_price(self.saved.price if price is None else price)
            return used, next((point for point in self.curve if point.price == used), None)
        validate.positive("budget_macs", budget_macs)
        affordable = [point for point in self.curve if point.macs <= budget_macs]
        if not affordable:
            least = min((point.macs for point in self.curve), default=np.nan)
            cure = f"{least:.4g} or more, the mean of the cheapest price" if self.curve else "none"
            raise ValueError(
                f"budget_macs: expected {cure}, got {budget_macs:.4g}."
                + ("" if self.curve else " No prices were measured: pass a price.")
            )
        best = max(affordable, key=lambda point: (point.accuracy, -point.macs))
        return best.price, best

    def _batches(self, samples: Iterable[Any]) -> Iterator[np.ndarray]:
        """Batches of samples of one dtype and shape; to stack two dtypes would mix their scales."""
        done, batch = 0, list[np.ndarray]()
        for sample in map(np.asarray, samples):
            alike = not batch or (sample.dtype, sample.shape) == (batch[0].dtype, batch[0].shape)
            if len(batch) == self._sizes[-1] or not alike:
                yield self._checked_batch(batch, done)
                done, batch = done + len(batch), []
            batch.append(sample)
        if batch:
            yield self._checked_batch(batch, done)

    def _checked_batch(self, batch: list[np.ndarray], done: int) -> np.ndarray:
        """The batch, checked at once, because that is fast; the error names the sample."""
        try:
            return self.check(np.stack(batch))
        except (TypeError, ValueError):
            for i, sample in enumerate(batch, done):
                try:
                    self.check(sample[None])
                except (TypeError, ValueError) as error:
                    raise type(error)(f"sample {i} of the stream: {error}") from error
            raise

    def _predictions(
        self, batches: Iterable[np.ndarray], price: float | None, expected: Point | None
    ) -> Iterator[Prediction]:
        """The predictions of batches. The device has the next batch before one is read."""
        waiting: deque[tuple[int, dict[str, jax.Array]]] = deque()
        for batch in batches:
            waiting.append((len(batch), self._launch(batch, price or self.saved.price)))
            if len(waiting) > 1:
                yield self._prediction(*waiting.popleft(), price, expected)
        while waiting:
            yield self._prediction(*waiting.popleft(), price, expected)

    def _launch(self, batch: np.ndarray, price: float) -> dict[str, jax.Array]:
        """Starts the pass of a batch that is at most as large as the largest size."""
        count = len(batch)
        size = next(size for size in self._sizes if size >= count)
        filled = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), batch.dtype)])
        return self._forward(self._variables, filled, np.arange(size) < count, np.float32(price))

    def _prediction(
        self, count: int, out: dict[str, jax.Array], price: float | None, expected: Point | None
    ) -> Prediction:
        arrays = {key: value[:count] for key, value in jax.device_get(out).items()}
        return Prediction(
            names=self._names[arrays["labels"]],
            routes=routed.route_names(arrays.pop("iterated")),
            price=price,
            expected=expected,
            **arrays,
        )
