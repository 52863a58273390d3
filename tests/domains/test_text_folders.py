"""Folders of texts: rows, tables and tokens in them, files of no known ending, dialogues."""

import gzip
import json
import pickle

import numpy as np
import pytest

import likewise
from likewise.core.errors import DataError, UsageError
from likewise.core.records import Skipped, split
from likewise.domains.text import Text
from likewise.domains.text.files import parts_of
from likewise.domains.text.messages import MORE, NONE, ROLE, TOOL, sayable
from tests.domains.test_text_read import items, jsonl, prose, write


class Trap:
    """Whoever unpickles it finds out."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


# -- rows and tables in a folder ----------------------------------------------------------------


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_file_in_a_folder_is_read_as_it_is_by_itself(tmp_path, packed):
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(prose(8))]
    tabs = "text\tlabel\n" + "".join(f"one {i}\tx\n" for i in range(8))
    table = "text,label\n" + "".join(f'"{r["text"]}, so",{r["label"]}\n' for r in rows)
    (tmp_path / "in").mkdir()
    files = {
        "a.json": json.dumps(rows),
        "b.json": json.dumps({"text": "one record alone"}),
        "c.jsonl": jsonl(rows),
        "d.csv": table,
        "e.tsv": tabs,
        "f.txt": "a plain text\n\nof two paragraphs",
        "g.ndjson": jsonl(rows),
    }
    paths = [write(tmp_path / "in" / f"{name}{packed}", text) for name, text in files.items()]
    records = Text.load(tmp_path / "in")
    alone = ["a plain text\n\nof two paragraphs", "one record alone"]
    for path in paths:
        if path.name[0] not in "bf":
            single = Text.load(path)
            mine = [row for row, name in enumerate(records.ids) if name.startswith(path.name)]
            assert items(records.take(mine)) == items(single)
            for name, values in single.conditions.items():
                assert tuple(records.conditions[name][row] for row in mine) == values
            alone += list(items(single))
    assert sorted(alone) == sorted(items(records))
    assert records.skipped == ()
    assert records.conditions["label"].count(None) == 2


def test_what_a_folder_cannot_read_is_skipped_once_with_its_reason(tmp_path):
    for i, text in enumerate(prose(25)):
        write(tmp_path / f"{i}.txt", text)
    write(tmp_path / "numbers.csv", "a,b\n" + "1,2\n" * 500)
    write(tmp_path / "package.json", json.dumps({"name": "x", "version": 3}))
    write(tmp_path / "broken.json", "{")
    write(tmp_path / "some.jsonl", '{"text": "a row that is read"}\n{\n')
    records = Text.load(tmp_path)
    assert len(records) == 26
    why = {one.what: one.why for one in records.skipped}
    assert len(records.skipped) == len(why) == 4
    assert "must have columns text" in why["numbers.csv"]
    assert why["numbers.csv"].endswith("got 'a', 'b'.")
    assert "got 'name', 'version'" in why["package.json"]
    assert "is damaged: it is no JSON" in why["broken.json"]
    assert why["some.jsonl:2"].startswith("is no JSON")


def test_a_column_is_looked_for_in_every_file_of_rows(tmp_path):
    write(tmp_path / "a.csv", "said,who\n" + "".join(f"{t},x\n" for t in prose(20)))
    write(tmp_path / "b.csv", "text,who\nno,x\n")
    records = Text.load(tmp_path, column="said")
    assert items(records) == tuple(prose(20))
    assert "column 'said' is not in file" in records.skipped[0].why
    with pytest.raises(UsageError, match=r"column 'sayd' is not in file .*; did you mean 'said'"):
        Text.load(tmp_path, column="sayd")


def test_files_named_as_parts_are_a_split_and_code_is_not(tmp_path):
    for name, n, word in (("train", 20, "a"), ("validation", 6, "b"), ("test", 5, "c")):
        rows = [{"text": f"{word} {text}"} for text in prose(n, seed=n)]
        write(tmp_path / f"{name}.jsonl", jsonl(rows))
    records = Text.load(tmp_path)
    parts = split(records, seed=0)
    assert [len(parts.part(name)) for name in ("train", "valid", "test")] == [20, 6, 5]
    assert {text[0] for text in records.take(parts.valid).items} == {"b"}
    for name in ("train.py", "test.py"):
        write(tmp_path / "code" / name, "x = 1\n")
    assert parts_of([(p.name, p) for p in (tmp_path / "code").iterdir()]) == {}
    assert parts_of([("train.csv", tmp_path / "train.csv")]) == {}


# -- files of tokens ----------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    """The tokenizer.json of a few words, and a function that writes a .bin of documents."""
    kit = pytest.importorskip("tokenizers")
    names = ["<|endoftext|>", *(f"w{i} " for i in range(40))]
    made = kit.Tokenizer(kit.models.BPE({name: i for i, name in enumerate(names)}, []))
    made.decoder = kit.decoders.Fuse()
    made.add_special_tokens(names[:1])
    draw = np.random.default_rng(0)

    def binary(path, documents, size=12):
        path.parent.mkdir(exist_ok=True)
        rows = [[*draw.integers(1, 41, size), 0] for _ in range(documents)]
        np.array(rows, dtype=np.uint16).tofile(path)
        return ["".join(names[token] for token in row[:-1]) for row in rows]

    return made, binary


def test_a_folder_of_tokens_is_one_data_set_with_the_split_of_its_files(tmp_path, words):
    made, binary = words
    folder = tmp_path / "data"
    texts = {
        p: binary(folder / f"{p}.bin", n) for p, n in (("train", 40), ("val", 9), ("test", 7))
    }
    made.save(str(folder / "tokenizer.json"))
    (folder / "meta.pkl").write_bytes(pickle.dumps(Trap()))
    write(folder / "input.txt", "what the tokens were made of")
    records = Text.load(folder)
    assert items(records) == (*texts["train"], *texts["val"], *texts["test"])
    assert records.ids[40] == "val.bin#0"
    parts = split(records, seed=0)
    for mine, theirs in (("train", "train"), ("valid", "val"), ("test", "test")):
        assert list(records.take(parts.part(mine)).items) == texts[theirs]
    why = "stands beside train.bin, which holds the tokens of this data"
    assert records.skipped == (Skipped("input.txt", why), Skipped("meta.pkl", why))
    assert records.facts["tokenizer"] == str(folder / "tokenizer.json")
    assert Text.load(folder, tokenizer="bytes").facts["tokenizer"] == "bytes"
    assert likewise.load(str(folder)).domain == "text"


def test_a_part_of_tokens_that_is_not_there_is_taken_from_train(tmp_path, words):
    made, binary = words
    made.save(str(tmp_path / "tokenizer.json"))
    binary(tmp_path / "data" / "train.bin", 60)
    named = {"tokenizer": str(tmp_path / "tokenizer.json")}
    assert Text.load(tmp_path / "data", **named).given is None
    valid = binary(tmp_path / "data" / "val.bin", 10)
    records = Text.load(tmp_path / "data", **named)
    parts = split(records, seed=0)
    assert list(records.take(parts.valid).items) == valid
    assert len(parts.test) == pytest.approx(0.15 * 60, abs=1)


def test_tokens_without_their_tokenizer_say_what_would_help(tmp_path, words):
    _, binary = words
    binary(tmp_path / "train.bin", 30)
    with pytest.raises(
        DataError, match=r"Put the tokenizer.json that made them beside them, name"
    ):
        Text.load(tmp_path)
    write(tmp_path / "input.txt", "the text")
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"or bring the text itself, if it is '.*input.txt' \(a"):
        Text.load(tmp_path)


def test_other_binaries_are_no_folder_of_tokens(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\x00\x01" * 50)
    for i, text in enumerate(prose(25)):
        write(tmp_path / f"{i}.txt", text)
    why = "ends in '.bin', which is no text or code"
    assert Text.load(tmp_path).skipped == (Skipped("model.bin", why),)


# -- files of no known ending -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["corpus", "README", "a.log", "a.md", "a.py", "a.tex", "a.srt", "a.tokens", "1.", "v.2"],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_text_of_any_name_is_a_text(tmp_path, name, packed):
    path = write(tmp_path / f"{name}{packed}", "\n\n".join(prose(60)))
    assert Text.recognises(path).sure > 0.2
    assert likewise.load(str(path)).domain == "text"


@pytest.mark.parametrize("name", ["corpus", "a.dat", "a.pdf", "a.pkl", "packed.gz"])
def test_binary_data_is_refused_as_what_it_is(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    wanted = "cannot be unpacked" if name.endswith(".gz") else "is binary data, not text. Bring a"
    with pytest.raises(DataError, match=wanted):
        likewise.load(str(path))
    assert 0 < Text.recognises(path).sure < 0.05


def test_pictures_stay_pictures(tmp_path):
    for name in ("a.png", "b.zip", "c.npy"):
        (tmp_path / name).write_bytes(b"none")
        assert Text.recognises(tmp_path / name).sure == 0.0


def test_a_folder_reads_files_of_no_known_ending_by_their_bytes(tmp_path):
    folder = tmp_path / "news"
    for i, text in enumerate(prose(30)):
        write(folder / "talk" / str(49960 + i), text)
    write(folder / "LICENSE", "do what you like")
    (folder / "state.dat").write_bytes(bytes(range(256)) * 9)
    (folder / "scan.jpg").write_bytes(b"words")
    guess = Text.recognises(folder)
    assert guess == (pytest.approx(0.9 * 31 / 33), "31 of 33 files in the folder are texts")
    records = Text.load(folder)
    assert len(records) == 31
    assert records.notes == (
        "31 files of no known ending hold text: LICENSE, talk/49960, talk/49961, ....",
    )
    why = {one.what: one.why for one in records.skipped}
    assert set(why) == {"state.dat", "scan.jpg"}
    assert "is binary data, not text" in why["state.dat"]


def test_a_list_beside_a_table_or_a_file_of_no_ending_is_still_a_list(tmp_path):
    names = [f"name{i}" for i in range(50)]
    write(tmp_path / "names.txt", "\n".join(names) + "\n")
    write(tmp_path / "LICENSE", "free")
    write(tmp_path / "more.csv", "text\n" + "".join(f"more{i}\n" for i in range(9)))
    assert set(names) < set(items(Text.load(tmp_path)))


def test_a_folder_of_tables_is_texts_where_they_have_a_column_of_texts(tmp_path):
    for name, head in (("text", "text,label"), ("other", "age,sex")):
        for i in range(3):
            write(tmp_path / name / f"{i}.csv", f"{head}\n1,2\n")
    assert Text.recognises(tmp_path / "text").sure == pytest.approx(0.9)
    assert Text.recognises(tmp_path / "other").sure == 0.01  # who can name its columns refuses it


# -- dialogues that are not text throughout -----------------------------------------------------

ASK = {"role": "user", "content": "What is the time?"}
SAY = {"role": "assistant", "content": "Noon."}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "a", "function": {"name": "f"}}],
}
ANSWER = {"role": "tool", "tool_call_id": "a", "content": "12:00"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:"}}


def said(messages, key="messages"):
    """What is left of a dialogue as (role, content), and what was skipped."""
    skipped = []
    rows = list(sayable(iter([("a:1", {key: messages, "id": 3})]), "a.jsonl", skipped))
    turns = [(m["role"], m["content"]) for _, row in rows for m in row[key]]
    return turns, skipped


def test_a_dialogue_ends_at_its_last_answer_before_a_call():
    asked, told = ("user", "What is the time?"), ("assistant", "Noon.")
    turns, skipped = said([ASK, SAY, ASK, CALL, ANSWER, SAY, ASK, SAY])
    assert turns == [asked, told]
    why = f"come after the last answer before a message that {TOOL}"
    assert skipped == [Skipped("6 messages in 1 dialogues of a.jsonl", why)]
    assert said([ASK, SAY, ANSWER, SAY])[0] == [asked, told]
    old = {"role": "assistant", "content": "", "function_call": {"name": "f"}}
    assert said([ASK, SAY, ASK, old, {"role": "function", "content": "1"}])[0] == [asked, told]


def test_words_that_come_with_a_call_are_the_last_answer():
    turns, skipped = said([ASK, {**CALL, "content": "Let me look."}, ANSWER, SAY])
    assert turns == [("user", "What is the time?"), ("assistant", "Let me look.")]
    assert skipped[0].what == "2 messages in 1 dialogues of a.jsonl"


def test_no_two_answers_with_a_tool_between_them_become_one():
    for messages in ([ASK, SAY, CALL, ANSWER, SAY], [ASK, SAY, ANSWER, SAY], [ASK, CALL, SAY]):
        turns, _ = said(messages)
        assert [role for role, _ in turns].count("assistant") <= 1


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([ASK, CALL, ANSWER, SAY], TOOL),
        ([{**ASK, "content": [{"type": "text", "text": "This?"}, PICTURE]}, SAY], MORE),
        ([{**ASK, "content": None}, SAY], NONE),
        ([ASK, {**SAY, "content": []}], NONE),
    ],
)
def test_a_dialogue_without_an_answer_before_is_skipped_and_told(messages, why):
    assert said(messages) == ([], [Skipped("a:1", f"has no answer before a message that {why}")])


def test_nothing_is_lost_where_all_is_text():
    for messages in (
        [ASK, SAY],
        [ASK, {**SAY, "tool_calls": None, "function_call": None}],
        [ASK, {**SAY, "tool_calls": []}],
        [
            ASK,
            {**SAY, "content": [{"type": "text", "text": "No"}, {"type": "text", "text": "on."}]},
        ],
        [{"role": "system", "content": None}, ASK, SAY],
        [ASK, {"role": "assistant", "content": None, "refusal": "Noon."}],
    ):
        turns, skipped = said(messages)
        assert turns == [("user", "What is the time?"), ("assistant", "Noon.")]
        assert skipped == []
    rules = [{"role": "developer", "content": "Be brief."}, ASK, SAY, ASK]
    assert [role for role, _ in said(rules)[0]] == ["developer", "user", "assistant", "user"]


def test_an_unknown_role_ends_a_dialogue_and_alone_is_refused_by_name():
    judge = {"role": "judge", "content": "good"}
    turns, skipped = said([ASK, SAY, judge])
    assert len(turns) == 2
    assert skipped[0].why.endswith(ROLE)
    assert said([judge, ASK, SAY]) == (
        [(m["role"], m["content"]) for m in (judge, ASK, SAY)],
        [],
    )


def test_sharegpt_calls_end_a_dialogue_too():
    rows = [("human", "Hi"), ("gpt", "Hello"), ("human", "Time?"), ("function_call", "{}")]
    messages = [{"from": who, "value": text} for who, text in rows]
    messages += [{"from": "observation", "value": "12"}, {"from": "gpt", "value": "Noon"}]
    turns, skipped = said(messages, "conversations")
    assert turns == [("human", "Hi"), ("gpt", "Hello")]
    assert skipped[0].what.startswith("4 messages")


def test_what_is_no_dialogue_goes_through_as_it_is():
    rows = [("a:1", {"text": "a"}), ("a:2", 7), ("a:3", {"messages": "no"}), ("a:4", [])]
    rows += [("a:5", {"messages": [3]}), ("a:6", {"messages": []})]
    skipped = []
    assert list(sayable(iter(rows), "a", skipped)) == rows
    assert skipped == []


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_dialogues_with_calls_are_read_and_told(tmp_path, packed):
    rows = [
        {"messages": [{**ASK, "content": f"ask {i}"}, {**SAY, "content": f"say {i}"}, ASK, CALL]}
        for i in range(30)
    ]
    rows += [{"messages": [ASK, CALL, ANSWER, SAY]}] * 4
    path = tmp_path / f"chat.jsonl{packed}"
    data = jsonl(rows).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    records = Text.load(path)
    text = records.items.text.tobytes().decode()
    assert all(f"say {i}" in text for i in range(30))
    assert "12:00" not in text
    assert "Noon" not in text
    told = {}
    for one in records.skipped:
        told[one.why] = [*told.get(one.why, []), one.what]
    whole = told[f"has no answer before a message that {TOOL}"]
    assert whole == [f"chat.jsonl{packed}:{number}" for number in range(31, 35)]
    cut = told[f"come after the last answer before a message that {TOOL}"]
    assert cut == [f"60 messages in 30 dialogues of chat.jsonl{packed}"]


def test_scripts_in_a_folder_are_dialogues(tmp_path):
    for name in "ab":
        talk = "\n\n".join(f"USER: hi {name} {i}\nASSISTANT: {w}" for i, w in enumerate(prose(40)))
        write(tmp_path / "talks" / f"{name}.txt", talk)
    records = Text.load(tmp_path / "talks")
    assert records.facts["roles"]
    assert len(records) == 80
    assert len(set(records.groups or records.ids)) == 80


def test_each_row_has_a_form_of_its_own(tmp_path):
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "well"}]
    rows = [
        {"messages": chat, "text": None},
        {"text": "a plain text", "messages": None},
        {"messages": None, "instruction": "say", "output": "said"},
        {"text": None},
    ]
    some = [{"text": f"{text} {i}", "messages": None} for i, text in enumerate(prose(30))]
    (tmp_path / "mixed.jsonl").write_text("\n".join(map(json.dumps, [*rows, *some])))
    records = Text.load(tmp_path / "mixed.jsonl")
    assert {"well", "a plain text", "said"} <= set(records.items)
    assert len(records) == 3 + 30
    assert [one.why for one in records.skipped] == ["holds null, not text"]
