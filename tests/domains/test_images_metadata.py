"""Tables and texts beside pictures: labels, captions, conditions, and what is wrong with them."""

import json
import unicodedata

import pytest

from likewise.core.errors import DataError, UsageError
from likewise.domains.images import Images
from likewise.domains.images.columns import plain
from tests.domains.picture_files import fill, picture_set, zipped

NAMES = ("1.png", "2.png", "3.png", "4.png")


def csv(*lines):
    return "\n".join(lines).encode()


def jsonl(*rows):
    return "\n".join(map(json.dumps, rows)).encode()


def load(tmp_path, table, names=NAMES, table_name="metadata.csv", **options):
    fill(tmp_path / "set", {**picture_set(names), table_name: table})
    return Images.load(tmp_path / "set", **options)


def said(records, text):
    return any(text in note for note in records.notes)


FULL = csv(
    "file_name,label,age,glasses,text,weight",
    "2.png,cat,7,True,a cat,0.5",
    '1.png,dog,,false,"a dog, brown",1',
    "4.png,cat,12.0,TRUE,,2.5",
    "3.png,dog,3,False,dog,3",
)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_columns_become_conditions(tmp_path, kind):
    contents = {**picture_set(NAMES), "metadata.csv": b"\xef\xbb\xbf" + FULL}
    path = (
        fill(tmp_path / "set", contents)
        if kind == "folder"
        else zipped(tmp_path / "set.zip", contents)
    )
    records = Images.load(path)
    assert records.ids == NAMES
    assert records.conditions == {
        "label": ("dog", "cat", "dog", "cat"),
        "caption": ("a dog, brown", "a cat", "dog", None),
        "age": (None, 7, 3, 12),
        "glasses": (False, True, False, True),
    }
    assert records.skipped == ()
    assert said(records, "Labels are those of the column 'label'.")
    assert said(records, "1 of 4 pictures have no caption.")
    assert said(records, "neither text nor whole numbers nor truth were left out: 'weight'")
    assert Images.recognises(path).sure > 0.9
    domain = Images()
    domain.fit(records)
    assert [c.name for c in domain.conditions()] == ["label"], "the rest does not steer"
    json.dumps(records.conditions)


def test_the_column_that_steers_can_be_chosen(tmp_path):
    records = load(tmp_path, FULL, label="glasses")
    assert records.conditions["label"] == ("False", "True", "False", "True")
    assert records.conditions["label (column)"] == ("dog", "cat", "dog", "cat")
    assert "glasses" not in records.conditions
    assert Images.load(tmp_path / "set", label="age").conditions["label"] == (None, "7", "3", "12")
    assert said(Images.load(tmp_path / "set", label="age"), "1 of 4 pictures have no label.")
    assert Images.load(tmp_path / "set").conditions["label"][0] == "dog", "nothing stale is kept"
    with pytest.raises(UsageError, match=r"label=glases names no column; did you mean 'glasses'"):
        Images.load(tmp_path / "set", label="glases")
    with pytest.raises(DataError, match=r"'weight', which should steer, must be of classes.*0\.5"):
        Images.load(tmp_path / "set", label="weight")


@pytest.mark.parametrize(
    ("header", "steers"),
    [("a,class", 1), ("Category,a", 0), ("category,CLASS", 1), ("class,label", 1), ("a,b", None)],
)
def test_usual_names_steer_unasked(tmp_path, header, steers):
    lines = [f"{name},{i % 2},x{i % 2}" for i, name in enumerate(NAMES)]
    records = load(tmp_path, csv(f"file_name,{header}", *lines))
    wanted = {0: ("0", "1") * 2, 1: ("x0", "x1") * 2, None: None}[steers]
    assert records.conditions.get("label") == wanted


def test_each_split_folder_has_its_own_table(tmp_path):
    contents = picture_set(["train/1.png", "train/2.png", "test/1.png"])
    contents["train/metadata.jsonl"] = jsonl(
        {"file_name": "1.png", "label": 1, "objects": {"bbox": [1]}},
        {"file_name": "2.png", "label": 0, "note": "x"},
    )
    contents["test/metadata.csv"] = csv("file_name,label", "1.png,1")
    records = Images.load(fill(tmp_path, contents))
    assert records.ids == ("test/1.png", "train/1.png", "train/2.png")
    assert records.given == ("test", "train", "train")
    assert records.conditions == {"label": ("1", "1", "0"), "note": (None, None, "x")}
    assert said(records, "left out: 'objects'")


