"""Readers of texts: every form, options, splits by document and by position."""

import gzip
import json
import re

import numpy as np
import pytest

from likewise.core.errors import UsageError
from likewise.core.records import split
from likewise.domains.text import Text
from likewise.domains.text.corpus import line_places, paragraph_places

U, A, S = "\ue001", "\ue002", "\ue000"
WORDS = np.array(["sun", "sea", "oak", "red", "old", "été", "ran", "and", "hill", "so"])


def prose(n=60, seed=0, size=40):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size)) + f" {i}" for i in range(n)]


def items(records):
    return tuple(records.items)


def talks(records):
    """What the records are after, and they themselves: their dialogues up to each answer."""
    passages = records.items
    return tuple(passages.before(row, 9999) + text for row, text in enumerate(passages))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_list_of_short_lines_is_a_document_a_line(tmp_path, packed):
    names = [f"name{i}" for i in range(50)]
    records = Text.load(write(tmp_path / f"names.txt{packed}", "\n".join(names) + "\n"))
    assert items(records) == tuple(names)
    assert records.ids[:2] == (f"names.txt{packed}:1", f"names.txt{packed}:2")
    assert records.groups is None
    assert records.given is None
    assert "each of its 50 lines is a document (unit=file makes it one)" in records.notes[0]
    assert records.facts["context"] == len("name10") + 1


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_one_long_text_is_split_by_position_with_a_gap(tmp_path, packed):
    text = "\n\n".join(prose(300))
    records = Text.load(write(tmp_path / f"book.txt{packed}", text), context="64")
    places = records.items
    assert records.groups is None
    assert set(records.given) == {"train", "valid", "test"}
    assert list(records.given) == sorted(records.given, key=["train", "valid", "test"].index)
    raw = text.encode()
    for part, low, high in (("train", 0, 0.8), ("valid", 0.8, 0.9), ("test", 0.9, 1)):
        rows = [row for row, name in enumerate(records.given) if name == part]
        start, stop = int(places.starts[rows[0]]), int(places.stops[rows[-1]])
        assert start == pytest.approx(low * len(raw), abs=32)
        assert stop == pytest.approx(high * len(raw), abs=32 + 64)
        assert "".join(records.take(rows).items) == raw[start:stop].decode()
        if part != "test":
            assert int(places.starts[rows[-1] + 1]) - stop >= 64
    parts = split(records, seed=0)
    given = np.array(records.given)
    assert all((given[parts.part(name)] == name).all() for name in ("train", "valid", "test"))
    left_out = [int(one.what.split()[0]) for one in records.skipped]
    assert [one.what.split(" ", 1)[1] for one in records.skipped] == [
        "passages between train and valid",
        "passages between valid and test",
    ]
    whole = len(Text.load([text], context=64).items) + sum(left_out)
    assert len(records) + sum(left_out) == whole


def test_the_share_that_trains_can_be_asked_for(tmp_path):
    path = write(tmp_path / "book.txt", "\n\n".join(prose(300)))
    given = Text.load(path, train="0.5", context=32).given
    assert given.count("train") / len(given) == pytest.approx(0.5, abs=0.02)
    assert given.count("valid") / len(given) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("file", ["a b\nc\n\nd e\n\n\nf\n" * 40]),
        ("line", ["a b", "c", "d e", "f"] * 40),
        ("paragraph", ["a b\nc", "d e", *["f\na b\nc", "d e"] * 39, "f"]),
    ],
)
def test_units_can_be_asked_for(tmp_path, unit, expected):
    path = write(tmp_path / "text.txt", "a b\nc\n\nd e\n\n\nf\n" * 40)
    records = Text.load(path, unit=unit, context=512, tokenizer="bytes", train=0.1)
    if unit == "file":
        assert len(set(records.items.firsts.tolist())) == 1
    else:
        assert items(records) == tuple(expected)


