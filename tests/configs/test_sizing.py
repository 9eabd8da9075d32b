"""Sizes: shapes are those of the data, and widths come near the target."""

import math

import pytest

from configs import _datasets, _sizing, cifar10, cifar10_small, connectivity, digits, mazes, parity
from train.data import loading

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.mark.parametrize("config", [digits, connectivity, mazes, parity])
def test_examples_are_those_of_the_data(config):
    made = config.get_config().data
    if "train" in made:
        made.update(train=20, validation=2, test=10)
    loaded = loading.load(made)
    expected = loaded.train.images.shape[1:], len(loaded.classes)
    assert _datasets.DATA[made.name](**made.to_dict()).sizes() == expected


@pytest.mark.parametrize(
    ("config", "way"), [(digits, "residual"), (digits, "deep"), (cifar10_small, "wide")]
)
def test_matched_variants_are_within_5_percent(config, way):
    full = config.get_config()
    same = config.get_config(f"{way}_parameters")
    assert _sizing.parameters(same) == pytest.approx(_sizing.parameters(full), rel=0.05)
    more = config.get_config(f"{way}_2.5x")
    assert _sizing.macs(more) == pytest.approx(2.5 * _sizing.macs(full), rel=0.05)


def test_wider_models_have_the_layers_of_the_plain_one():
    plain, wide = (cifar10_small.get_config(name).model for name in ("model_0", "wide_2.5x"))
    assert (wide.strides, wide.windows, wide.cell) == (plain.strides, plain.windows, "plain")
    sizes = [(wide.stem, plain.stem), *zip(wide.widths, plain.widths, strict=True)]
    for now, before in sizes:
        # MACs grow with the square, but for what sees the image or the head.
        assert now % 4 == 0 and now / before == pytest.approx(math.sqrt(2.5), abs=0.06)


def test_deeper_models_repeat_each_layer():
    plain, deep = (cifar10_small.get_config(name).model for name in ("model_0", "deep_6.5x"))
    # A layer after each costs 1.75 straight passes.
    assert deep.strides == (2, 1, 1, 1) * 3 and deep.windows == (2,) * 12
    for i, width in enumerate(deep.widths):
        assert width == pytest.approx(plain.widths[i // 4], rel=0.1)


def test_windows_are_those_of_the_layer_that_is_followed():
    deep = digits.get_config("deep_parameters").model
    assert (deep.windows, deep.strides) == ((2, 2, 2, 2, 1, 1), (2, 1, 1, 1, 1, 1))
    assert cifar10.get_config("deep_parameters").model.windows == (3,) * 6


@pytest.mark.parametrize("name", ["wide_0.01x", "deep_0.01x"])
def test_what_no_width_reaches_is_refused(name):
    with pytest.raises(ValueError, match=r"expected a variant .* macs; the nearest has"):
        digits.get_config(name)