def test_a_table_wins_over_folders_and_says_so(tmp_path):
    names = ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"]
    lines = ["cat/1.png,cat", "cat\\2.png,dog", "./dog/3.png,cat", "dog/4.png,"]
    records = load(tmp_path, csv("file_name,label", *lines), names)
    assert records.conditions == {"label": ("cat", "dog", "cat", None)}
    assert said(records, "disagree on 2 of 4 pictures, and the column counts")
    assert said(records, "'cat/2.png is dog in it, cat by its folder'")
    held = load(tmp_path / "b", csv("file_name,label", "all/1.png,a"), ["all/1.png", "all/2.png"])
    assert not said(held, "disagree"), "one folder for all says nothing of them"
    lines = ["file_name,label", "cat/1.png,5", "dog/2.png,6"]
    other = load(tmp_path / "c", csv(*lines), ["cat/1.png", "dog/2.png"])
    text = "The folders are other classes, which steer nothing (first: 'cat', 'dog')."
    assert text in other.notes


def test_without_a_label_column_folders_count(tmp_path):
    table = csv("file_name,age", "cat/1.png,3", "dog/2.png,4")
    records = load(tmp_path, table, ["cat/1.png", "dog/2.png"])
    assert records.conditions == {"label": ("cat", "dog"), "age": (3, 4)}


def test_rows_and_files_without_each_other_are_told(tmp_path):
    table = csv(
        "file_name,label", "1.png,a", "gone.png,b", "../out.png,b", "/etc/passwd,b", "2.png,b"
    )
    records = load(tmp_path, table)
    assert records.conditions["label"] == ("a", "b", None, None)
    text = "3 rows name files that are not there (first: 'gone.png', '../out.png', '/etc/passwd')."
    assert text in records.notes
    text = "2 of 4 pictures have no row in the metadata (first: '3.png', '4.png')."
    assert text in records.notes
    drawn = Images.load(tmp_path / "set", most=2)
    assert said(drawn, "3 rows name files that are not there"), "a file not drawn is there"


def test_names_match_however_they_are_written_in_unicode(tmp_path):
    name = "Zoë 😀.png"
    composed, apart = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert composed != apart
    for i, (there, told) in enumerate([(composed, apart), (apart, composed)]):
        records = load(
            tmp_path / str(i), csv("file_name,label", f"{told},{apart}"), [there, "b.png"]
        )
        assert sorted(map(str, records.conditions["label"])) == sorted(["None", composed])


@pytest.mark.parametrize(
    ("name", "table", "text"),
    [
        ("metadata.csv", csv("file_name,l", "1.png,a", "2.png,b", "1.png,c"),
         r"'1\.png' must have one row; got two that differ: line 2 of 'metadata\.csv' and line 4"),
        ("metadata.csv", csv("file_name,l", "1.png,a,b"),
         r"line 2 of 'metadata\.csv' must be of 2 cells; got 3\. Quote cells"),
        ("metadata.csv", csv("file_name,l", "1.png"), "must be of 2 cells; got 1"),
        ("metadata.csv", csv("file_name,l", ",a"), "the name of a file in file_name; got None"),
        ("metadata.csv", csv("file_name,l,l", "1.png,a,b"), "all different; got 'l twice'"),
        ("metadata.csv", csv("file_name,l", '1.png,"a'), "line 2 of 'metadata.csv' is no CSV"),
        ("metadata.csv", csv("file_name,l", "1.png," + "a" * 200_000), "is no CSV .field larger"),
        ("metadata.csv", "file_name,l\n1.png,ä".encode("latin-1"), "must be text in UTF-8"),
        ("metadata.csv", "file_name,l\n1.png,a".encode("utf-16"), "must be text in UTF-8"),
        ("metadata.jsonl", b'{"file_name": "1.png"}\n{"fi', r"line 2 of .* is no JSON"),
        ("metadata.jsonl", b"[" * 100_000, "is no JSON"),
        ("metadata.jsonl", b"[1]", r"line 1 of .* must be a JSON object; got \[1\]"),
        ("metadata.jsonl", b'{"file_name": 3}', "the name of a file in file_name; got 3"),
    ],
    ids=range(13),
)  # fmt: skip
def test_damaged_tables_name_the_line(tmp_path, name, table, text):
    with pytest.raises(DataError, match=text):
        load(tmp_path, table, table_name=name)


