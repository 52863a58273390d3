"""Bytes to clean text, a piece at a time: encodings, line ends, characters that are no text.

What is changed is counted, so that it can be told.
"""

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeAlias

from likewise.core.errors import DataError
from likewise.domains.text.charset import guessed, sample_of

Opener: TypeAlias = Callable[[], BinaryIO]

PIECE = 1 << 20
HEAD = 1 << 16
CONTROLS = 0.05  # bytes of control beyond this share are no text
WIDE = 0.4  # zero bytes at every other place, from this share on, are UTF-16
NO_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\ue002]")
_NOT_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAGIC = (b"%PDF-", b"PK\x03\x04", b"\x7fELF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BZh")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BinaryError(DataError):
    """Bytes that are no text."""


def encoding_of(opened: Opener) -> str:
    """The encoding of a file: by its mark, else UTF-16 or UTF-8 by its bytes, else a guess.

    A file with more broken than whole characters of UTF-8 is taken for what its letters are
    likely to be, such as cp1251 or gb18030; where that is unsure for cp1252, or latin-1.

    Raises:
        BinaryError: the bytes are no text.
    """
    with opened() as file:
        head = file.read(HEAD)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    wide = _wide(head)
    if wide:
        return wide
    if head.startswith(_MAGIC) or len(_NOT_TEXT.findall(head)) > CONTROLS * len(head):
        raise BinaryError("is binary data, not text")
    return _narrow(opened)


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: zeros at every other place; "" if it is not."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) / 2
    if half and odd > WIDE * half and even < 0.1 * odd:
        return "utf-16-le"
    if half and even > WIDE * half and odd < 0.1 * even:
        return "utf-16-be"
    return ""


def _narrow(opened: Opener) -> str:
    whole = broken = 0
    plain = True
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with opened() as file:
        while raw := file.read(PIECE):
            plain = plain and not NO_CP1252.search(raw)
            text = decoder.decode(raw)
            if not text.isascii():
                wrong = _replaced(text, raw)
                broken += wrong
                whole += len(text) - len(text.encode("ascii", "ignore")) - wrong
    if broken <= whole:
        return "utf-8"
    return guessed(sample_of(opened)) or ("cp1252" if plain else "latin-1")


def _replaced(text: str, raw: bytes) -> int:
    """How many replacement characters of a text did not stand in its bytes."""
    return max(0, text.count("\ufffd") - raw.count(b"\xef\xbf\xbd"))


def pieces(
    opened: Opener, encoding: str, counts: "Counter[str]", what: str = "the text"
) -> Iterator[str]:
    """The clean text of a file, about a mebibyte at a time.

    Args:
        opened: opens the file.
        encoding: of `encoding_of`, or one that the user named.
        counts: what was changed is added to it: "broken", "controls", "ends".
        what: the file, as errors call it.

    Raises:
        DataError: the bytes cannot be of the encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    ends = io.IncrementalNewlineDecoder(decoder, translate=True)
    with opened() as file:
        more = True
        while more:
            raw = file.read(PIECE)
            more = bool(raw)
            text = _decoded(ends, raw, not more, f"{what} must be text in {encoding}")
            if text and not text.isascii():
                counts["broken"] += _replaced(text, raw if "utf-8" in encoding else b"")
            if text:
                yield clean(text, counts)
    seen = ends.newlines or ""
    counts["ends"] += any("\r" in end for end in ([seen] if isinstance(seen, str) else seen))


def _decoded(decoder: io.IncrementalNewlineDecoder, raw: bytes, final: bool, law: str) -> str:
    try:
        return decoder.decode(raw, final=final)
    except UnicodeError as error:  # what cannot be replaced, such as a mark that is missing
        raise DataError(
            f"{law}; got other bytes ({error}). Leave encoding out, so that it is found, or name "
            "the one that the text has, such as utf-8 or utf-16-le."
        ) from error


def clean(text: str, counts: "Counter[str]") -> str:
    r"""A text without control characters, halves of characters and marks of roles; ends are LF.

    Example:
        >>> counts = Counter()
        >>> clean("a\x00b\tc\ud800", counts), counts["controls"], counts["broken"]
        ('ab\tc\ufffd', 1, 1)
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        counts["ends"] += 1
    text, removed = UNWANTED.subn("", text)
    counts["controls"] += removed
    if not text.isascii():
        text, halves = _SURROGATE.subn("\ufffd", text)
        counts["broken"] += halves
    return text


def lines(parts: Iterator[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without their ends.

    Example:
        >>> list(lines(iter(["a\\nb", "c\\n", "d"])))
        ['a', 'bc', 'd']
    """
    begun: list[str] = []
    for part in parts:
        first, *rest = part.split("\n")
        begun.append(first)
        if rest:
            yield "".join(begun)
            yield from rest[:-1]
            begun = [rest[-1]]
    last = "".join(begun)
    if last:
        yield last
