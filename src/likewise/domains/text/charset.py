"""Which encoding bytes are of that are no UTF, guessed where the guess is sure."""

from collections.abc import Callable
from typing import BinaryIO

SAMPLE = 1 << 16  # bytes looked at
ASCII = 0x7F
FEW = 20  # bytes beyond ASCII, too few to tell
COHERENT = 0.1  # the least share of a language in a text that is written by one byte a letter
NEAR = 0.05  # of disorder: a guess that is no worse than this is a rival
MARGIN = 0.05  # of coherence, by which a guess must be ahead of its rivals
RARE = 0.02  # of characters that are not in daily use
LATIN = "\u036f"  # no letter of a Latin alphabet is behind it, but for rare ones
WESTERN = {"cp1252", "latin_1"}
COMMON = {  # what is in daily use of an encoding that spells far more
    "cp932": "shift_jis",
    "cp949": "euc_kr",
    "gb18030": "gb2312",
    "euc_jis_2004": "euc_jp",
    "big5": "big5",
    "big5hkscs": "big5",
}


def guessed(sample: bytes) -> str:
    r"""The encoding of a sample; "" where it may be western, or is unsure, or cannot be known.

    Example:
        >>> guessed(("Мой дядя самых честных правил. " * 9).encode("cp1251"))
        'cp1251'
        >>> guessed(("Les élèves mangent des crêpes. " * 9).encode("cp1252"))
        ''
    """
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return ""
    few = sum(byte > ASCII for byte in sample) < FEW
    found = [] if few else [one for one in from_bytes(sample) if one.encoding[:3] != "utf"]
    if not found or any(WESTERN & set(one.could_be_from_charset) for one in found):
        return ""
    near = [one for one in found if one.chaos <= found[0].chaos + NEAR]
    for one in near:
        if one.encoding in COMMON and _spells(sample, COMMON[one.encoding]):
            return str(one.encoding)
    best, *others = sorted(near, key=lambda one: (_shouts(str(one)), one.chaos, -one.coherence))
    rivals = (one.coherence for one in others if one.chaos <= best.chaos and not _shouts(str(one)))
    rivalled = max(rivals, default=0.0) > best.coherence - MARGIN
    sure = best.coherence >= COHERENT and not rivalled and _is_foreign(str(best))
    return str(best.encoding) if sure else ""


def _shouts(text: str) -> bool:
    """Whether most letters are capitals: small ones of KOI8, read as cp1251, and the reverse."""
    strange = [one for one in text if not one.isascii()]
    return sum(map(str.isupper, strange)) > sum(map(str.islower, strange))


def _is_foreign(text: str) -> bool:
    """Whether most of what is not ASCII are letters of no Latin alphabet."""
    strange = [one for one in text if not one.isascii()]
    return 2 * sum(one.isalpha() and one > LATIN for one in strange) > len(strange)


def _spells(sample: bytes, encoding: str) -> bool:
    """Whether an encoding spells a sample, but for rare characters such as narrow Katakana."""
    text = sample.decode(encoding, "replace")
    rare = sum(one == "\ufffd" or "\uff61" <= one <= "\uff9f" for one in text)
    return rare <= RARE * len(text)


def sample_of(opened: Callable[[], BinaryIO]) -> bytes:
    """Lines of a file that are not ASCII alone, so that no character of them is cut."""
    found, rest = b"", b""
    with opened() as file:
        while len(found) < SAMPLE and len(rest) < SAMPLE and (raw := file.read(SAMPLE)):
            *ended, rest = (rest + raw).split(b"\n")
            found += b"".join(line + b"\n" for line in ended if not line.isascii())
    found = (found + rest)[:SAMPLE]
    edge = max(found.rfind(b"\n"), found.rfind(b" "))  # neither is within a character
    return found[: edge + 1] or found