def test_rows_that_stand_twice(tmp_path):
    records = load(tmp_path, csv("file_name,label", "1.png,a", "2.png,b", "1.png,a"))
    assert records.conditions["label"] == ("a", "b", None, None)
    assert said(records, "1 rows stand twice in the same words")
    fill(tmp_path / "set", {"metadata.jsonl": jsonl({"file_name": "1.png", "label": "a"})})
    again = Images.load(tmp_path / "set")
    assert again.conditions["label"] == ("a", "b", None, None), "two tables that agree"
    fill(tmp_path / "set", {"metadata.jsonl": jsonl({"file_name": "1.png", "label": "b"})})
    with pytest.raises(
        DataError, match=r"line 2 of 'metadata\.csv' and line 1 of 'metadata\.jsonl'"
    ):
        Images.load(tmp_path / "set")


def test_tables_that_are_none_are_skipped_with_a_reason(tmp_path):
    fill(tmp_path / "set", {"metadata.parquet": b"PAR1", "sub/metadata.jsonl": b""})
    records = load(tmp_path, csv("filename;label", "1.png;a"))
    assert {one.what: one.why for one in records.skipped} == {
        "metadata.csv": "has no column file_name; did you mean 'filename;label'? "
        "Known: filename;label",
        "metadata.parquet": "is of a kind that is not read; write metadata.csv",
        "sub/metadata.jsonl": "has no column file_name; Known: none",
    }
    with pytest.raises(UsageError, match=r"label=label names a column, but no metadata\.csv"):
        Images.load(tmp_path / "set", label="label")
    with pytest.raises(UsageError, match="only a folder or an archive of pictures can have"):
        Images.load("digits", label="label")


def test_texts_beside_pictures_are_captions(tmp_path):
    contents = {
        **picture_set(["a/1.png", "a/2.jpg", "b/1.png", "b/2.png", "b/3.png"]),
        "a/1.txt": b"  a flower\n",
        "a/2.txt": b"\xff\xfe",
        "b/1.txt": b"",
        "b/2.txt": b"x" * 70_000,
        "readme.txt": b"about",
    }
    records = Images.load(fill(tmp_path / "set", contents))
    assert records.conditions["caption"] == ("a flower", None, None, None, None)
    assert said(records, "4 of 5 pictures have no caption.")
    assert {one.what: one.why for one in records.skipped} == {
        "a/2.txt": "is no text in UTF-8",
        "b/2.txt": "is larger than 64 KiB",
        "readme.txt": "is not a picture of a readable format",
    }
    (tmp_path / "set/a/1.txt").write_text("eine Blüte", encoding="utf-8")
    again = Images.load(tmp_path / "set")
    assert again.conditions["caption"][0] == "eine Blüte", "the cache holds pictures only"
    table = csv("file_name,prompt", "a/2.jpg,told")
    fill(tmp_path / "set", {"metadata.csv": table})
    assert Images.load(tmp_path / "set").conditions["caption"][:2] == ("eine Blüte", "told")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-1", None], (1, -1, None)),
        (["007", "12"], ("007", "12")),
        (["1.0", "2.00"], (1, 2)),
        ([1.0, 2], (1, 2)),
        ([True, False], (True, False)),
        (["yes", "true"], ("yes", "true")),
        (["1e5", "2"], None),
        ([0.5], None),
        ([[1]], None),
        ([{}], None),
        ([None, None], (None, None)),
        (["9" * 30], ("9" * 30,)),
        ([1, "a"], ("1", "a")),
    ],
)
def test_what_a_column_holds(values, expected):
    found = plain(values)
    assert found == expected
    assert found is None or [type(one) for one in found] == [type(one) for one in expected]


def test_names_of_columns_and_labels_are_made_printable(tmp_path):
    records = load(tmp_path, csv("file_name,label,a\x1b[31m", "1.png,x\x1b]0;y,z"))
    assert records.conditions["label"][0] == r"x\x1b]0;y"
    assert r"a\x1b[31m" in records.conditions
