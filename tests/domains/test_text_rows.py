"""Rows of JSON and of tables: which list holds them, and what of them is read by nothing."""

import json

import pytest

from likewise.core.errors import DataError
from likewise.core.records import Skipped, split
from likewise.domains.text import Text
from tests.domains.test_text_read import A, U, items, jsonl, prose, talks, write

ROWS = [{"text": text} for text in prose(20)]
TALK = [{"role": "user", "content": "so?"}, {"role": "assistant", "content": "yes"}]


def loaded(tmp_path, data, **options):
    return Text.load(write(tmp_path / "d.json", json.dumps(data)), **options)


# -- which list of a JSON file holds its rows ---------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [{}, {"languages": ["en", "de"]}, {"authors": [{"name": "A"}]}, {"sizes": [1, 2], "none": []}],
)
def test_the_rows_of_a_json_file_are_the_list_with_known_columns(tmp_path, beside):
    records = loaded(tmp_path, {"version": 1, **beside, "data": ROWS})
    assert items(records) == tuple(prose(20))
    assert records.ids[0] == "d.json:1"
    read = [f"d.json: 'data' was read, not {key!r}." for key, rows in beside.items() if rows]
    assert list(records.notes) == read[:1]
    named = [{"said": row["text"]} for row in ROWS]
    assert items(loaded(tmp_path, {**beside, "data": named}, column="said")) == tuple(prose(20))


def test_a_list_of_strings_is_rows_where_no_list_has_columns(tmp_path):
    assert items(loaded(tmp_path, {"version": 1, "texts": prose(20)})) == tuple(prose(20))


def test_lists_named_as_parts_are_a_split(tmp_path):
    texts = prose(30)
    rows = [{"text": text} for text in texts]
    for test in (rows[25:], texts[25:]):
        records = loaded(tmp_path, {"train": rows[:20], "Dev": rows[20:25], "test": test})
        assert items(records) == tuple(texts)
    parts = split(records, seed=0)
    assert [len(parts.part(name)) for name in ("train", "valid", "test")] == [20, 5, 5]
    assert items(records.take(parts.test)) == tuple(texts[25:])
    assert records.ids[20] == "d.json:Dev:1"


def test_lists_of_other_names_are_refused_by_name(tmp_path):
    message = r"'d.json' must hold one list of rows, .*; got the lists 'train', 'old'\. Write"
    with pytest.raises(DataError, match=message):
        loaded(tmp_path, {"train": ROWS, "old": ROWS, "tags": ["a"]})
    with pytest.raises(DataError, match=r"must have columns text .*; got 'x'"):
        loaded(tmp_path, {"tags": ["a"], "data": [{"x": 1}]})


def test_lines_of_json_in_a_file_named_json_are_read_line_by_line(tmp_path):
    path = write(tmp_path / "lines.json", jsonl(ROWS) + "{\n")
    records = Text.load(path)
    assert items(records) == tuple(prose(20))
    assert records.notes == ("lines.json holds a JSON object a line, and was read as JSONL.",)
    assert [one.what for one in records.skipped] == ["lines.json:21"]
    with pytest.raises(DataError, match="is damaged: it is no JSON"):
        Text.load(write(tmp_path / "cut.json", json.dumps(ROWS, indent=1)[:-9]))


# -- columns that are null, or read by nothing --------------------------------------------------


def test_a_dialogue_is_the_first_column_that_has_a_value(tmp_path):
    rows = [{"messages": None, "conversations": [{**TALK[0], "content": f"{i}?"}, TALK[1]]}
            for i in range(12)]  # fmt: skip
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}
    rows[3]["conversations"] += [TALK[0], call]
    records = Text.load(write(tmp_path / "chat.jsonl", jsonl(rows)))
    assert talks(records)[3] == f"{U}3?{A}yes"
    assert len(records) == 12
    assert [one.what for one in records.skipped] == ["2 messages in 1 dialogues of chat.jsonl"]


def test_a_column_that_is_null_is_named(tmp_path):
    rows = [{"instruction": f"do {i}", "input": "", "output": f"done {i}"} for i in range(12)]
    rows += [{"instruction": "do", "input": "", "output": None}, {"text": None}]
    records = Text.load(write(tmp_path / "a.jsonl", jsonl(rows)))
    assert len(records) == 12
    assert records.skipped == (
        Skipped("a.jsonl:13", "has null for 'output'"),
        Skipped("a.jsonl:14", "holds null, not text"),
    )


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (
            {"source": "a", "target": "b", "label": "x"},
            "Of rows with 'target' nothing reads 'label': left out.",
        ),
        (
            {"text": "t", "messages": TALK, "label": "x", "id": 3},
            "Of rows with 'messages' nothing reads 'text' and 'label': left out.",
        ),
        (
            {"text": "t", "source": "a", "target": None},
            "Of rows with 'text' nothing reads 'source': left out.",
        ),
    ],
)
def test_known_columns_that_nothing_reads_are_told_once(tmp_path, row, note):
    rows = [
        {key: f"{value} {i}" if key in ("source", "target", "text") and value else value
         for key, value in row.items()}
        for i in range(12)
    ]  # fmt: skip
    records = Text.load(write(tmp_path / "a.jsonl", jsonl(rows)))
    assert records.notes.count(note) == 1
    assert len(records) == 12


def test_nothing_is_told_where_every_known_column_is_read(tmp_path):
    rows = [{"text": text, "label": "a", "id": 1, "source": None} for text in prose(12)]
    assert Text.load(write(tmp_path / "a.jsonl", jsonl(rows))).notes == ()
    pairs = [{"source": text, "target": text, "label": ""} for text in prose(12)]
    assert Text.load(write(tmp_path / "b.jsonl", jsonl(pairs)), column="target").notes == ()


def test_a_label_that_is_no_number_is_none(tmp_path):
    rows = [
        {"text": text, "label": float("nan") if i % 2 else "a"} for i, text in enumerate(prose())
    ]
    records = Text.load(write(tmp_path / "a.jsonl", jsonl(rows)))
    assert records.conditions["label"] == ("a", None) * 30


# -- one set of names for parts -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "eval", "evaluation", "validation"])
def test_the_parts_of_texts_are_called_as_those_of_pictures(tmp_path, name):
    for part, n in (("training", 20), (name, 6), ("testing", 5)):
        rows = [{"text": f"{part} {text}"} for text in prose(n, seed=n)]
        write(tmp_path / f"{part}.jsonl", jsonl(rows))
    records = Text.load(tmp_path)
    parts = split(records, seed=0)
    assert [len(parts.part(part)) for part in ("train", "valid", "test")] == [20, 6, 5]