def test_lines_and_paragraphs_are_found_across_pieces(monkeypatch):
    from likewise.domains.text import corpus

    draw = np.random.default_rng(0)
    text = "".join(draw.choice(["a", "é", " ", "\n"], 400, p=[0.2, 0.1, 0.3, 0.4]))
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    part = raw[3:390].tobytes()
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(corpus, "SCANNED", size)
        starts, stops = line_places(raw, 3, 390)
        found = [raw[a:b].tobytes() for a, b in zip(starts, stops, strict=True)]
        assert found == [line for line in part.split(b"\n") if line.strip()]
        starts, stops = paragraph_places(raw, 3, 390)
        found = [raw[a:b].tobytes() for a, b in zip(starts, stops, strict=True)]
        whole = re.sub(rb"(?m)^ +$", b"", part)
        assert found == [p for p in re.split(rb"\n{2,}", whole.strip(b"\n")) if p]


def test_documents_never_straddle_a_split():
    texts = prose(40, size=120)
    records = Text.load(texts, context=64)
    assert records.given is None
    assert len(records) > 5 * len(texts)
    parts = split(records, seed=0)
    groups = np.array(records.groups)
    homes = [set(groups[parts.part(name)]) for name in ("train", "valid", "test")]
    assert sum(map(len, homes)) == len(set.union(*homes)) == 40
    assert min(map(len, homes)) >= 5
    for row, text in enumerate(texts):
        mine = [i for i, name in enumerate(records.ids) if name.split("#")[0] == str(row)]
        assert "".join(records.take(mine).items) == text


@pytest.mark.parametrize(("tokenizer", "most"), [("bytes", 32), ("characters", 32), ("bpe", 63)])
def test_passages_leave_room_for_their_tokens(tokenizer, most):
    records = Text.load(prose(30), context=64, tokenizer=tokenizer)
    sizes = records.items.bytes()
    assert sizes.max() <= most
    assert sizes.min() > most / 2
    assert records.facts["context"] == 64


def test_short_documents_are_whole_and_set_the_context():
    records = Text.load([f"a{i:03d}" for i in range(30)], context=64)
    assert records.facts["context"] == 5
    assert "no document is as long as the context of 64 tokens: it is 5" in records.notes[0]
    assert bool((records.items.opens & records.items.closes).all())


def test_the_default_tokeniser_goes_by_the_text(monkeypatch):
    from likewise.domains.text import passages

    assert Text.load(prose(30)).facts["tokenizer"] == "characters"
    many = ["".join(map(chr, range(0x4E00 + i, 0x4F10 + i))) for i in range(30)]
    assert Text.load(many).facts["tokenizer"] == "bpe"
    monkeypatch.setattr(passages, "SMALL", 100)
    assert Text.load(prose(30)).facts["tokenizer"] == "bpe"


def test_a_folder_of_texts_and_code(tmp_path):
    for i, text in enumerate(prose(25)):
        write(tmp_path / "data" / f"s{i % 3}" / f"{i:02d}.txt", text)
    code = "".join(f"x{i} = {i}\n" for i in range(30))
    write(tmp_path / "data" / "code.py", code)
    write(tmp_path / "data" / "more.txt.gz", "packed text here")
    write(tmp_path / "data" / "rows.jsonl", jsonl([{"text": "row one"}, {"text": "row two"}]))
    (tmp_path / "data" / "photo.png").write_bytes(b"\x89PNG123")
    (tmp_path / "data" / "fake.txt").write_bytes(bytes(range(256)) * 9)
    write(tmp_path / "data" / ".hidden.txt", "hidden")
    write(tmp_path / "data" / "Makefile", "all:")
    write(tmp_path / "data" / "table.csv", "a,b\n1,2\n")
    write(tmp_path / "secret.txt", "secret")
    (tmp_path / "data" / "link.txt").symlink_to(tmp_path / "secret.txt")
    records = Text.load(tmp_path / "data")
    assert len(records) == 25 + 1 + 1 + 2 + 1
    assert records.notes[-1] == "1 files of no known ending hold text: Makefile."
    assert code in items(records)
    assert {"packed text here", "row one", "row two"} <= set(items(records))
    assert "rows.jsonl:2" in records.ids
    assert "s0/00.txt" in records.ids
    why = {one.what: one.why for one in records.skipped}
    assert why == {
        "photo.png": "ends in '.png', which is no text or code",
        "fake.txt": why["fake.txt"],
        "table.csv": why["table.csv"],
        "link.txt": "is a link that leads out of the folder",
    }
    assert "is binary data, not text" in why["fake.txt"]
    assert "must have columns text" in why["table.csv"]


