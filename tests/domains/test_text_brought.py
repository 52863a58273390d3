"""What is brought as texts: names and folders that cannot be, and Python's own values."""

import json
import os

import numpy as np
import pytest

import likewise
from likewise.core.errors import DataError, UsageError
from likewise.core.records import Skipped
from likewise.domains.text import Text
from likewise.domains.text.files import LINKED
from tests.domains.test_text_read import items, prose, write

TEXTS = prose(20)


# -- names of files -----------------------------------------------------------------------------


def test_names_that_are_no_utf8_can_be_shown_and_stored(tmp_path):
    for i, text in enumerate(TEXTS):
        (tmp_path / os.fsdecode(f"caf\xe9{i:02d}.txt".encode("latin-1"))).write_text(text)
    for ending in ("csv", "json", "txt.gz"):
        (tmp_path / os.fsdecode(b"bad\xe9." + ending.encode())).write_text("{")
    inner = tmp_path / os.fsdecode(b"in\xe9")
    write(inner / os.fsdecode(b"m\xe9.jsonl"), json.dumps({"text": "in a line"}) + "\n{\n")
    records = likewise.load(tmp_path)
    assert records.ids[0] == r"caf\xe900.txt"
    assert len(records.fingerprint()) == 64
    told = [records.origin, *records.ids, *records.notes]
    told += [text for one in records.skipped for text in (one.what, one.why)]
    assert [one.what for one in records.skipped] == [
        r"bad\xe9.csv",
        r"bad\xe9.json",
        r"bad\xe9.txt.gz",
        r"in\xe9/m\xe9.jsonl:2",
    ]
    assert "\n".join(told).encode()
    with pytest.raises(DataError, match=r"in\\xe9' must hold text|at least 640 bytes") as refused:
        Text.load(inner)
    assert str(refused.value).encode()
    assert Text.load(next(tmp_path.glob("caf*00.txt")), train=0.1, context=16).ids


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("~nobody_here/x.txt", r"'~nobody_here/x.txt' must begin with the name of a user of this"),
        (
            "To be or not to be " * 500,
            r"To …' cannot be used \(File name too long\)\. Check its name\. A text itse",
        ),
        ("To be\nor not\n", r"'To be\\nor not\\n' is no name of a file\. .* in a list: \[text\]"),
        ("a\0b", r"'a\\x00b' is no name of a file \(embedded null byte\)"),
    ],
)
@pytest.mark.parametrize("domain", [None, "text", "images"])
def test_what_is_no_name_of_a_file_is_refused(name, message, domain):
    with pytest.raises(DataError, match=message):
        likewise.load(name, domain=domain)


def test_a_file_that_cannot_be_looked_at_is_refused(tmp_path):
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(DataError, match=r"loop.txt' cannot be opened \(Too many levels"):
        likewise.load(tmp_path / "loop.txt")


# -- folders ------------------------------------------------------------------------------------


def test_linked_and_closed_folders_are_told(tmp_path, monkeypatch):
    for i, text in enumerate(TEXTS):
        write(tmp_path / "in" / "real" / f"{i}.txt", text)
    write(tmp_path / "out" / "a.txt", "not of this folder")
    write(tmp_path / "in" / "closed" / "a.txt", "cannot be read")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "real")
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    records = Text.load(tmp_path / "in")
    assert len(records) == 20
    assert records.skipped == (
        Skipped("again", LINKED),
        Skipped("more", LINKED),
        Skipped("closed", "is a folder that cannot be opened (Permission denied)"),
    )


@pytest.mark.parametrize(
    ("name", "encoding", "head", "between"),
    [
        ("a.tsv", "utf-8", ("label", "text"), "\t"),
        ("a.csv", "utf-8-sig", ("text", "label"), ","),
        ("a.csv", "utf-16", ("label", "text"), ","),
        ("a.tsv", "utf-16", ('"source"', '"target"'), "\t"),
        ("a.csv", "utf-8", ("instruction", " output"), ","),
    ],
)
def test_a_folder_of_tables_is_texts_whatever_its_header_is_written_in(
    tmp_path, name, encoding, head, between
):
    rows = "".join(f"a{between}{text}\n" for text in TEXTS)
    for i in range(3):
        (tmp_path / f"{i}{name}").write_bytes((between.join(head) + "\n" + rows).encode(encoding))
    assert Text.recognises(tmp_path).sure == pytest.approx(0.9)
    assert Text.recognises(tmp_path / f"0{name}").sure == 0.8
    assert likewise.load(tmp_path).domain == "text"


def test_a_folder_of_tables_without_a_known_column_is_read_by_the_one_that_is_named(tmp_path):
    for i, text in enumerate(TEXTS):
        write(tmp_path / f"{i}.csv", f"id,review\n{i},{text}\n")
    assert items(likewise.load(tmp_path, column="review"))[0] == TEXTS[0]
    with pytest.raises(DataError, match=r"must have columns text .*; got 'id', 'review'"):
        likewise.load(tmp_path)
    with pytest.raises(UsageError, match=r"column 'reveiw' is not in file .*; did you mean 're"):
        likewise.load(tmp_path, column="reveiw")
    (tmp_path / "scan.png").write_bytes(b"none")
    assert Text.recognises(tmp_path).sure < 0.95 / 21


# -- Python's values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [np.array(TEXTS), np.array(TEXTS, dtype=object), TEXTS, tuple(TEXTS)]
)
def test_strings_are_texts(data):
    assert items(likewise.load(data)) == tuple(TEXTS)
    assert likewise.load((data, ["a", "b"] * 10)).conditions["label"] == ("a", "b") * 10


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([None, *TEXTS], "text 0 of the list must be a string; got 'NoneType'"),
        (np.array([*TEXTS, 3.5], dtype=object), "text 20 of the list must be a string; got 'flo"),
        ([], "the list of texts must hold text; got none"),
        (iter(TEXTS), r"got <class 'list_iterator'>\. Make a list of it, if it .*: list\(texts\)"),
        ({"a", "b"}, r"got <class 'set'>\. Make a list of it"),
        ((TEXTS, 5), "labels must be a list of one for each of 20 texts; got 'int'"),
        ((TEXTS, np.zeros((20, 2))), "labels must be a list .*; got 'ndarray'"),
        ((TEXTS, [1]), "labels must be one for each of 20 texts; got 1"),
    ],
)
def test_what_is_no_list_of_strings_is_refused_by_texts(data, message):
    with pytest.raises(DataError, match=message):
        likewise.load(data)


def test_labels_that_are_none_are_no_class():
    labels = [float("nan"), "", None, "a", np.float32("nan")] * 4
    records = likewise.load((TEXTS, labels))
    assert records.conditions["label"] == (None, None, None, "a", None) * 4
