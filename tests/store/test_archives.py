"""Archives written part by part are those that numpy and zipfile know, whole or absent."""

import zipfile

import numpy as np
import pytest

from likewise.core.errors import UsageError
from likewise.store.archives import new_zip, write_npz


def parts(sizes, stop=None):
    draw = np.random.default_rng(0)
    for number, size in enumerate(sizes):
        if number == stop:
            raise KeyboardInterrupt
        rows = draw.integers(0, 256, (size, 3, 2), dtype=np.uint8)
        yield rows, {"label": tuple(f"class {i % 3}" if i else None for i in range(size))}


@pytest.mark.parametrize("sizes", [[1], [5, 5, 2], [5000, 1]])
def test_numpy_reads_what_was_written_in_parts(tmp_path, sizes):
    path = tmp_path / "new" / "x.npz"
    write_npz(path, sum(sizes), parts(sizes))
    whole = list(parts(sizes))
    with np.load(path, allow_pickle=False) as found:
        assert sorted(found) == ["label", "x"]
        assert np.array_equal(found["x"], np.concatenate([rows for rows, _ in whole]))
        words = [word or "" for _, named in whole for word in named["label"]]
        assert found["label"].tolist() == words
    assert [one.name for one in path.parent.iterdir()] == ["x.npz"]


def test_what_is_stopped_leaves_nothing_and_nothing_is_replaced(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(KeyboardInterrupt):
        write_npz(path, 15, parts([5, 5, 5], stop=2))
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"must be new; got .*Nothing is replaced"):
        write_npz(path, 5, parts([5]))
    assert path.read_bytes() == b"mine"


def test_a_zip_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "x.zip"
    with new_zip(path) as archive:
        archive.writestr("a.txt", "a")
        assert not path.exists()
    assert zipfile.ZipFile(path).namelist() == ["a.txt"]
