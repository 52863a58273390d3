"""Folders and archives as they are found: links, closed doors, odd names, changes, very many."""

import logging
import os
import threading
import tracemalloc
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.errors import DataError, UsageError
from likewise.core.text import printable
from likewise.domains.images import Images, files
from likewise.domains.images.files import Folder
from likewise.domains.images.pictures import UnreadableError
from likewise.domains.images.read import evenly
from tests.domains.picture_files import encoded, fill, noise, picture_set, zipped


def reasons(records):
    return {one.what: one.why for one in records.skipped}


# Links and closed doors


def test_links_stay_within_the_folder(tmp_path):
    fill(tmp_path / "set", picture_set(["a.png", "b/c.png"]))
    fill(tmp_path / "other", picture_set(["secret.png"]))
    place = tmp_path / "set"
    (place / "inside.png").symlink_to("b/c.png")
    (place / "outside.png").symlink_to(tmp_path / "other/secret.png")
    (place / "passwd.png").symlink_to("/etc/passwd")
    (place / "nothing.png").symlink_to("gone.png")
    (place / "round.png").symlink_to("back.png")
    (place / "back.png").symlink_to("round.png")
    (place / "b/loop").symlink_to("..")
    (place / "far").symlink_to(tmp_path / "other")
    records = Images.load(place)
    assert records.ids == ("a.png", "b/c.png", "inside.png")
    out = "is a link that leads out of the folder (cp -rL copies what it means)"
    assert reasons(records) == {
        "outside.png": out,
        "passwd.png": out,
        "nothing.png": "is a link to nothing",
        "round.png": "is a link that leads in a circle",
        "back.png": "is a link that leads in a circle",
        "b/loop": "is a link to a folder: such links are not followed",
        "far": "is a link to a folder: such links are not followed",
    }
    (tmp_path / "link").symlink_to(place)
    assert Images.load(tmp_path / "link").ids == records.ids, "the folder itself may be a link"


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    fill(tmp_path, picture_set(["a.png"]))
    os.mkfifo(tmp_path / "pipe.png")
    done = []
    thread = threading.Thread(target=lambda: done.append(Images.load(tmp_path)), daemon=True)
    thread.start()
    thread.join(20)
    assert reasons(done[0]) == {"pipe.png": "is a pipe, a socket or a device, not a file"}
    folder = Folder(tmp_path)
    (tmp_path / "a.png").unlink()
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="is a pipe"):
        folder.read("a.png")


def test_what_cannot_be_opened_is_told(tmp_path, monkeypatch):
    """As by permissions, which do not hold for root."""
    fill(tmp_path, picture_set(["a.png", "closed/b.png", "c.png"]))
    door = os.open

    def opened(path, *rest):
        if str(path).rstrip("/").endswith(("closed", "c.png")):
            raise PermissionError(13, "Permission denied")
        return door(path, *rest)

    monkeypatch.setattr(files.os, "open", opened)
    records = Images.load(tmp_path)
    assert records.ids == ("a.png",)
    assert reasons(records) == {
        "c.png": "cannot be opened (Permission denied)",
        "closed/": "is a folder that cannot be opened (Permission denied)",
    }


# A folder that changes


def changing(tmp_path, monkeypatch, change, after):
    """Load a folder of ten pictures to which something happens after some of the readings."""
    fill(tmp_path / "set", picture_set([f"{i}.png" for i in range(10)]))
    real, count = Folder.read, []

    def read(self, name, most=None):
        count.append(name)
        if len(count) == after:
            change(tmp_path / "set")
        return real(self, name, most)

    monkeypatch.setattr(Folder, "read", read)
    return Images.load(tmp_path / "set", size=8)


