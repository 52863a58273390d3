"""Bad input of texts: encodings, broken bytes, bombs, and what is too little to learn from."""

import gzip
import io
import json
import sys
import tracemalloc

import pytest

from likewise.core.errors import DataError
from likewise.core.records import split
from likewise.domains.text import Text, charset, corpus, decode, files
from tests.domains.test_text_read import items, prose, write

BOOK = "\n\n".join(prose(60))


def load_bytes(tmp_path, data, name="book.txt", **options):
    path = tmp_path / name
    path.write_bytes(data)
    return Text.load(path, unit="paragraph", **options)


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", ()),
        ("utf-8-sig", ("1 files began with a byte-order mark, which was left out.",)),
        (
            "utf-16",
            (
                "book.txt was read as utf-16.",
                "1 files began with a byte-order mark, which was left out.",
            ),
        ),
        ("utf-16-le", ("book.txt was read as utf-16-le.",)),
        ("utf-16-be", ("book.txt was read as utf-16-be.",)),
        (
            "cp1252",
            ("book.txt is no valid UTF-8 and was read as cp1252; encoding=NAME names another.",),
        ),
    ],
)
def test_encodings_are_found(tmp_path, encoding, note):
    records = load_bytes(tmp_path, BOOK.encode(encoding))
    assert items(records) == tuple(prose(60))
    assert records.notes == note


def test_an_encoding_can_be_named(tmp_path):
    text = BOOK.replace("été", "лето")
    records = load_bytes(tmp_path, text.encode("cp1251"), encoding="cp1251")
    assert items(records)[0] == prose(60)[0].replace("été", "лето")
    assert records.notes == ()
    strange = load_bytes(tmp_path, BOOK.encode("latin-1") + b"\n\nx\x81y z w")
    assert "was read as latin-1" in strange.notes[0]


CAT = {
    "zh": "我是一只猫，还没有名字。不知道在哪里出生的，只记得在一个阴暗潮湿的地方喵喵地哭。",
    "ja": "吾輩は猫である。名前はまだ無い。どこで生れたか頓と見当がつかぬ。",
    "ko": "나는 고양이다. 이름은 아직 없다. 어디서 태어났는지 모른다.",
    "ru": "Мой дядя самых честных правил, когда не в шутку занемог, он уважать себя заставил.",
    "el": "Η γλώσσα μου έδωσαν ελληνική, το σπίτι φτωχικό στις αμμουδιές του Ομήρου.",
    "ar": "في البدء خلق الله السماوات والأرض وكانت الأرض خربة وخالية.",
    "th": "ฉันเป็นแมว ยังไม่มีชื่อ ไม่รู้ว่าเกิดที่ไหน",
}


def numbered(language):
    return [f"{i}. {CAT[language]}" for i in range(60)]


@pytest.mark.parametrize(
    ("language", "encoding", "name"),
    [
        ("zh", "gbk", "gb18030"),
        ("ja", "shift_jis", "cp932"),
        ("ja", "euc_jp", "euc_jis_2004"),
        ("ko", "euc_kr", "cp949"),
        ("ru", "cp1251", "cp1251"),
        ("ru", "koi8_r", "koi8_r"),
        ("el", "cp1253", "cp1253"),
        ("ar", "cp1256", "cp1256"),
        ("th", "cp874", "cp874"),
    ],
)
def test_encodings_of_other_alphabets_are_guessed_and_told(tmp_path, language, encoding, name):
    head = "Plain words come first.\n\n" * 9000  # more than is looked at
    data = head.encode() + "\n\n".join(numbered(language)).encode(encoding)
    records = load_bytes(tmp_path, data)
    assert items(records)[-60:] == tuple(numbered(language))
    assert f"is no valid UTF-8 and was read as {name}; encoding=NAME names" in records.notes[0]


@pytest.mark.parametrize("text", ["été", "naïve — “quoted” £5 ½", "Größe", "mañana", "São João"])
def test_western_text_is_never_taken_for_another(tmp_path, text):
    for count in (1, 3, 30):
        data = "\n\n".join([*prose(20), *[f"so {text} it is"] * count]).encode("cp1252")
        assert "was read as cp1252" in load_bytes(tmp_path, data).notes[0]


def test_without_a_guess_it_is_cp1252_as_before(tmp_path, monkeypatch):
    few = BOOK.replace("été", "ete").encode() + "\n\nдядя".encode("cp1251")
    assert "was read as cp1252" in load_bytes(tmp_path, few).notes[0]
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    many = "\n\n".join(numbered("ru")).encode("cp1251")
    assert "was read as cp1252" in load_bytes(tmp_path, many).notes[0]


