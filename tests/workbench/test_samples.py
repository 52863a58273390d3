"""Samples to files: by their numbers, gone on with, whole, of any amount."""

import errno
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import likewise as lw
from likewise.core.errors import StoreError, UsageError
from likewise.domains.images import Images
from likewise.store.provenance import read_mark, read_png
from likewise.workbench.listen import Listener
from likewise.workbench.samples import StoppedError, sample_to_files, wanted


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model of the toy pictures, saved to a folder."""
    model = lw.fit(Images.toy(), "gmm", steps=2)
    return model.save(tmp_path_factory.mktemp("samples") / "model")


def sample(saved, out, n=20, only=None, listener=None, where=None, **wishes):
    return sample_to_files(
        saved,
        numbers=wanted(n, only),
        where=where or {},
        family=None,
        seed=wishes.pop("seed", 1),
        controls=wishes,
        out=out,
        listener=listener,
    )


def pictures(folder):
    """{number: pixels} of a folder."""
    return {int(path.name[:5]): np.array(Image.open(path)) for path in folder.rglob("0*.png")}


def test_a_sample_alone_is_the_one_of_the_whole_stream(saved, tmp_path):
    sample(saved, tmp_path / "all", n=300)
    sample(saved, tmp_path / "some", only="290-292,17")
    whole, some = pictures(tmp_path / "all"), pictures(tmp_path / "some")
    assert sorted(some) == [17, 290, 291, 292]
    for number, picture in some.items():
        assert np.abs(picture.astype(int) - whole[number]).max() <= 1
    (path,) = (tmp_path / "some").glob("00017-*.png")
    mark = read_png(path)
    assert (mark["seed"], mark["number"], mark["family"]) == ("1", "17", "gmm")
    assert (tmp_path / "all" / path.name).exists(), "the same class in the same name"


def test_the_model_itself_makes_a_sample_by_its_number(saved):
    model = lw.open(saved)
    whole, part = model.sample(30, seed=4), model.sample(2, seed=4, start=17)
    assert part.ids == ("17", "18")
    assert part.conditions["label"] == whole.conditions["label"][17:19]
    assert np.abs(part.items.astype(int) - whole.items[17:19]).max() <= 1
    for start in (-1, 0.5):
        with pytest.raises(UsageError, match="start must be a whole number from 0 on"):
            model.sample(1, start=start)


def test_the_same_command_goes_on_and_does_nothing_twice(saved, tmp_path):
    first = sample(saved, tmp_path / "a", n=10)
    gone = sorted((tmp_path / "a").iterdir())[3]
    gone.unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    second = sample(saved, tmp_path / "a", n=12)
    assert (first.made, first.present) == (10, 0)
    assert (second.made, second.present) == (3, 9)
    assert [path.name[:5] for path in second.files] == ["00003", "00010", "00011"]
    assert gone.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    sample(saved, tmp_path / "fresh", n=12)
    again, fresh = pictures(tmp_path / "a"), pictures(tmp_path / "fresh")
    assert all(np.array_equal(again[number], fresh[number]) for number in range(12))


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"seed": 2}, "its seed is 1, and 2 was asked for"),
        ({"where": {"label": "disc"}}, "its where is none, and "),
        ({"temperature": 0.5}, "its controls is none, and "),
    ],
)
def test_other_samples_are_neither_mixed_in_nor_replaced(saved, tmp_path, wishes, said):
    sample(saved, tmp_path / "a", n=5)
    with pytest.raises(UsageError, match=f"is another sample: {said}"):
        sample(saved, tmp_path / "a", n=5, **wishes)
    assert len(list((tmp_path / "a").iterdir())) == 5


def test_by_default_other_wishes_have_other_folders(saved):
    plain, other = sample(saved, None, n=2), sample(saved, None, n=2, where={"label": "disc"})
    assert plain.place.name == "samples-gmm-1"
    assert other.place.name == "samples-gmm-1-label=disc"


class Stop(Listener):
    """Presses Ctrl-C after some batches, and remembers what it was told."""

    def __init__(self, after):
        self.after = after
        self.steps = []

    def progress(self, name, progress):
        self.steps.append((progress.step, progress.steps))
        if len(self.steps) == self.after:
            raise KeyboardInterrupt


def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(saved, tmp_path):
    words = r"512 of 1000 samples are in .*a, each of them whole\. Give the same command again"
    with pytest.raises(StoppedError, match=words) as stop:
        sample(saved, tmp_path / "a", n=1000, listener=Stop(2))
    assert stop.value.exit_code == 130
    assert len(pictures(tmp_path / "a")) == 512
    listener = Stop(None)
    rest = sample(saved, tmp_path / "a", n=1000, listener=listener)
    assert (rest.made, rest.present) == (488, 512)
    assert listener.steps == [(256, 488), (488, 488)]
    for name in ("x.npz", "x.zip"):
        with pytest.raises(StoppedError, match=r"nothing was written; .* whole or not at all"):
            sample(saved, tmp_path / name, n=1000, listener=Stop(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_said_and_leaves_no_half_file(saved, tmp_path, monkeypatch):
    real, written = Path.write_bytes, []

    def write(path, data):
        if len(written) == 7:
            real(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(StoreError, match=r"the disk is full: 7 of 20 samples are in .* go on"):
        sample(saved, tmp_path / "a", n=20)
    assert len(list((tmp_path / "a").iterdir())) == len(pictures(tmp_path / "a")) == 7
    monkeypatch.undo()
    assert sample(saved, tmp_path / "a", n=20).made == 13


def test_archives_hold_the_pictures_of_the_folder(saved, tmp_path):
    for name in ("a", "x.npz", "x.zip"):
        sample(saved, tmp_path / name, n=300)
    folder = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert sorted(archive.namelist()) == sorted(folder)
        (tmp_path / "out").mkdir()
        archive.extractall(tmp_path / "out")
    assert read_png(tmp_path / "out" / sorted(folder)[17])["number"] == "17"
    model = lw.open(saved).sample(300, seed=1)
    with np.load(tmp_path / "x.npz") as arrays:
        assert np.array_equal(arrays["x"], model.items)
        assert tuple(arrays["label"]) == model.conditions["label"]
    mark = read_mark(tmp_path / "x.npz")
    assert (mark["number"], mark["seed"], mark["family"]) == ("0-299", "1", "gmm")
    again = lw.load(tmp_path / "x.npz")
    assert np.array_equal(again.items, model.items)
    assert again.conditions["label"] == model.conditions["label"]


def test_places_that_cannot_be(saved, tmp_path):
    with pytest.raises(UsageError, match="a single file must be of at most 10000 samples; got 10"):
        sample(saved, tmp_path / "g.png", n=10_001)
    with pytest.raises(UsageError, match="n must be a whole number above 0; got -3"):
        sample(saved, tmp_path / "a", n=-3)
    for name in ("notes.txt", "table.csv"):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UsageError, match=r"holds what no model made .* folder of their own"):
            sample(saved, folder, n=2)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"cannot be written|a folder or end in"):
        sample(saved, tmp_path / "file" / "deep", n=2)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"where": {"lable": "disc"}}, "has no condition 'lable'; it can be steered by"),
        ({"where": {"label": "disk"}}, "did you mean 'disc'"),
        ({"guidance": 2.0}, "gmm does not honour guidance; it honours: temperature"),
        ({"truncation": 1.0, "steps": 3}, "does not honour steps, truncation"),
        ({"temperature": -1.0}, "temperature must be 0 or above and finite; got -1"),
    ],
)
def test_wishes_that_cannot_be_are_said_before_anything_is_written(saved, tmp_path, wishes, said):
    for name in ("a", "x.npz", "x.zip", "g.png"):
        with pytest.raises(UsageError, match=said):
            sample(saved, tmp_path / name, n=2, **wishes)
    assert not list(tmp_path.iterdir())