@pytest.mark.parametrize("after", [1, 12])
def test_a_file_that_vanishes_or_grows_is_skipped_and_the_rest_goes_on(
    tmp_path, monkeypatch, after
):
    def change(place):
        (place / "9.png").unlink()
        with (place / "8.png").open("ab") as file:
            file.write(b"more")

    records = changing(tmp_path, monkeypatch, change, after)
    assert records.ids == tuple(f"{i}.png" for i in range(8))
    assert reasons(records) == {
        "8.png": "changed while the folder was read: read it again when nothing writes to it",
        "9.png": "vanished while the folder was read",
    }
    monkeypatch.undo()
    again = Images.load(tmp_path / "set", size=8)
    assert len(again) == 9, "what was seen in between is not kept for later"


def test_a_file_that_grows_under_the_reading_is_never_read_beyond_its_size(tmp_path, monkeypatch):
    fill(tmp_path, {"a.png": b"x" * 100})
    folder = Folder(tmp_path)
    real = os.fstat

    def fstat(number):
        found = real(number)
        os.truncate(tmp_path / "a.png", 10_000_000)
        return found

    monkeypatch.setattr(files.os, "fstat", fstat)
    tracemalloc.start()
    with pytest.raises(UnreadableError, match="changed while the folder was read"):
        folder.read("a.png")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


# Names


def test_names_in_any_script(tmp_path):
    names = [
        "Ünï/żółć.png",
        "日本/写真.png",
        "العربية/صورة.png",
        "😀/👩‍👩‍👧.png",
        "a b/c'd\"e.png",
    ]
    records = Images.load(fill(tmp_path, picture_set(names)))
    assert set(records.ids) == set(names)
    assert set(records.conditions["label"]) == {name.split("/")[0] for name in names}


