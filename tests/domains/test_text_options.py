"""Options that change nothing of what was read are told, and only those."""

import pytest

from likewise.domains.text import Text
from tests.domains.test_text_read import jsonl, prose, write

MANY = prose(30)


@pytest.mark.parametrize(
    ("name", "option", "note"),
    [
        ("many", {"train": 0.9}, "train=0.9 changes nothing here: the texts are split by docu"),
        ("rows", {"unit": "line"}, "unit=line changes nothing here: each row is a document."),
        ("list", {"unit": "line"}, "unit=line changes nothing here: each text is a document."),
        ("book", {"column": "said"}, "column=said changes nothing here: only JSONL, JSON, CSV a"),
        ("list", {"column": "said"}, "column=said changes nothing here: only JSONL, JSON, CSV a"),
        ("list", {"encoding": "cp1252"}, "encoding=cp1252 changes nothing here: only files of"),
        (
            "rows",
            {"vocabulary": 300, "tokenizer": "characters"},
            "vocabulary=300 changes nothing here: only a tokenizer that is trained, bpe or uni",
        ),
        ("many", {"train": 0.8, "unit": "file", "encoding": "utf-8", "context": 64}, None),
        ("book", {"train": 0.9, "unit": "file", "encoding": "utf-8"}, None),
        ("rows", {"column": "text", "encoding": "utf-8"}, None),
        ("list", {"unit": "auto"}, None),
    ],
)
def test_options_that_change_nothing_are_told(tmp_path, name, option, note):
    data = MANY
    if name == "many":
        for i, text in enumerate(MANY):
            write(tmp_path / f"{i}.txt", text)
        data = tmp_path
    elif name == "rows":
        data = write(tmp_path / "rows.jsonl", jsonl([{"text": text} for text in MANY]))
    elif name == "book":
        data = write(tmp_path / "book.txt", "\n\n".join(prose(300)))
    told = [one for one in Text.load(data, **option).notes if "changes nothing here" in one]
    assert [one.startswith(note) for one in told] == ([True] if note else [])


def test_a_tokenizer_that_is_trained_has_a_size():
    pytest.importorskip("tokenizers")
    assert Text.load(MANY, tokenizer="bpe", vocabulary=300).notes == ()
