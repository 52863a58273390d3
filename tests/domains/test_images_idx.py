"""IDX files, as MNIST comes: what is read, and what is refused before it is made."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from likewise.core.errors import DataError
from likewise.domains.images import Images, idx
from tests.domains.picture_files import encoded, fill, noise, zipped

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def as_idx(values):
    """The bytes that the format's own description asks for."""
    head = bytes([0, 0, CODES[values.dtype.str[1:]], values.ndim])
    return (
        head
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(values.dtype.newbyteorder(">")).tobytes()
    )


def gzipped(data):
    """`data` as gzip, without the hour it was made: every process names its test alike."""
    return gzip.compress(data, mtime=0)


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 5), dtype=np.uint8)


def four(packed):
    """What a folder with MNIST's four files holds."""
    turn, end = (gzipped, ".gz") if packed else (bytes, "")
    return {
        f"train-images-idx3-ubyte{end}": turn(as_idx(pictures(5))),
        f"train-labels-idx1-ubyte{end}": turn(as_idx(np.arange(5, dtype=np.uint8))),
        f"t10k-images-idx3-ubyte{end}": turn(as_idx(pictures(3, seed=1))),
        f"t10k-labels-idx1-ubyte{end}": turn(as_idx(np.arange(3, dtype=np.uint8)[::-1])),
    }


def check_four(records):
    assert np.array_equal(records.items[..., 0], np.concatenate([pictures(5), pictures(3, 1)]))
    assert records.conditions["label"] == ("0", "1", "2", "3", "4", "2", "1", "0")
    assert records.given == ("train",) * 5 + ("test",) * 3


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "MNIST/raw/"])
def test_a_folder_with_the_four_files(tmp_path, packed, place):
    contents = {place + name: data for name, data in four(packed).items()}
    fill(tmp_path / "set", {**contents, "README": b"about"})
    records = Images.load(tmp_path / "set")
    check_four(records)
    assert [one.what for one in records.skipped] == ["README"]
    assert Images.recognises(tmp_path / "set").sure > 0.7
    check_four(Images.load(zipped(tmp_path / "set.zip", contents)))


def test_the_same_set_twice_is_read_once(tmp_path):
    contents = {**four(True), **four(False)}
    contents |= {f"again/{name}": data for name, data in four(False).items()}
    records = Images.load(fill(tmp_path, contents))
    check_four(records)
    said = {one.what: one.why for one in records.skipped}
    assert said["train-images-idx3-ubyte.gz"] == "holds the same as 'train-images-idx3-ubyte'"
    assert said["again/t10k-images-idx3-ubyte"] == "holds the same as 't10k-images-idx3-ubyte'"


def test_a_single_file_with_its_labels_beside_it(tmp_path):
    fill(tmp_path, {**four(True), "other.png": encoded()})
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    records = Images.load(path)
    assert np.array_equal(records.items[..., 0], pictures(3, 1))
    assert records.conditions["label"] == ("2", "1", "0")
    assert records.skipped == ()
    assert Images.recognises(path).sure > 0.9
    (tmp_path / "t10k-labels-idx1-ubyte.gz").rename(tmp_path / "t10k-labels.idx1-ubyte.gz")
    assert Images.load(path).conditions["label"] == ("2", "1", "0"), "another way to write it"
    (tmp_path / "t10k-labels.idx1-ubyte.gz").unlink()
    records = Images.load(path)
    assert records.conditions == {}
    assert "No labels were found beside 't10k-images-idx3-ubyte.gz'." in records.notes
    with pytest.raises(DataError, match="holds IDX labels; bring the file of their pictures"):
        Images.load(tmp_path / "train-labels-idx1-ubyte.gz")


def test_beside_more_pictures_idx_files_are_left_out_with_a_reason(tmp_path):
    pictures = {f"{number}.png": encoded(noise(seed=number)) for number in range(3)}
    records = Images.load(fill(tmp_path, {**four(False), **pictures}))
    assert records.ids == tuple(pictures)
    assert len(records.skipped) == 4


