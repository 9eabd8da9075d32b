"""Images of one's own: folders and files give the same parts, and what is wrong is said."""

from functools import partial

import numpy as np
from PIL import Image
import pytest

from configs import _base
from train.data import loading
from train.errors import UserError

RNG = np.random.default_rng(0)


def fields(path, **changes):
    data = _base.data("images", path=str(path), side=8)
    return {**data, **changes}


def load(path, **changes):
    config = _base.base()
    config.data = fields(path, **changes)
    return loading.load(config.data)


def picture(value, size=(8, 8)):
    return np.clip(RNG.normal(value, 5, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """30 dark and 20 bright images of many sizes."""
    for name, value, count in (("bright", 200, 20), ("dark", 50, 30)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(picture(value, (8 + i % 3, 9))).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_subfolders_are_classes_and_each_part_has_its_share_of_them(folder, capsys):
    data = load(folder)
    assert data.classes == ("bright", "dark") and data.train.images.shape[1:] == (8, 8, 3)
    sizes = [np.bincount(part.labels).tolist() for part in (data.train, data.validation, data.test)]
    assert np.sum(sizes, 0).tolist() == [20, 30] and sizes[2] == [2, 3] and sizes[1] == [2, 3]
    for part in (data.train, data.test):
        bright = part.images.mean((1, 2, 3)) > 125
        assert (bright == (part.labels == 0)).all()
    said = "50 images of 2 classes; the smallest is bright with 20, the largest dark with 30."
    assert said in capsys.readouterr().out


def test_a_test_folder_is_the_test_part(folder, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    (whole / "train").symlink_to(folder)
    for name in ("bright", "dark"):
        (whole / "test" / name).mkdir(parents=True)
        Image.fromarray(picture(100)).save(whole / "test" / name / "a.jpg")
    data = load(whole, grey=True)
    assert len(data.test.labels) == 2 and len(data.train.labels) + len(data.validation.labels) == 50
    assert data.train.images.shape[1:] == (8, 8, 1)


def test_a_class_may_be_called_train(tmp_path):
    images = np.stack([picture(99)] * 20)
    for name in ("car", "plane", "train"):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    assert load(tmp_path).classes == ("car", "plane", "train")


def test_unreadable_files_are_named_and_left_out(folder, capsys):
    for i in range(4):
        (folder / "dark" / f"bad{i}.png").write_bytes(b"no image")
    (folder / "dark" / ".hidden").write_bytes(b"")
    data = load(folder)
    assert sum(len(part.labels) for part in (data.train, data.validation, data.test)) == 50
    said = capsys.readouterr().out
    assert "Left out, as they are no readable images: " in said and "and 1 more." in said


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_a_file_of_arrays(tmp_path, channels):
    images = RNG.integers(0, 256, (40, 8, 8, *channels)).astype(np.uint8)
    labels = np.arange(40) % 2
    arrays = dict(images=images, labels=labels, test_images=images[:6], test_labels=labels[:6])
    np.savez(tmp_path / "data.npz", **arrays)
    grey = channels != (3,)
    data = load(tmp_path / "data.npz", grey=grey)
    assert data.classes == ("0", "1")
    assert np.array_equal(data.test.images.reshape(6, -1), images[:6].reshape(6, -1))
    assert data.test.labels.tolist() == labels[:6].tolist()


def test_large_images_are_cut_to_a_square_before_they_shrink(tmp_path):
    wide = np.zeros((16, 64, 3), np.uint8)
    wide[:, 24:40] = 255  # the square in the middle
    arrays = dict(images=np.stack([wide] * 20), labels=np.arange(20) % 2)
    np.savez(tmp_path / "data.npz", **arrays)
    assert load(tmp_path / "data.npz").train.images.min() > 200


def one_image(folder):
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    Image.fromarray(picture(0)).save(folder / "a" / "0.png")


def no_images(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text("text")


def floats(folder):
    np.savez(folder / "data.npz", images=np.zeros((4, 8, 8)), labels=[0, 1, 0, 1])


def file(folder, labels=(0, 1, 0, 1), shape=(8, 8), **more):
    np.savez(folder / "data.npz", images=np.zeros((4, *shape), np.uint8), labels=labels, **more)


def parts(folder, train, test, name="test"):
    for part, classes in (("train", train), (name, test)):
        for each in classes:
            (folder / part / each).mkdir(parents=True)
            Image.fromarray(picture(0)).save(folder / part / each / "0.png")


@pytest.mark.parametrize(
    ("make", "file", "said"),
    [
        (one_image, "", "expected images of every class in each part, found none of 'b'"),
        (no_images, "", "expected images in .*, found none"),
        (floats, "data.npz", r"expected images of uint8 .* got float64 \[4, 8, 8\]"),
        (partial(file, labels=(0, 1, 0)), "data.npz", "expected one label for each of 4 images"),
        (partial(file, labels=np.eye(4)), "data.npz", r"got labels of shape \[4, 4\]"),
        (partial(file, shape=(3, 8, 8)), "data.npz", r"1 or 3\], got uint8 \[4, 3, 8, 8\]"),
        (
            partial(file, test_images=np.zeros((1, 8, 8), np.uint8)),
            "data.npz",
            "expected the array test_labels",
        ),
        (
            partial(file, test_images=np.zeros((1, 8, 8), np.uint8), test_labels=[7]),
            "data.npz",
            "expected test_labels of 0, 1, got 7",
        ),
        (lambda folder: None, "nothing", "a folder of images or an .npz file that exists"),
        (
            lambda folder: np.save(folder / "a.npy", np.zeros(3)),
            "a.npy",
            "expected an .npz file with the arrays images and labels",
        ),
        (partial(parts, train="ab", test="ac"), "", "the same classes in train and test, got a, b"),
        (
            partial(parts, train="ab", test="ab", name="tset"),
            "",
            "two classes, or the folders train and test, got train and tset",
        ),
    ],
)
def test_what_is_no_data_set_is_answered_in_one_line(tmp_path, make, file, said):
    make(tmp_path)
    with pytest.raises(UserError, match=said):
        load(tmp_path / file)


def test_too_few_to_hold_out(tmp_path):
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.array(["a", "a", "b", "b"]))
    with pytest.raises(UserError, match="expected enough images to hold out"):
        load(tmp_path / "data.npz")
