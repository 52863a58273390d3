"""How the tokens of a tokenizer.json spell a text, read from what it says of itself."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal
from unicodedata import is_normalized

from likewise.core.errors import LikewiseError

INSTALL = "BPE and unigram tokenisers need the tokenizers library: pip install 'likewise[text]'"
ANY = "any"
FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")


def library() -> Any:
    """The library of tokenisers; LikewiseError if it is missing."""
    try:
        import tokenizers
    except ImportError as error:
        raise LikewiseError(INSTALL) from error
    return tokenizers


def kinds(decoder: Mapping[str, Any]) -> set[str]:
    """The types of a decoder of a tokenizer.json and of those that it is a sequence of."""
    inner = [kinds(one) for one in decoder.get("decoders", ())]
    return {str(decoder.get("type"))}.union(*inner)


def silent(data: Mapping[str, Any]) -> set[Any]:
    """The tokens of a tokenizer.json that are no text, by their number or their name."""
    model = data.get("model", {})
    special = {one["id"] for one in data.get("added_tokens") or () if one.get("special")}
    return {*special, model.get("unk_token"), model.get("unk_id")}


def letters() -> dict[str, int]:
    """The byte that each letter of a byte-level tokeniser stands for (Radford et al., 2019).

    A letter below 256 is its own byte; the others stand, in their order, for the bytes that are
    left.
    """
    every = sorted(library().pre_tokenizers.ByteLevel.alphabet())
    own = {letter: ord(letter) for letter in every if ord(letter) < 256}
    left = sorted(set(range(256)) - set(own.values()))
    return own | dict(zip(every[len(own) :], left, strict=True))


def form(data: Mapping[str, Any], pieces: Collection[str]) -> str:
    """The form of Unicode in which a text surely comes back: `ANY`, or "" where that is unsure.

    It is sure of a byte-level tokeniser alone, whose `pieces` hold a letter for each byte.
    """
    model, normal = data.get("model") or {}, data.get("normalizer")
    if model.get("type") not in ("BPE", "Unigram") or not set(letters()) <= set(pieces):
        return ""
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return ""
    added = data.get("added_tokens") or ()
    if any(one.get("lstrip") or one.get("rstrip") for one in added):  # it takes spaces with it
        return ""
    before = list(_steps(data.get("pre_tokenizer") or {}))
    after = kinds(data.get("decoder") or {})
    levels = [one for one in before if one.get("type") == "ByteLevel"]
    if "ByteLevel" not in after or not after <= {"ByteLevel", "Sequence", "Fuse"}:
        return ""
    if len(levels) != 1 or not all(map(_keeps, before)):
        return ""
    found = normal.get("type") if normal else ANY
    return found if found in (ANY, *FORMS) else ""


def stays(text: str, form: str) -> bool:
    """Whether a text has a form of Unicode already, so that putting it there changes nothing.

    Example:
        >>> stays("é", "NFC"), stays("é", "NFD"), stays("é", ANY), stays("é", "")
        (True, False, True, False)
    """
    return form == ANY or any(form == one and is_normalized(one, text) for one in FORMS)


def _steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The steps that cut a text into words, one after another."""
    if step.get("type") != "Sequence":
        yield step
    for one in step.get("pretokenizers") or ():
        yield from _steps(one)


def _keeps(step: Mapping[str, Any]) -> bool:
    """Whether a step that cuts a text into words neither takes nor adds anything."""
    known = step.get("type") in ("ByteLevel", "Split", "Digits", "Punctuation")
    return known and step.get("behavior") != "Removed" and not step.get("add_prefix_space")
