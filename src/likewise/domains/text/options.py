"""What reading texts can be asked for."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from likewise.core.errors import UsageError, must, nearest

UNITS = ("auto", "file", "line", "paragraph")
SPELLINGS = ("punycode", "idna", "unicode_escape", "raw_unicode_escape")  # no encodings of files
TOKENIZERS = ("auto", "characters", "bytes", "bpe", "unigram")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How texts are read.

    Attributes:
        column: of a table, the column that holds the texts, or None for the usual ones.
        unit: what a document is: "auto", "file", "line" or "paragraph".
        tokenizer: "auto", "characters", "bytes", "bpe", "unigram", or a path of a tokenizer.json.
        vocabulary: how many tokens a trained tokeniser has, or None for a default by size.
        context: how many tokens a model sees at once, or None for a default.
        encoding: of the bytes, such as "cp1252", or None to find out.
        train: the share that trains where one long text is split by position.
    """

    column: str | None = None
    unit: str = "auto"
    tokenizer: str = "auto"
    vocabulary: int | None = None
    context: int | None = None
    encoding: str | None = None
    train: float = 0.8

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """Options as a user writes them; UsageError names what is wrong and the nearest.

        Example:
            >>> parsed = Options.parse({"unit": "line", "context": "64"})
            >>> parsed.unit, parsed.context, parsed.tokenizer
            ('line', 64, 'auto')
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UsageError(f"option {name!r} is unknown; {nearest(name, known)}.")
        return cls(
            column=_word("column", given.get("column")),
            unit=_unit(given.get("unit") or "auto"),
            tokenizer=_tokenizer(given.get("tokenizer") or "auto"),
            vocabulary=_whole("vocabulary", given.get("vocabulary"), 257, 1 << 20),
            context=_whole("context", given.get("context"), 16, 1 << 20),
            encoding=_encoding(given.get("encoding")),
            train=_share(given.get("train", 0.8)),
        )


def unused(options: Options, read: Mapping[str, int], *, by_place: bool, kind: str) -> list[str]:
    """Notes on options that were asked for and change nothing of what was read.

    Args:
        options: as they were asked for.
        read: how many "files", "rows" (files of them) and "plain" texts there were.
        by_place: whether the texts are split by position.
        kind: the tokenizer.

    Example:
        >>> asked = Options(column="said", unit="line")
        >>> unused(asked, {"files": 1, "rows": 1}, by_place=False, kind="bpe")
        ['unit=line changes nothing here: each row is a document.']
    """
    sized = kind in ("bpe", "unigram")
    idle = {
        "column": (not read.get("rows"), "only JSONL, JSON, CSV and TSV have columns"),
        "unit": (not read.get("plain"), f"each {_one(read)} is a document"),
        "vocabulary": (not sized, "only a tokenizer that is trained, bpe or unigram, has a size"),
        "encoding": (not read.get("files"), "only files of text have an encoding"),
        "train": (not by_place, "the texts are split by document, not by position"),
    }
    given = {name: getattr(options, name) for name in idle}
    return [
        f"{name}={given[name]} changes nothing here: {why}."
        for name, (is_idle, why) in idle.items()
        if is_idle and given[name] != getattr(Options(), name)
    ]


def _one(read: Mapping[str, int]) -> str:
    return "row" if read.get("rows") else "text"


def _word(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UsageError(must(name, "the name of a column", value))
    return value.strip() if isinstance(value, str) else None


def _unit(value: object) -> str:
    if value not in UNITS:
        raise UsageError(f"unit cannot be {value!r}; {nearest(str(value), UNITS)}.")
    return str(value)


def _tokenizer(value: object) -> str:
    name = str(value)
    if name not in TOKENIZERS and not name.endswith(".json"):
        remedy = "A ready one is named by its path, such as ./tokenizer.json."
        raise UsageError(f"tokenizer cannot be {name!r}; {nearest(name, TOKENIZERS)}. {remedy}")
    return name


def _whole(name: str, value: object, low: int, high: int) -> int | None:
    if value is None:
        return None
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise UsageError(must(name, f"a whole number from {low} to {high}", value))
    return int(text)


def _encoding(value: object) -> str | None:
    if value is None or value == "auto":
        return None
    such = must("encoding", "the name of an encoding, such as utf-8 or cp1252", value)
    try:
        b"a".decode(str(value), "replace")  # refused, too, of encodings that are not of text
        found = codecs.lookup(str(value))
    except (LookupError, ValueError) as error:
        raise UsageError(such) from error
    if found.incrementaldecoder is None or found.name.replace("-", "_") in SPELLINGS:
        raise UsageError(such)
    return found.name


def _share(value: object) -> float:
    try:
        share = float(str(value))
    except ValueError:
        share = 0.0
    if not 0.1 <= share <= 0.98:
        raise UsageError(must("train", "a share from 0.1 to 0.98", value))
    return share