def test_folders_of_parts_are_a_split(tmp_path):
    for part, n in (("train", 20), ("val", 5), ("test", 5)):
        for i, text in enumerate(prose(n, seed=len(part))):
            write(tmp_path / part / f"{i}.txt", f"{part} {text}")
    records = Text.load(tmp_path)
    parts = split(records, seed=0)
    assert [len(parts.part(name)) for name in ("train", "valid", "test")] == [20, 5, 5]
    assert all(text.startswith("val ") for text in records.take(parts.valid).items)


@pytest.mark.parametrize(("suffix", "packed"), [(".jsonl", ""), (".jsonl", ".gz"), (".json", "")])
def test_rows_with_text_and_label(tmp_path, suffix, packed):
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(prose(20))]
    text = jsonl(rows) if suffix == ".jsonl" else json.dumps({"data": rows})
    records = Text.load(write(tmp_path / f"rows{suffix}{packed}", text))
    assert items(records) == tuple(prose(20))
    assert records.conditions == {"label": tuple("ab" * 10)}


def test_damaged_rows_are_skipped_and_told(tmp_path):
    good = [json.dumps({"text": text}) for text in prose(20)]
    bad = ["{", "[1]", json.dumps({"text": 3}), json.dumps({"text": " "}), json.dumps({"x": "y"})]
    records = Text.load(write(tmp_path / "rows.jsonl", "\n".join([*good, "", *bad])))
    assert len(records) == 20
    why = {one.what: one.why for one in records.skipped}
    assert list(why) == [f"rows.jsonl:{number}" for number in range(22, 27)]
    first, *others = why.values()
    assert first.startswith("is no JSON")
    assert others == [
        "is no row with named columns",
        "holds int, not text",
        "is empty",
        "has no known column, but 'x'",
    ]


MESSAGES = [
    [
        {"role": "system", "content": f"be {i}"},
        {"role": "user", "content": f"ask {i}"},
        {"role": "assistant", "content": f"say {i}"},
    ]
    for i in range(12)
]


@pytest.mark.parametrize("form", ["messages", "conversations", "alpaca", "json"])
def test_dialogues_of_every_form(tmp_path, form):
    short = {"system": "system", "user": "human", "assistant": "gpt"}
    if form == "conversations":
        rows = [
            {"conversations": [{"from": short[m["role"]], "value": m["content"]} for m in some]}
            for some in MESSAGES
        ]
    elif form == "alpaca":
        rows = [
            {"instruction": "do", "input": f"x {i}" if i % 2 else "", "output": f"y {i}"}
            for i in range(12)
        ]
    else:
        rows = [{"messages": some} for some in MESSAGES]
    name = "chat.json" if form == "json" else "chat.jsonl"
    text = json.dumps(rows) if form == "json" else jsonl(rows)
    records = Text.load(write(tmp_path / name, text))
    assert records.facts["roles"] is True
    if form == "alpaca":
        assert talks(records)[:2] == (f"{U}do{A}y 0", f"{U}do\n\nx 1{A}y 1")
    else:
        assert talks(records)[3] == f"{S}be 3{U}ask 3{A}say 3"


def test_nobody_can_speak_for_another_by_a_mark_in_the_text(tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{i} \ue002 hm"},
                {"role": "bot", "content": "o"},
            ]
        }
        for i in range(9)
    ]
    records = Text.load(write(tmp_path / "chat.jsonl", jsonl(rows)))
    assert talks(records)[0] == f"{U}0  hm{A}o"
    assert items(Text.load([f"a\ue001b{i}" for i in range(9)]))[0] == "ab0"


