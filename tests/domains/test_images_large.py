"""Many pictures: decoded on all cores, kept in a file where memory is short, and cached."""

import io
import json
import os
import time
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.core.errors import DataError
from likewise.core.records import Picked, split
from likewise.core.rng import Draws
from likewise.domains.images import Images, cache, canvas, decode, files, parallel, read
from likewise.domains.images.canvas import Canvas
from likewise.domains.images.files import Folder
from likewise.domains.images.pictures import choose_size
from tests.domains.picture_files import encoded, fill, noise, zipped


@pytest.fixture(autouse=True)
def store(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("cache") / "deep"
    monkeypatch.setenv("LIKEWISE_CACHE", str(place))
    return place


@pytest.fixture
def small_memory(monkeypatch):
    """A machine of which no picture fits into a quarter."""
    monkeypatch.setattr(canvas, "memory", lambda: 8)


def contents(n=70, **shape):
    """Pictures in two classes, some grey, and two that cannot be read."""
    held = {f"{'ab'[i % 2]}/{i:03}.png": encoded(noise(seed=i, **shape)) for i in range(n)}
    held["a/grey.png"] = encoded(noise(seed=n, c=1, **shape))
    return held | {"a/011-cut.png": held["b/011.png"][:60], "a/zero.png": b""}


def same(a, b):
    assert np.array_equal(np.asarray(a.items), np.asarray(b.items))
    for name in ("ids", "conditions", "given", "near", "skipped", "notes", "facts"):
        assert getattr(a, name) == getattr(b, name), name


# In parallel


def test_processes_threads_and_none_give_the_same(tmp_path, monkeypatch):
    folder = fill(tmp_path / "set", contents())
    archive = zipped(tmp_path / "set.zip", contents())
    one = parallel.in_parallel
    loaded = []
    for cores, daemon in ((1, False), (3, False), (3, True)):
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        process = type("Process", (), {"daemon": daemon})
        monkeypatch.setattr(parallel.multiprocessing, "current_process", lambda p=process: p)
        monkeypatch.setattr(cache, "get", lambda name: None)
        loaded += [Images.load(folder), Images.load(archive)]
    for other in loaded[1:]:
        same(loaded[0], other)
    assert len(loaded[0]) == 71
    assert [one.what for one in loaded[0].skipped] == ["a/011-cut.png", "a/zero.png"]
    assert decode.in_parallel is one


def test_results_come_in_order_and_little_ahead(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    given = []
    monkeypatch.setattr(parallel, "_pool", lambda n, function, begin: (Now(given), function))
    taken = parallel.in_parallel(lambda x: x * x, range(100), lambda: None)
    assert [next(taken) for _ in range(3)] == [0, 1, 4]
    assert len(given) <= 3 + 2 * 2 + 1
    assert list(taken) == [x * x for x in range(3, 100)]


class Now:
    """A pool that works at once and counts what it was given."""

    def __init__(self, given):
        self.given = given

    def submit(self, function, item):
        self.given.append(item)
        value = function(item)
        return type("Done", (), {"result": lambda self: value})()

    def shutdown(self, cancel_futures):
        pass


@pytest.mark.skipif(os.sys.platform != "linux", reason="only Linux forks")
def test_a_process_that_is_killed_is_told(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    with pytest.raises(DataError, match="was ended by the system, mostly because memory ran out"):
        list(parallel.in_parallel(lambda _: os.kill(os.getpid(), 9), [1, 2], lambda: None))


# Each file once


def count_reading(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    opened, real = [], Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, name: opened.append(name) or real(self, name))
    return opened


def two_passes(folder):
    """The size by its definition: all headers first, and again without what is damaged."""
    sizes = []
    for name in Folder(folder).names:
        try:
            picture = Image.open(folder / name)
            picture.load()
        except OSError:
            continue
        sizes.append((picture.height, picture.width))
    return choose_size(sizes)


@pytest.mark.parametrize("given", [None, (8, 8)])
def test_pictures_of_one_size_are_opened_once(tmp_path, monkeypatch, given):
    folder = fill(tmp_path, {f"{i:04}.png": encoded(noise(seed=i)) for i in range(200)})
    opened = count_reading(monkeypatch)
    decoded = decode.decode(Folder(folder), given, "auto", tmp_path)
    assert decoded.pictures.shape == (200, 8, 8, 3)
    assert len(set(opened)) == 200
    assert len(opened) <= 200 + (2 * decode.SOME if given is None else 0)


@pytest.mark.parametrize("odd", [0, 1, 150, 199])
def test_a_guess_that_was_wrong_is_put_right(tmp_path, monkeypatch, odd):
    sizes = [(8, 8)] * 200
    sizes[odd] = (9, 30)
    for i in range(100, 200, 3):
        sizes[i] = (40, 44)
    held = {f"{i:04}.png": encoded(noise(*size, seed=i)) for i, size in enumerate(sizes)}
    folder = fill(tmp_path / "set", held)
    monkeypatch.setattr(decode, "SOME", 2)
    decoded = decode.decode(Folder(folder), None, "auto", tmp_path)
    again = decode.decode(Folder(folder), two_passes(folder), "auto", tmp_path)
    assert decoded.pictures.shape[1:3] == two_passes(folder)
    assert np.array_equal(decoded.pictures, again.pictures)


# In a file


@pytest.mark.parametrize("colour", ["auto", "grey", "rgb"])
@pytest.mark.parametrize("kind", ["mixed", "grey first", "all grey"])
def test_a_file_holds_the_same_as_memory(tmp_path, monkeypatch, store, colour, kind):
    held = contents()
    if kind == "all grey":
        held = {name: encoded(noise(c=1, seed=i)) for i, name in enumerate(held)}
    if kind == "grey first":
        held |= {f"a/00{i}-{i}.png": encoded(noise(c=1, seed=i)) for i in range(40)}
    folder = fill(tmp_path / "set", held)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    in_memory = Images.load(folder, colour=colour)
    assert isinstance(in_memory.items, np.ndarray)
    assert not isinstance(in_memory.items, np.memmap)
    for path in store.iterdir():
        path.unlink()
    monkeypatch.setattr(canvas, "memory", lambda: 8)
    in_file, cached = Images.load(folder, colour=colour), Images.load(folder, colour=colour)
    for records in (in_file, cached):
        assert isinstance(records.items, np.memmap)
        same(in_memory, records)
        assert in_memory.hashes() == records.hashes()
        assert in_memory.fingerprint() == records.fingerprint()
    assert sorted(path.suffix for path in store.iterdir()) == [".json", ".npy"]


def test_training_reads_the_same_from_a_file_and_copies_nothing(tmp_path, monkeypatch, store):
    folder = fill(tmp_path / "set", contents(h=12, w=10))
    in_memory = Images.load(folder)
    for path in store.iterdir():
        path.unlink()
    monkeypatch.setattr(canvas, "memory", lambda: 8)
    in_file = Images.load(folder)
    batches = []
    for records in (in_memory, in_file):
        parts = split(records, seed=0, stratify="label")
        train = records.take(parts.train)
        domain = Images(augment=("shift", "flip"))
        domain.fit(train)
        for space in domain.views():
            source = domain.source(train, space, train=True)
            batches.append(source.batch(torch.tensor([5, 0, 5, 20]), Draws(3)))
    assert isinstance(train.items, Picked)
    assert train.items.whole is in_file.items
    assert train.take([2, 1]).items.whole is in_file.items
    assert train.take([2, 1]).hashes() == [train.hashes()[2], train.hashes()[1]]
    for (x, c), (y, d) in zip(batches[:2], batches[2:], strict=True):
        assert torch.equal(x, y)
        assert x.is_contiguous()
        assert y.is_contiguous()
        assert all(torch.equal(c[key][i], d[key][i]) for key in c for i in (0, 1))
    assert Images().show(in_memory) == Images().show(in_file)
    assert Images().show(in_memory.take(range(9))) == Images().show(in_file.take(range(9)))


def test_a_disk_that_is_too_small_is_told_before(tmp_path, small_memory, monkeypatch, store):
    folder = fill(tmp_path / "set", contents())
    free = type("Usage", (), {"free": 0, "total": 1 << 40})
    monkeypatch.setattr(canvas.shutil, "disk_usage", lambda place: free)
    text = "more than a quarter of the memory, so they are kept in .* but only 0.0 GiB are free"
    with pytest.raises(DataError, match=text):
        Images.load(folder)
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("after", [0, 100, 5000])
def test_a_disk_that_fills_up_is_told_and_nothing_is_left(
    tmp_path, small_memory, monkeypatch, store, after
):
    folder = fill(tmp_path / "set", contents())
    real = canvas.tempfile.NamedTemporaryFile

    def full(**options):
        file = real(**options, buffering=0)
        write = file.write

        def short(data):
            if file.tell() + len(data) > after:
                raise OSError(28, "No space left on device")
            return write(data)

        file.write = short
        return file

    monkeypatch.setattr(canvas.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(DataError, match=r"that failed \(No space left on device\)\. Give a small"):
        Images.load(folder)
    assert list(store.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path, small_memory, monkeypatch):
    folder = fill(tmp_path / "set", contents())
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"make LIKEWISE_CACHE a folder that has more room"):
        Images.load(folder)


def test_an_error_on_the_way_leaves_no_file(tmp_path, small_memory):
    def interrupted():
        with Canvas(tmp_path, 9, (2, 2)) as work:
            work.add(np.ones((3, 2, 2, 1), np.uint8))
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_no_picture_at_all_leaves_no_file(tmp_path, small_memory, store):
    with pytest.raises(DataError, match="must hold pictures that can be read"):
        Images.load(fill(tmp_path / "set", {"a.png": b"", "b.png": b"no"}))
    assert list(store.parent.rglob("*")) in ([], [store])


def test_memory_is_that_of_the_machine():
    assert 1 << 28 < canvas.memory() < 1 << 48


# The cache


def count_decoding(monkeypatch):
    calls, real = [], read.decode
    monkeypatch.setattr(read, "decode", lambda *a: calls.append(1) or real(*a))
    return calls


@pytest.fixture(params=["fresh files", "old files"])
def folder(request, tmp_path, monkeypatch):
    """A folder whose files were changed just now, or long ago."""
    if request.param == "old files":
        monkeypatch.setattr(files, "FRESH", -(10**18))
    return fill(tmp_path / "set", contents())


def test_an_edit_that_keeps_size_and_time_is_seen(folder, monkeypatch):
    calls = count_decoding(monkeypatch)
    path = folder / "a/000.png"
    before, data = path.stat(), path.read_bytes()
    first = Images.load(folder)
    other = encoded(np.zeros((8, 8, 3), np.uint8))
    path.write_bytes(other + bytes(len(data) - len(other)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    second = Images.load(folder)
    assert len(calls) == 2
    row = first.ids.index("a/000.png")
    assert first.items[row].any()
    assert not second.items[row].any()


def test_no_byte_of_an_old_file_is_read_for_a_hit(tmp_path, monkeypatch):
    place = fill(tmp_path / "set", contents())
    monkeypatch.setattr(files, "FRESH", -(10**18))
    fresh = Images.load(place)
    monkeypatch.setattr(Folder, "read", None)
    same(Images.load(place), fresh)


def test_a_touch_is_read_again_and_two_folders_are_two_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FRESH", -(10**18))
    calls = count_decoding(monkeypatch)
    one, two = (fill(tmp_path / name, contents()) for name in "xy")
    Images.load(one)
    (one / "a/000.png").touch()
    Images.load(one)
    Images.load(two)
    Images.load(one)
    assert len(calls) == 3


def entry(name, size, age):
    place = cache.place()
    place.mkdir(parents=True, exist_ok=True)
    for suffix, length in ((".npy", size), (".json", 10)):
        path = place / f"images-{name * 32}{suffix}"
        path.write_bytes(bytes(length))
        os.utime(path, (time.time() - age, time.time() - age))


def names():
    return sorted({path.stem[7:8] for path in cache.place().glob("images-*")})


def test_the_cache_has_a_bound_and_what_was_used_last_stays(monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 3000)
    for age, name in enumerate("abcd"):
        entry(name, 1000, 100 * age)
    (cache.place() / "mine.npy").write_bytes(bytes(9000))
    (cache.place() / ".images-lost.npy").write_bytes(bytes(9))
    os.utime(cache.place() / ".images-lost.npy", (0, 0))
    (cache.place() / ".images-young.npy").write_bytes(bytes(9))
    cache._prune(keep="images-" + "d" * 32)
    assert names() == ["a", "d"], "d is the oldest, but in use"
    assert sorted(path.name for path in cache.place().glob(".*")) == [".images-young.npy"]
    assert (cache.place() / "mine.npy").exists()


def test_a_hit_counts_as_use(tmp_path, monkeypatch, store):
    folder = fill(tmp_path / "set", contents())
    Images.load(folder)
    (page,) = store.glob("*.json")
    for path in store.iterdir():
        times = (path.stat().st_mtime_ns,) * 2 if path.suffix == ".npy" else (0, 0)
        os.utime(path, ns=times)
    Images.load(folder)
    assert time.time() - page.stat().st_mtime < 60


def test_an_entry_larger_than_the_bound_is_kept_while_it_is_used(tmp_path, monkeypatch, store):
    monkeypatch.setattr(cache, "LIMIT", 10)
    folder, other = fill(tmp_path / "set", contents()), fill(tmp_path / "other", contents(40))
    calls = count_decoding(monkeypatch)
    Images.load(folder)
    Images.load(folder)
    assert len(calls) == 1
    Images.load(other)
    assert len(list(store.iterdir())) == 2, "the page and the array of the last one"


def test_a_page_with_another_hash_of_its_own_is_no_entry(tmp_path, store):
    folder = fill(tmp_path / "set", contents())
    fresh = Images.load(folder)
    (page,) = store.glob("*.json")
    text, digest = page.read_bytes().split(b"\n")
    told = json.loads(text)
    told["notes"] = ["another"]
    page.write_bytes(json.dumps(told).encode() + b"\n" + digest)
    same(Images.load(folder), fresh)


def test_members_of_a_zip_are_read_right_by_many_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 4)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(300):
            archive.writestr(f"{i:03}.png", encoded(np.full((8, 8, 3), i % 256, np.uint8)))
    (tmp_path / "set.zip").write_bytes(buffer.getvalue())
    records = Images.load(tmp_path / "set.zip")
    assert records.items[:, 0, 0, 0].tolist() == [i % 256 for i in range(300)]
