"""Texts written and shown: marked files, one or many, and a page in light and dark."""

import json
from xml.etree import ElementTree

import pytest

from likewise.core.errors import DataError, UsageError
from likewise.core.records import Records
from likewise.domains.text import Text
from likewise.store.provenance import SIDECAR_SUFFIX, read_mark

MARK = {"family": "rnn", "seed": "0"}
CHAT = "\ue001hi\ue002hello\nthere"


def made(*texts, roles=False, ids=None, **conditions):
    ids = tuple(ids or map(str, range(len(texts))))
    facts = {"roles": roles}
    return Records(domain="text", items=texts, ids=ids, conditions=conditions, facts=facts)


def test_a_folder_holds_a_file_a_text_with_its_mark(tmp_path):
    records = made("one\n", "é\x00😀", ids=["7", "10003"], label=("a/b", None))
    paths = Text().save(records, tmp_path / "out", MARK)
    names = [path.relative_to(tmp_path / "out").as_posix() for path in paths]
    assert names == ["00007-a_b.txt", "from-10000/10003.txt"]
    assert [path.read_bytes().decode() for path in paths] == ["one\n", "é\x00😀"]
    mark = read_mark(paths[1])
    assert mark["family"] == "rnn"
    assert mark["number"] == "10003"
    assert "trainedAlgorithmicMedia" in mark["DigitalSourceType"]
    assert Text().save(records, tmp_path / "out", MARK) == paths
    with pytest.raises(UsageError, match="is there and is not this text 7; nothing is replaced"):
        Text().save(records, tmp_path / "out", {**MARK, "seed": "1"})


@pytest.mark.parametrize(
    ("texts", "content"),
    [
        (("emma", "ava"), "emma\nava\n"),
        (("a\nb", CHAT), "a\nb\n---\nUSER: hi\nASSISTANT: hello\nthere\n"),
    ],
)
def test_one_text_file_holds_all(tmp_path, texts, content):
    (path,) = Text().save(made(*texts), tmp_path / "out.txt", MARK)
    assert path.read_text() == content
    assert read_mark(path)["number"] == "0-1"
    (other,) = Text().save(made(*texts), tmp_path / "out.txt", MARK)
    assert other.name == "out-2.txt"


def test_a_jsonl_holds_texts_labels_and_messages_and_is_read_again(tmp_path):
    (path,) = Text().save(made("a b", "c", label=("x", None)), tmp_path / "out.jsonl", MARK)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"text": "a b", "label": "x"}, {"text": "c"}]
    assert path.with_name(path.name + SIDECAR_SUFFIX).exists()
    (path,) = Text().save(made(*[CHAT] * 9, roles=True), tmp_path / "chat.jsonl", MARK)
    assert json.loads(path.read_text().splitlines()[0])["messages"][1] == {
        "role": "assistant",
        "content": "hello\nthere",
    }
    again = Text.load(path).items
    assert [again.before(row, 9) + text for row, text in enumerate(again)] == [CHAT] * 9


def test_other_places_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"a folder or end in .txt or .jsonl; got .*out.png"):
        Text().save(made("a"), tmp_path / "out.png", MARK)
    with pytest.raises(DataError, match="records to save must be at least one; got 0"):
        Text().save(made(), tmp_path / "out", MARK)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Text().save(made("a"), tmp_path / "file" / "out", MARK)


def test_a_page_shows_any_text_as_valid_svg():
    nasty = "".join(map(chr, [*range(0x20), 0x7F, 0x85, 0xFFFE, 0xFFFF])) + "<b>&\"'</b> ]]>"
    page = Text().show(made(nasty, "", "long " * 5000, *["x"] * 31, label=("<l>",) * 34))
    root = ElementTree.fromstring(page)
    lines = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any("<b>&\"'</b>" in line for line in lines)
    assert "ASSISTANT: hello" in Text().show(made(CHAT)).decode()
    assert sum("· <l>" in line for line in lines) == 12
    assert "…" in lines
    assert max(map(len, lines)) <= 88
    assert b"prefers-color-scheme:dark" in page
    assert int(root.get("height")) < 6000
    with pytest.raises(DataError, match="records to show must be at least one; got 0"):
        Text().show(made())
