"""What a run refuses before it is built."""

import numpy as np
import pytest
from short_run import begun, tiny

from configs import _base
from dynalay_jax.adaptive import inspect
from train.errors import UserError
from train.run import Run, reopen

pytestmark = pytest.mark.usefixtures("flax_promotion")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("widths: expected 3, got 4."), "config.model.widths: expected 3, got 4."),
        (
            TypeError("mul got incompatible shapes:\n(3,), (4,)."),
            "config.model: expected settings that fit each other and digits, got 'mul got "
            "incompatible shapes: (3,), (4,).'.",
        ),
    ],
)
def test_a_model_that_cannot_be_built_is_answered_in_one_line(monkeypatch, error, said):
    def costs(model, shape):
        raise error

    monkeypatch.setattr(inspect, "costs", costs)
    with pytest.raises(UserError) as caught:
        Run.prepare(tiny(), None)
    assert str(caught.value) == said


def test_a_folder_of_data_is_refused_for_data_without_one(tmp_path):
    with pytest.raises(UserError, match="--data_dir: digits has no such folder; leave it out"):
        reopen(begun(tiny(), tmp_path), data_dir="/tmp")


def test_images_that_have_moved_are_found_by_data_dir(tmp_path):
    images, labels = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "old.npz", images=images, labels=labels)
    config = tiny()
    config.data = _base.data("images", path=str(tmp_path / "old.npz"), side=8, grey=True)
    config.train.batch_size = 16
    workdir = begun(config, tmp_path / "run")
    (tmp_path / "old.npz").rename(tmp_path / "new.npz")
    run = reopen(workdir, data_dir=str(tmp_path / "new.npz"))
    assert len(run.dataset.test.labels) == 4
    np.savez(tmp_path / "new.npz", images=images + 9, labels=labels)
    with pytest.raises(UserError, match=r"expected the images that the run .* was trained with"):
        reopen(workdir, data_dir=str(tmp_path / "new.npz"))