def test_a_line_that_is_looked_at_is_cut_between_characters(monkeypatch):
    monkeypatch.setattr(charset, "SAMPLE", 999)
    for text in (" ".join(numbered("zh")), "\n".join(numbered("zh")), "plain\n" + CAT["zh"]):
        sample = charset.sample_of(lambda text=text: io.BytesIO(text.encode("gbk")))
        assert sample.decode("gbk") in text
        assert 0 < len(sample) < 1000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_an_encoding_that_the_bytes_are_not_in_is_refused(tmp_path, encoding):
    with pytest.raises(DataError, match=rf"book.txt' must be text in {encoding}; got other bytes"):
        load_bytes(tmp_path, BOOK.encode(), encoding=encoding)


def test_broken_text_is_replaced_counted_and_told(tmp_path):
    data = BOOK.encode()
    broken = data[:100] + b"\xff" + data[100:200] + b"\xfe" + data[200:]
    records = load_bytes(tmp_path, broken)
    assert "".join(items(records)).count("\ufffd") == 2
    assert records.notes == ("2 places that were no valid text were replaced by U+FFFD.",)
    kept = load_bytes(tmp_path, BOOK.replace("sun", "s\ufffdn").encode())
    assert kept.notes == ()


def test_control_characters_are_removed_counted_and_told(tmp_path):
    records = load_bytes(tmp_path, (BOOK[:50] + "\x00\x07\x1b\x85\t" + BOOK[50:]).encode())
    assert "".join(items(records)).replace("\t", "") == "".join(prose(60))
    assert records.notes == (
        "4 control characters (NULs among them) or marks of roles were removed.",
    )


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_are_made_one(tmp_path, end, monkeypatch):
    monkeypatch.setattr(decode, "PIECE", 7)  # an end lies across two pieces
    records = load_bytes(tmp_path, BOOK.replace("\n", end).encode())
    assert items(records) == tuple(prose(60))
    assert records.notes == (
        "1 files or texts had line ends of Windows or old Macs; they were made LF.",
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_pieces_of_any_size_make_the_same_text(tmp_path, size, monkeypatch):
    monkeypatch.setattr(decode, "PIECE", size)
    text = BOOK[:600] + " 😀é\n\n日本 x y z"
    for encoding in ("utf-8", "utf-16"):
        records = load_bytes(tmp_path, text.encode(encoding))
        assert "\n\n".join(items(records)) == text


@pytest.mark.parametrize("text", ["", " \n\n ", "\ufeff", "\t"])
def test_an_empty_file_is_refused(tmp_path, text):
    path = write(tmp_path / "empty.txt", text)
    with pytest.raises(DataError, match=r"empty.txt' must hold text; got none: is empty \(1\)"):
        Text.load(path)


def test_ten_characters_are_too_few(tmp_path):
    path = write(tmp_path / "short.txt", "0123456789")
    text = "must hold at least 640 bytes of text to train, to choose and to test on; got 10 in 1"
    with pytest.raises(DataError, match=text):
        Text.load(path)
    text = "must hold at least 1,280 bytes"
    with pytest.raises(DataError, match=text):
        Text.load(path, train=0.9)


def test_a_short_text_has_a_short_context(tmp_path):
    path = write(tmp_path / "short.txt", "\n\n".join(prose(8)))
    records = Text.load(path, context=1000)
    size = path.stat().st_size
    assert records.facts["context"] == size // 40
    assert records.notes == (f"the text is short: its context is {size // 40} tokens, not 1000.",)
    parts = split(records, seed=0)
    assert min(map(len, (parts.train, parts.valid, parts.test))) >= 3


@pytest.mark.parametrize("word", ["word ", "word\n", "word\n\n"])
def test_one_word_over_and_over_is_refused(tmp_path, word):
    path = write(tmp_path / "word.txt", word * 1000)
    with pytest.raises(DataError, match="must hold more than one word; got 'word' 1,000 times"):
        Text.load(path)
    with pytest.raises(DataError, match="at least 3 different records"):
        split(Text.load(["word"] * 50), seed=0)
    with pytest.raises(DataError, match="at least 3 different records"):
        split(Text.load(["a" * 100_000]), seed=0)


@pytest.mark.parametrize("end", ["\n", "\n\n"])
def test_a_line_without_spaces_is_no_word(tmp_path, end):
    path = write(tmp_path / "cat.txt", (CAT["ja"] + end) * 60)
    assert Text.load(path, unit="file", context=16).items.bytes().sum() > 3000
    with pytest.raises(
        DataError, match=r"more than one word; got '猫猫猫' 60 times over\. There.*it\.$"
    ):
        Text.load(write(path, "猫猫猫\n" * 60))
    write(path, ("a" * 50 + end) * 60)
    with pytest.raises(DataError, match=r"must hold more than one word; got 'a{40}' 60 times"):
        Text.load(path)
    path.write_bytes(b"\xe9t\xe9\n" * 60)
    with pytest.raises(
        DataError, match=r"got 'été' 60 times over.* cat\.txt is no valid UTF-8 and"
    ):
        Text.load(path)


@pytest.mark.parametrize("head", [bytes(range(256)), b"%PDF-1.4 words\n", b"\x89PNG\r\n"])
def test_binary_data_is_refused(tmp_path, head):
    path = tmp_path / "data.txt"
    path.write_bytes(head * 50)
    with pytest.raises(DataError, match=r"data.txt' is binary data, not text\. Bring a"):
        Text.load(path)


def test_a_folder_without_texts_says_why(tmp_path):
    with pytest.raises(DataError, match=r"holds no files\. Bring a \.txt file"):
        Text.load(tmp_path)
    (tmp_path / "x.jpg").write_bytes(b"1")
    with pytest.raises(DataError, match=r"got none: ends in '.jpg', which is no text or code \(1"):
        Text.load(tmp_path)
    (tmp_path / "book").mkdir()
    with pytest.raises(DataError, match=r"'.*books' does not exist; did you mean 'book'"):
        Text.load(tmp_path / "books")


def test_a_bomb_does_not_go_off(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RATIO_FROM", 1 << 20)
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(b"a b\n" * (1 << 20)))
    with pytest.raises(DataError, match="would unpack to more than 16 GiB or to more than 200"):
        Text.load(path)
    write(tmp_path / "good.txt", BOOK)
    assert "would unpack" in Text.load(tmp_path).skipped[0].why


def test_a_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(BOOK.encode())
    for data in (whole[:-30], b"no gzip at all", whole[:200] + b"xxxx" + whole[204:]):
        path = tmp_path / "book.txt.gz"
        path.write_bytes(data)
        with pytest.raises(DataError, match="cannot be unpacked"):
            Text.load(path)


def test_huge_lines_are_told(tmp_path):
    path = write(tmp_path / "line.txt", " ".join(prose(60)) * 200)
    size = path.stat().st_size / 2**20
    assert Text.load(path).notes == (f"line.txt has a line of {size:.1f} MiB.",)
    assert size > 1


def test_a_huge_line_is_held_once_at_most(tmp_path, monkeypatch):
    size = 24 << 20
    path = tmp_path / "line.txt"
    draw = "".join(prose(3000, size=60)).replace("\n", " ").encode()
    path.write_bytes((draw * (size // len(draw) + 1))[:size].decode(errors="ignore").encode())
    monkeypatch.setattr(corpus, "HELD", 1 << 20)
    monkeypatch.setattr(corpus.Spool.__init__, "__defaults__", (1 << 20,))
    tracemalloc.start()
    records = Text.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2
    assert len(records.items[5]) > 100


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is damaged: it is no JSON"),
        ("a.jsonl", '{"x": 1}\n', "must have columns text .*; got 'x'"),
        ("a.csv", "x,y\n1,2\n", "must have columns text .*; got 'x', 'y'"),
        ("a.jsonl", "{\n{\n", r"must hold text; got none: is no JSON"),
        ("a.csv", "text\n", "must hold text; got none"),
    ],
)
def test_rows_without_texts_are_refused(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        Text.load(write(tmp_path / name, text))


def test_dialogues_that_are_none_are_skipped(tmp_path):
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    bad = [[], "no", [{"role": "judge", "content": "a"}], [{"role": "user"}], [3]]
    rows = [*[good] * 9, *({"messages": one} for one in bad)]
    path = write(tmp_path / "chat.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    records = Text.load(path)
    assert len(records) == 9
    assert len(records.skipped) == 5
    assert "the role of a message must be one of" in records.skipped[2].why


def test_what_is_no_text_in_python_is_refused():
    for data, text in (
        ([1, 2], "text 0 of the list must be a string; got 'int'"),
        ((["a"], [1, 2]), "labels must be one for each of 1 texts; got 2"),
        ({"a": 1}, "or a list of strings; got <class 'dict'>"),
        ([], "must hold text; got none"),
        (["", " "], r"must hold text; got none: is empty \(2\)"),
    ):
        with pytest.raises(DataError, match=text):
            Text.load(data)
    halves = Text.load([f"a\ud800b\x00{i}\r\nc" for i in range(9)])
    assert items(halves)[1] == "a\ufffdb1\nc"
