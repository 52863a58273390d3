"""Texts that came from outside, as they may be shown."""

import re

_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(name: str) -> str:
    r"""A name as it can be shown and stored: bytes that are no text, controls, turns escaped.

    Example:
        >>> printable("a\nb\udcff.png")
        'a\\nb\\xff.png'
    """
    return _UNPRINTABLE.sub(_escape, name)


def _escape(match: "re.Match[str]") -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python writes a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode()