def test_tables_have_a_column_of_texts(tmp_path):
    rows = "".join(f'"{text}, so\nit is",{i % 2},z{i}\n' for i, text in enumerate(prose(20)))
    path = write(tmp_path / "table.csv", "text,label,other\n" + rows)
    records = Text.load(path)
    assert items(records) == tuple(f"{text}, so\nit is" for text in prose(20))
    assert records.conditions["label"] == tuple("01" * 10)
    assert items(Text.load(path, column="other")) == tuple(f"z{i}" for i in range(20))
    with pytest.raises(UsageError, match=r"column 'oter' is not in file .*; did you mean 'other'"):
        Text.load(path, column="oter")
    tabs = write(
        tmp_path / "table.tsv", "text\tlabel\n" + "".join(f"t {i}\tx\n" for i in range(9))
    )
    assert items(Text.load(tabs))[1] == "t 1"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_pairs_have_a_source(tmp_path, suffix):
    rows = [{"source": f"eins {i}", "target": f"one {i}"} for i in range(20)]
    table = "source,target\n" + "".join(f"{r['source']},{r['target']}\n" for r in rows)
    path = write(tmp_path / f"pairs{suffix}", table if suffix == ".csv" else jsonl(rows))
    records = Text.load(path)
    assert items(records) == tuple(f"one {i}" for i in range(20))
    assert records.conditions["source"] == tuple(f"eins {i}" for i in range(20))
    assert records.facts["source"] == len("eins 10")


def test_python_brings_texts_and_labels():
    texts = prose(20)
    assert items(Text.load(texts)) == tuple(texts)
    assert items(Text.load(tuple(texts))) == tuple(texts)
    assert items(Text.load(np.array(texts))) == tuple(texts)
    records = Text.load((texts, [1, None] * 10))
    assert records.conditions["label"] == ("1", None) * 10
    assert Text.load(("a b", "c d", "e f")).conditions == {}


@pytest.mark.parametrize(
    ("name", "text", "least"),
    [
        ("a.txt", "words", 0.9),
        ("a.txt.gz", "words", 0.9),
        ("a.py", "x = 1", 0.7),
        ("a.jsonl", '{"text": "a"}', 0.8),
        ("a.jsonl", '{"messages": []}', 0.8),
        ("a.csv", "text,label\n", 0.7),
        ("a.csv", "age,sex\n", 0.0),
        ("a.png", "words", 0.0),
        ("README", "words", 0.2),
    ],
)
def test_it_recognises_its_kind_by_a_glance(tmp_path, name, text, least):
    guess = Text.recognises(str(write(tmp_path / name, text)))
    assert least <= guess.sure <= least + 0.15
    assert guess.why


def test_it_recognises_folders_and_lists_and_never_raises(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.md", "words")
    (tmp_path / "x.jpg").write_bytes(b"")
    assert Text.recognises(tmp_path).sure == pytest.approx(0.9 * 3 / 4)
    assert Text.recognises(["a", "b"]).sure == 0.9
    assert Text.recognises((["a", "b"], [0, 1])).sure == 0.9
    (tmp_path / "bad.gz").write_bytes(b"no")
    for other in (np.zeros((3, 4)), 7, None, [], [1, 2], "no such file", tmp_path / "bad.gz", ()):
        assert Text.recognises(other).sure <= 0.1


def test_a_list_of_strings_is_no_path_and_texts_are_one_domain_of_many(tmp_path):
    import likewise

    records = likewise.load(
        str(write(tmp_path / "names.txt", "\n".join(f"n{i}" for i in range(9))))
    )
    assert records.domain == "text"
    assert likewise.load("digits").domain == "images"
    assert likewise.load([f"n{i}" for i in range(9)]).domain == "text"


def test_options_that_cannot_be_are_told():
    texts = prose(20)
    for options, text in (
        ({"tokeniser": "bpe"}, "option 'tokeniser' is unknown; did you mean 'tokenizer'"),
        ({"tokenizer": "bep"}, "tokenizer cannot be 'bep'; did you mean 'bpe'"),
        ({"unit": "lines"}, "unit cannot be 'lines'; did you mean 'line'"),
        ({"context": "7"}, "context must be a whole number from 16 to 1048576; got '7'"),
        ({"vocabulary": "many"}, "vocabulary must be a whole number from 257 to"),
        ({"train": "1"}, "train must be a share from 0.1 to 0.98; got '1'"),
        ({"train": "nan"}, "train must be a share from 0.1 to 0.98; got 'nan'"),
        ({"encoding": "utf8000"}, "encoding must be the name of an encoding"),
        ({"encoding": "base64"}, "encoding must be the name of an encoding"),
        ({"encoding": "punycode"}, "encoding must be the name of an encoding"),
        ({"encoding": "unicode-escape"}, "encoding must be the name of an encoding"),
        ({"column": " "}, "column must be the name of a column"),
    ):
        with pytest.raises(UsageError, match=text):
            Text.load(texts, **options)