def test_one_class_written_in_two_ways_is_one(tmp_path):
    forms = [unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD")]
    records = Images.load(
        fill(tmp_path, picture_set([f"{f}/{i}.png" for i, f in enumerate(forms)]))
    )
    assert len(records) == 2
    assert set(records.conditions["label"]) == {forms[0]}


def test_names_that_no_terminal_should_show_are_escaped(tmp_path):
    raw = [b"caf\xe9/1.png", b"a\nb.png", b"\x1b[31mred.png", "gnp.\u202ea.png".encode()]
    for i, name in enumerate(raw):
        path = os.fsencode(tmp_path / "set") + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(encoded(noise(seed=i)))
    bad = Path(os.fsdecode(os.fsencode(tmp_path / "set") + b"/\xff.png"))
    bad.write_bytes(b"")
    for _ in "fresh", "from the cache":
        records = Images.load(tmp_path / "set")
        expected = {r"caf\xe9/1.png", r"a\nb.png", r"\x1b[31mred.png", r"gnp.\u202ea.png"}
        assert set(records.ids) == expected
        assert r"caf\xe9" in records.conditions["label"]
        assert reasons(records) == {r"\xff.png": "is empty (0 bytes)"}
        assert records.fingerprint()


@given(st.text(st.characters()))
def test_printable_names_are_text_and_stay_as_they_are_where_they_can(name):
    shown = printable(name)
    shown.encode("utf-8")
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert printable(shown) == shown


# Hidden, empty, packed


def test_what_is_passed_over_is_counted(tmp_path):
    contents = {
        **picture_set(["a.png", ".hidden.png", ".git/b.png", "__MACOSX/a/._a.png"]),
        "Thumbs.db": b"x",
        "sub/.DS_Store": b"x",
        "sub/desktop.ini": b"x",
    }
    records = Images.load(fill(tmp_path / "set", contents))
    assert (records.ids, records.skipped) == (("a.png",), ())
    text = "6 hidden files or folders, or a system's own, were passed over."
    assert text in records.notes
    assert text in Images.load(zipped(tmp_path / "set.zip", contents)).notes


def test_empty_folders_and_those_of_nothing_but_folders(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    with pytest.raises(DataError, match=r"folder '.*a' holds no files\. Bring a folder"):
        Images.load(tmp_path / "a")
    fill(tmp_path / "a", {".hidden.png": encoded()})
    with pytest.raises(DataError, match="holds no files but 1 hidden or a system's own"):
        Images.load(tmp_path / "a")
    fill(tmp_path / "a", {"metadata.csv": b"file_name,label\n"})
    with pytest.raises(DataError, match="must hold pictures that can be read"):
        Images.load(tmp_path / "a")


def test_archives_within_are_told(tmp_path):
    contents = {"a.png": encoded(), "b.zip": b"PK", "c.tar.gz": b"", "D.RAR": b""}
    why = "is packed: unpack it, or bring it by itself"
    for path in (fill(tmp_path / "set", contents), zipped(tmp_path / "set.zip", contents)):
        records = Images.load(path)
        assert reasons(records) == {"b.zip": why, "c.tar.gz": why, "D.RAR": why}
    with pytest.raises(DataError, match=r"got none among 1 files: is packed: unpack it"):
        Images.load(zipped(tmp_path / "nested.zip", {"b.zip": b"PK"}))


# Very many


def test_most_draws_evenly_and_always_the_same(tmp_path):
    contents = {f"{'ab'[i // 50]}/{i:03}.png": encoded(noise(2, 2, 1, seed=i)) for i in range(100)}
    fill(tmp_path, {**contents, "readme.txt": b"x"})
    records = Images.load(tmp_path, most="10")
    assert [int(name[2:5]) // 10 for name in records.ids] == list(range(10))
    assert records.conditions["label"].count("a") == 5
    assert "10 of 100 pictures were drawn, evenly over their order (most=10)." in records.notes
    assert reasons(records) == {"readme.txt": "is not named as a picture"}
    assert Images.load(tmp_path, most=10).ids == records.ids
    assert len(Images.load(tmp_path, most=1000)) == 100
    assert len(Images.load(tmp_path)) == 100, "each draw has an entry of its own in the cache"
    path = zipped(tmp_path / "set.zip", contents)
    assert Images.load(path, most=10).ids == records.ids
    assert len(Images.load(path)) == 100
    for value in (0, -1, "x", 1.5, True, "1e3"):
        with pytest.raises(UsageError, match="most must be a whole number of pictures above 0"):
            Images.load(tmp_path, most=value)
    with pytest.raises(UsageError, match="label must be the name of a column"):
        Images.load(tmp_path, label=" ")


@given(st.integers(1, 500), st.data())
def test_draws_are_one_of_each_stretch(n, data):
    most = data.draw(st.integers(1, n))
    drawn = evenly(n, most)
    assert len(drawn) == most
    edges = [i * n // most for i in range(most + 1)]
    assert all(low <= i < high for i, low, high in zip(drawn, edges, edges[1:], strict=False))


def test_a_long_listing_says_how_far_it_is(tmp_path, monkeypatch, caplog):
    fill(tmp_path, picture_set(["a.png", "b.png"]))
    monkeypatch.setattr(files, "TELL_EVERY", 0.0)
    monkeypatch.setattr(files, "TELL_AFTER", 1)
    with caplog.at_level(logging.INFO, files.__name__):
        Folder(tmp_path)
    assert caplog.messages[-1] == f"folder '{tmp_path}': 2 files listed in 0 s"


def test_a_listing_holds_a_name_and_a_stamp_of_each_file_and_no_more(tmp_path):
    for i in range(3000):
        (tmp_path / f"{i:04}.png").touch()
    tracemalloc.start()
    folder = Folder(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(folder.names) == 3000
    assert peak / 3000 < 600, "bytes a file"


def test_a_glance_does_not_walk_a_large_folder_through(tmp_path, monkeypatch):
    for i in range(2500):
        (tmp_path / f"{i}.png").touch()
    looked = []
    real = files._look
    monkeypatch.setattr(files, "_look", lambda *a: looked.append(1) or real(*a))
    assert Images.recognises(tmp_path).sure > 0.9
    assert len(looked) <= 2001
