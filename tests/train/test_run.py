"""What a run refuses before it is built."""

import pytest
from short_run import begun, tiny

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