def test_a_picture_beside_idx_files_is_only_a_preview(tmp_path):
    records = Images.load(fill(tmp_path, {**four(False), "a.png": encoded()}))
    assert len(records) == 8
    assert [(one.what, one.why) for one in records.skipped] == [
        ("a.png", "stands beside IDX files and goes with none")
    ]


@given(
    arrays.arrays(
        st.sampled_from([np.dtype(code) for code in CODES]),
        arrays.array_shapes(min_dims=1, max_dims=4, max_side=4),
    ),
    st.booleans(),
)
def test_every_type_and_shape_comes_back(values, packed):
    data = as_idx(values)
    back = idx.parse(gzipped(data) if packed else data, "a")
    assert back.shape == values.shape
    assert back.dtype == values.dtype
    assert back.tobytes() == values.tobytes()


WHOLE = as_idx(pictures(4))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", r"must begin as an IDX file does \(0 0 type axes\); got \[\]"),
        (b"\x89PNG....", r"got \[137, 80, 78, 71\]"),
        (bytes([0, 0, 7, 1, 0, 0, 0, 0]), r"got \[0, 0, 7, 1\]"),
        (bytes([0, 0, 8, 9]) + bytes(36), "must have 1 to 4 axes; its header says 9"),
        (WHOLE[:9], "must have 1 to 4 axes"),
        (WHOLE[:-1], r"states a shape \(4, 6, 5\) of 120 bytes, but holds 119: it is cut"),
        (WHOLE + b"x", "of 120 bytes, but holds 121"),
        (gzipped(WHOLE[:-1]), "of 120 bytes, but holds only 119"),
        (gzipped(WHOLE + b"x"), "of 120 bytes, but holds more"),
        (gzipped(WHOLE)[:-9], "is not a whole gzip file"),
        (gzipped(WHOLE)[:20], "is not a whole gzip file|cut or damaged"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "at most 8 GiB are read"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 60000, 280, 280), "but holds 0: it is cut"),
        (gzipped(bytes([0, 0, 8, 3]) + struct.pack(">3I", 60000, 280, 280)), "at most"),
    ],
)
def test_files_that_lie_are_refused_before_anything_is_made(tmp_path, data, text):
    fill(tmp_path, {"train-images-idx3-ubyte": data})
    tracemalloc.start()
    with pytest.raises(DataError, match=text) as caught:
        Images.load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert "file 'train-images-idx3-ubyte'" in str(caught.value)


def test_a_gzip_is_never_unpacked_beyond_what_its_header_states(tmp_path):
    bomb = gzipped(as_idx(pictures(4)) + bytes(16 << 20))
    fill(tmp_path, {"train-images-idx3-ubyte.gz": bomb})
    tracemalloc.start()
    with pytest.raises(DataError, match="but holds more"):
        Images.load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_labels_that_do_not_fit_are_named(tmp_path):
    contents = four(False) | {"train-labels-idx1-ubyte": as_idx(np.zeros(4, np.uint8))}
    with pytest.raises(
        DataError, match=r"labels train must be one per picture.*\(5,\); got \(4,\)"
    ):
        Images.load(fill(tmp_path, contents))


def test_most_draws_from_arrays_too(tmp_path):
    x = np.stack([noise(seed=i) for i in range(40)])
    labels = [str(i % 2) for i in range(40)]
    records = Images.load((x, labels), most=20)
    assert len(records) == 20
    assert 4 <= records.conditions["label"].count("0") <= 16, "labels that take turns are no trap"
    for item, name, label in zip(
        records.items, records.ids, records.conditions["label"], strict=True
    ):
        assert np.array_equal(item, x[int(name)])
        assert label == labels[int(name)]
    assert "20 of 40 pictures were drawn, evenly over their order (most=20)." in records.notes
    assert len(Images.load((x, labels), most=41)) == 40
