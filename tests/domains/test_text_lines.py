"""What the lines of a plain text are: records, paragraphs, or turns of dialogues."""

import pytest

from likewise.domains.text import Text, decode, roles
from tests.domains.test_text_read import A, S, U, items, talks, write


@pytest.mark.parametrize("end", ["\n\n", "\n \n\n", "\n  "])
def test_blank_lines_at_the_end_of_a_list_are_not_of_it(tmp_path, end, monkeypatch):
    names = [f"name{i}" for i in range(100)]
    path = write(tmp_path / "names.txt", "\n".join(names) + end)
    for size in (1, 5, 1000):  # lines lie across pieces
        monkeypatch.setattr(decode, "PIECE", size)
        records = Text.load(path)
        assert items(records) == tuple(names)
        assert "each of its 100 lines is a document" in records.notes[0]
    write(tmp_path / "names.txt", "\n".join(names[:50]) + "\n \n" + "\n".join(names[50:]))
    assert Text.load(path, context=16).items.opens.sum() == 1


def test_lines_of_spaces_are_blank(tmp_path):
    path = write(tmp_path / "text.txt", "".join(f"a {i}\n\t \nb {i}\nc\n  \n" for i in range(30)))
    lines = tuple(text for i in range(30) for text in (f"a {i}", f"b {i}", "c"))
    assert items(Text.load(path, unit="line")) == lines
    parts = tuple(text for i in range(30) for text in (f"a {i}", f"b {i}\nc"))
    assert items(Text.load(path, unit="paragraph")) == parts


def test_scripts_are_dialogues_and_system_answers_where_nobody_else_does(tmp_path):
    text = "".join(f"USER: hi {i}\nSYSTEM: what {i}\nand more\nUSER: bye\n\n" for i in range(9))
    records = Text.load(write(tmp_path / "talk.txt", text))
    assert talks(records)[2] == f"{U}hi 2{A}what 2\nand more"
    assert records.notes == (
        "the script has USER and SYSTEM lines only: SYSTEM is the one that answers, "
        "the assistant.",
    )
    text = "".join(f"SYSTEM: be {i}\nUSER: hi\nBOT: well\n\n" for i in range(9))
    records = Text.load(write(tmp_path / "talk.txt", text))
    assert talks(records)[2] == f"{S}be 2{U}hi{A}well"
    assert records.notes == ()
    plain = Text.load(tmp_path / "talk.txt", unit="paragraph")
    assert items(plain)[2] == "SYSTEM: be 2\nUSER: hi\nBOT: well"


def test_a_blank_line_within_a_turn_goes_on_with_it(tmp_path):
    one = (
        "USER: hi {0}\n\nand {0}\nASSISTANT: well\n \n\nso {0}\nUSER: bye\nASSISTANT: bye {0}\n\n"
    )
    records = Text.load(write(tmp_path / "talk.txt", "".join(map(one.format, range(9)))))
    assert len(records) == 18
    assert talks(records)[2] == f"{U}hi 1\n\nand 1{A}well\n\n\nso 1"
    assert talks(records)[3] == f"{talks(records)[2]}{U}bye{A}bye 1"
    assert records.skipped == ()
    assert records.ids[:3] == ("talk.txt:1#1", "talk.txt:1#2", "talk.txt:2#1")


def test_who_answers_is_told_for_each_dialogue_of_a_script(tmp_path):
    plain = "".join(f"USER: hi {i}\nSYSTEM: what {i}\n\n" for i in range(9))
    other = "SYSTEM: be kind\nUSER: hm\nASSISTANT: fine\n\nSYSTEM: be kind\nUSER: and?\n"
    records = Text.load(write(tmp_path / "talk.txt", plain + other))
    assert talks(records) == (
        *(f"{U}hi {i}{A}what {i}" for i in range(9)),
        f"{S}be kind{U}hm{A}fine",
    )
    assert [one.what for one in records.skipped] == ["1 dialogue without an answer"]
    assert "SYSTEM is the one that answers" in records.notes[0]


def test_a_script_is_read_a_dialogue_at_a_time(tmp_path):
    read = []

    def lines_of_many():
        for i in range(99):
            read.append(i)
            yield from (f"USER: hi {i}", "BOT: well", "")

    first = next(roles.script(lines_of_many()))
    assert (first, read) == ([("USER", "hi 0"), ("BOT", "well")], [0, 1])
