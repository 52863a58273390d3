"""Spelling: pieces put together are the text, whole characters, nothing of a stop string."""

from hypothesis import given
from hypothesis import strategies as st

from likewise.tasks.spelling import Spelling


class Utf8:
    def text(self, tokens):
        return bytes(tokens).decode(errors="replace")


class Fallback:
    """A decoder that spells a run of bytes in whole or not at all, as byte fallback does."""

    def text(self, tokens):
        try:
            return bytes(tokens).decode()
        except UnicodeDecodeError:
            return "\ufffd" * len(tokens)


class Words:
    """A decoder that drops the space before the first word."""

    def text(self, tokens):
        return "".join(f" {token}" for token in tokens)[1:]


def spelled(codec, tokens, stop=()):
    spelling = Spelling(codec, stop)
    pieces = []
    for token in tokens:
        pieces.append(spelling.add(token))
        if spelling.stopped:
            return pieces, spelling
    return [*pieces, spelling.rest()], spelling


@given(st.binary(max_size=40))
def test_pieces_put_together_are_the_text_of_any_bytes(data):
    pieces, _ = spelled(Utf8(), data)
    assert "".join(pieces) == data.decode(errors="replace")


@given(st.text(max_size=20))
def test_no_piece_holds_half_a_character(text):
    pieces, _ = spelled(Utf8(), text.encode())
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.text(alphabet="ab€", max_size=30), st.lists(st.text("ab€", min_size=1, max_size=4)))
def test_a_text_ends_before_its_first_stop_string_and_shows_nothing_of_it(text, stop):
    pieces, spelling = spelled(Utf8(), text.encode(), stop)
    ends = [text.find(one) + len(one) for one in stop if one in text]
    assert spelling.stopped == bool(ends)
    if ends:  # the one that is whole first ends it
        first = min(ends)
        starts = [text[:first].find(one) for one in stop if one in text[:first]]
        text = text[: min(starts)]
    assert "".join(pieces) == text


def test_what_may_be_the_beginning_of_a_stop_string_is_held_back():
    spelling = Spelling(Utf8(), ("stop",))
    assert [spelling.add(byte) for byte in b"a st"] == ["a", " ", "", ""]
    assert [spelling.add(byte) for byte in b"ep"] == ["ste", "p"]


def test_bytes_that_are_spelled_in_whole_or_not_at_all():
    pieces, _ = spelled(Fallback(), "a€b".encode())
    assert pieces == ["a", "", "", "€", "b", ""]


def test_a_word_keeps_the_space_before_it():
    pieces, _ = spelled(Words(), [1, 2, 3])
    assert pieces == ["1", " 2", " 3", ""]


def test_a_run_of_broken_bytes_is_not_held_back_for_ever():
    spelling = Spelling(Utf8())
    shown = "".join(spelling.add(0xFF) for _ in range(10))
    assert shown == "\ufffd" * 7
    assert spelling.rest() == "\ufffd" * 3


def test_each_token_s_place_is_told_though_its_text_is_held_back():
    spelling, places = Spelling(Utf8(), ("bcx",)), []
    for byte in "aébc".encode() + b"\xc3" + b"d":
        spelling.add(byte)
        places.append(spelling.place)
    assert places == [0, 1, 1, 2, 3, 4, 5]  # é is of two, and what \xc3 became stands before d
    assert (spelling.rest(), spelling.place) == ("", 6)
