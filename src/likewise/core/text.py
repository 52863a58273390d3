"""Texts that came from outside, as they may be shown."""

import re
from collections.abc import Sequence

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


def all_printable(names: Sequence[str]) -> Sequence[str]:
    """`printable` of many names, of which seldom one has to be looked at.

    Example:
        >>> all_printable(["a.png", "b\\x07"])
        ['a.png', 'b\\\\x07']
    """
    return list(map(printable, names)) if _UNPRINTABLE.search("".join(names)) else names


def _escape(match: "re.Match[str]") -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python writes a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode()
