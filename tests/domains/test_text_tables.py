"""Tables of texts: no row swallows another or loses its end, and what is left out is told."""

import csv
import io

import pytest

from likewise.core.errors import DataError
from likewise.core.records import Skipped
from likewise.domains.text import Text, tables
from likewise.domains.text.documents import Documents
from tests.domains.test_text_read import items, prose, write


def rows_of(text, name="t.csv"):
    """The values of each row, and what was skipped and noted."""
    told = Documents()
    delimiter = "\t" if name.endswith(".tsv") else ","
    lines = iter(text.removesuffix("\n").split("\n"))
    rows = [tuple(row.values()) for _, row in tables.table(lines, name, delimiter, told)]
    return rows, told.skipped, told.notes


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_what_a_writer_of_tables_quotes_is_read_as_it_was(delimiter):
    nasty = ["a, b", 'say "no"', "two\nlines", 'a\n"\n\nb"', "tab\there", '"', "plain", '","\n"']
    rows = [(text, other) for text in nasty for other in nasty]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([("x", "y"), *rows])
    name = "t.tsv" if delimiter == "\t" else "t.csv"
    assert rows_of(out.getvalue(), name) == (rows, [], [])


def test_rows_with_more_fields_than_the_header_are_skipped_and_told(tmp_path):
    good = "".join(f"{text},a\n" for text in prose(20))
    bad = "one, well, two,b\n" * 3 + "an empty field more is no field,a,\n"
    records = Text.load(write(tmp_path / "t.csv", f"text,label\n{good}{bad}"))
    assert items(records) == (*prose(20), "an empty field more is no field")
    why = "has more fields than the header: a field with a comma in it must stand between quotes"
    assert records.skipped == tuple(Skipped(f"t.csv:{line}", why) for line in (22, 23, 24))
    with pytest.raises(DataError, match=r"got none: has more fields than the header: .*\(3\)"):
        Text.load(write(tmp_path / "u.csv", "text,label\n" + "one, well, two,b\n" * 3))


def test_a_quote_that_is_never_closed_takes_its_own_line_alone():
    text = 'text,label\na,x\n"b,x\nc,y\n"d, e",x\n\n"f" g,y\nh 5" i,x\n'
    rows, skipped, notes = rows_of(text)
    assert rows == [("a", "x"), ("c", "y"), ("d, e", "x"), ('h 5" i', "x")]
    why = 'opens a quote (") that is not closed before the end of its field'
    assert skipped == [Skipped(f"t.csv:{line}", why) for line in (3, 7)]
    assert notes == []
    with pytest.raises(
        DataError, match=r"'t.csv' must begin with the names of its columns; it opens a quote"
    ):
        rows_of('"text,label\na,x\n')


def test_an_open_quote_is_not_looked_for_without_end(monkeypatch):
    monkeypatch.setattr(tables, "LONGEST", 50)
    text = 'text,label\n"b,x\n' + "c,y\n" * 100 + 'd",x\n'
    rows, skipped, _ = rows_of(text)
    assert len(rows) == 101
    assert [one.what for one in skipped] == ["t.csv:2"]


def test_quotes_of_a_tsv_that_quote_nothing_stand_as_they_are(tmp_path):
    lines = [f"{text}\tz{i}" for i, text in enumerate(prose(20))]
    lines[3] = '"' + lines[3]
    lines[9] = lines[9].replace("\t", '"\t')
    lines[12] = '"So" he said\tz12'
    records = Text.load(write(tmp_path / "t.tsv", "source\ttarget\n" + "\n".join(lines)))
    assert items(records) == tuple(f"z{i}" for i in range(20))
    assert records.conditions["source"] == tuple(line.split("\t")[0] for line in lines)
    assert records.skipped == ()
    assert records.notes == (
        "t.tsv has quotes that quote no field in 2 of its lines; they stand as they are.",
    )


def test_a_header_is_known_with_spaces_around_its_names():
    told = Documents()
    ((name, row),) = tables.table(iter(["", " text , label", "a"]), "t.csv", ",", told)
    assert (name, row) == ("t.csv:3", {"text": "a", "label": None})
