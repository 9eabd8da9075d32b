import json
import pickle

import numpy as np
from PIL import Image
import pytest
from small_models import saved

from dynalay_jax import Predictor
from dynalay_jax.predict import folder
from train import predict
from train.errors import UserError

pytestmark = pytest.mark.usefixtures("flax_promotion")
GREY = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), np.uint8)


class Harm:
    """Does something when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


@pytest.fixture(scope="module")
def model(tmp_path_factory, flax_promotion):
    path = tmp_path_factory.mktemp("model")
    folder.write(path, saved())
    return path


def run(capsys, model, *arguments):
    """What was printed, and the lines that were written."""
    out = model / "preds.jsonl"
    predict.main([str(model), *map(str, arguments), f"--out={out}"])
    return capsys.readouterr().out, [json.loads(line) for line in out.read_text().splitlines()]


def test_a_folder_is_predicted_and_bad_files_are_reported(model, tmp_path, capsys):
    for i in range(2):
        Image.fromarray(GREY[i, ..., 0]).save(tmp_path / f"{i}.png")
    np.save(tmp_path / "more.npy", GREY[2:])
    Image.new("RGB", (9, 7), "white").save(tmp_path / "photo.bmp")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").touch()
    np.save(tmp_path / "none.npy", GREY[:0])
    Image.new("I;16", (4, 4)).save(tmp_path / "deep.png")
    np.save(tmp_path / "wrong.npy", GREY[:, :2])
    (tmp_path / "objects.npy").write_bytes(pickle.dumps(Harm(tmp_path / "harm")))
    parts = np.where(np.arange(3)[:, None, None, None] == 0, np.nan, GREY[:3] / 255)
    np.save(tmp_path / "parts.npy", parts)
    printed, lines = run(capsys, model, tmp_path)
    places = [(line["input"].rpartition("/")[2], line.get("index")) for line in lines]
    more = [("more.npy", i) for i in range(3)] + [("parts.npy", 1), ("parts.npy", 2)]
    assert places == [("0.png", None), ("1.png", None), *more, ("photo.bmp", None)]
    expected = Predictor.load(model).predict(GREY)
    assert [line["label"] for line in lines[:5]] == expected.labels.tolist()
    assert [line["route"] for line in lines[:5]] == expected.routes.tolist()
    assert lines[5]["probability"] == pytest.approx(lines[1]["probability"], abs=1e-5)
    for said in (
        "cut.png: ",
        "deep.png: expected an image of 8 bits a channel, got mode I;16",
        "wrong.npy: images: expected shape [B, 4, 4, 1], got (5, 2, 4, 1)",
        "objects.npy: ",
        "parts.npy, sample 0: images: expected finite numbers",
        "Images cut to the shape of 4×4 pixels and resized: 1.",
        "Images turned grey: 1.",
        "Price 0.1: on test examples, accuracy 90.0 %",
        "8 inputs in",
        "none.npy: images: expected shape [B, 4, 4, 1], got (0, 4, 4, 1). There is nothing",
        "6 skipped",
    ):
        assert said in printed, said
    assert not (tmp_path / "harm").exists(), "nothing is unpickled"
    assert "notes.txt" not in printed and ".hidden" not in printed


def test_a_single_array_takes_a_price(model, tmp_path, capsys):
    np.save(tmp_path / "one.npy", GREY[0])
    _, (line,) = run(capsys, model, tmp_path / "one.npy", "--budget_macs=1300")
    expected = Predictor.load(model).predict(GREY[:1], price=3.0)
    assert line["macs"] == expected.macs[0] and line["name"] == expected.names[0]


def test_a_model_of_text_takes_no_image_files(tmp_path, capsys):
    folder.write(tmp_path, saved((1, 5, 1), zeros=True, cell="lstm", vocabulary=9, stem=4))
    Image.fromarray(GREY[0, ..., 0]).save(tmp_path / "0.png")
    with pytest.raises(UserError, match="no input could be predicted"):
        run(capsys, tmp_path, tmp_path)
    assert "takes no image files: pass a .npy of shape [B, 1, 5, 1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--price=0"], "price: expected a number from 1e-06"),
        (["--price=nan"], "price: expected a number from 1e-06"),
        (["--budget_macs=1"], "budget_macs: expected 1200 or more"),
        (["--price=1", "--budget_macs=1e6"], "not allowed with"),
        (["nowhere.png"], "nowhere.png: expected an image, a .npy or a folder"),
        (["tests/predict"], "expected a folder with images or .npy files, got none"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(model, tmp_path, capsys, arguments, said):
    np.save(tmp_path / "one.npy", GREY[0])
    with pytest.raises(UserError, match=said):
        run(capsys, model, tmp_path / "one.npy", *arguments)


def test_a_folder_without_a_model_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", GREY[0])
    with pytest.raises(UserError, match="expected a model's folder or a workdir"):
        predict.main([str(tmp_path), str(tmp_path / "one.npy")])
