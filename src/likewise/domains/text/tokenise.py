"""Tokenisers: characters, bytes, pairs of bytes, and a unigram model; learned on train only.

Pairs of bytes are merged by frequency (Sennrich et al., "Neural machine translation of rare words
with subword units", 2016; of bytes: Radford et al., GPT-2, 2019). The unigram model chooses the
likeliest pieces (Kudo, "Subword regularization", 2018). Both are of the `tokenizers` library.
"""

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError, LikewiseError, StoreError, must
from likewise.domains.text import spelling
from likewise.store.files import read_json

Ids = npt.NDArray[np.int64]

VOCABULARY = 4096
PER_TOKEN = 256  # bytes of text for each token that a small text may have
UNMET = 20.0  # nats by which a byte that train never had is less likely than any other
DIGITS = 6  # decimals of a unigram's log probabilities: below them is the order of summing
SHOWN = 60
_BYTE = re.compile("<0x([0-9A-F]{2})>")  # a byte by its number, where a text has no other token


class Tokeniser(ABC):
    """Texts to whole numbers below `size` and back."""

    kind: ClassVar[str]
    reach: ClassVar[int] = 1
    """Characters that hold at least one token, as a rule: so much is read for a prompt."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many tokens there are."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of each text; -1 for a character that there is no token for."""

    def encode_said(self, texts: Sequence[str]) -> list[Ids]:
        """The same of what people say in a dialogue: no text of theirs is a token of control."""
        return self.encode(texts)

    @abstractmethod
    def decode(self, ids: Ids) -> str:
        """The text of tokens; bytes that are no UTF-8 become U+FFFD."""

    @abstractmethod
    def lost(self, text: str) -> int:
        """How many characters of a text do not come back from its tokens."""

    def lacks(self, character: str) -> bool:
        """Whether nothing of a character comes back; not where it is only written otherwise."""
        return self.lost(character) > 0

    @abstractmethod
    def spelled(self) -> list[bytes]:
        """The UTF-8 of each token, as it reads in the middle of a text; empty if it is no text."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The tokeniser as plain data."""


class Characters(Tokeniser):
    """One token for each character of train.

    Args:
        characters: each once.

    Example:
        >>> tokeniser = Characters("abé")
        >>> tokeniser.encode(["éa?"])[0].tolist(), tokeniser.decode(np.array([2, 0]))
        ([2, 0, -1], 'éa')
    """

    kind = "characters"

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._codes = _codes(characters)
        self._table = np.full(int(self._codes.max(initial=0)) + 2, -1, dtype=np.int64)
        self._table[self._codes] = np.arange(len(characters))

    @property
    def size(self) -> int:
        """How many different characters there are."""
        return len(self.characters)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """See `Tokeniser.encode`."""
        last = len(self._table) - 1  # stands for every character beyond the table
        return [self._table[np.minimum(_codes(text), last)] for text in texts]

    def decode(self, ids: Ids) -> str:
        """See `Tokeniser.decode`."""
        return "".join(self.characters[i] for i in ids.tolist())

    def lost(self, text: str) -> int:
        """See `Tokeniser.lost`."""
        return int((self.encode([text])[0] < 0).sum())

    def spelled(self) -> list[bytes]:
        """See `Tokeniser.spelled`."""
        return [one.encode("utf-8", "surrogatepass") for one in self.characters]

    def state(self) -> dict[str, Any]:
        """See `Tokeniser.state`."""
        return {"kind": self.kind, "characters": self.characters}


class Bytes(Tokeniser):
    """One token for each byte of UTF-8: it spells every text and learns nothing.

    Example:
        >>> Bytes().encode(["é"])[0].tolist()
        [195, 169]
    """

    kind = "bytes"

    @property
    def size(self) -> int:
        """256."""
        return 256

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """See `Tokeniser.encode`."""
        datas = (text.encode("utf-8", "replace") for text in texts)
        return [np.frombuffer(data, dtype=np.uint8).astype(np.int64) for data in datas]

    def decode(self, ids: Ids) -> str:
        """See `Tokeniser.decode`."""
        return ids.astype(np.uint8).tobytes().decode("utf-8", "replace")

    def lost(self, text: str) -> int:
        """None."""
        return 0

    def spelled(self) -> list[bytes]:
        """See `Tokeniser.spelled`."""
        return [bytes([byte]) for byte in range(256)]

    def state(self) -> dict[str, Any]:
        """See `Tokeniser.state`."""
        return {"kind": self.kind}


class Subwords(Tokeniser):
    """A tokeniser of the `tokenizers` library.

    Args:
        data: what a tokenizer.json holds.

    Raises:
        DataError: it is no tokenizer.json.
    """

    kind = "subwords"
    reach = 8

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        try:
            self._tokenizer = spelling.library().Tokenizer.from_str(json.dumps(data))
        except LikewiseError:
            raise
        except Exception as error:  # the library raises Exception itself
            raise DataError(f"this is no tokenizer.json that can be read ({error}).") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._size = max(self._tokenizer.get_vocab(True).values(), default=-1) + 1

    @property
    def size(self) -> int:
        """The largest number of a token, and one."""
        return int(self._size)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """See `Tokeniser.encode`."""
        return _encoded(self._tokenizer, texts)

    def encode_said(self, texts: Sequence[str]) -> list[Ids]:
        """See `Tokeniser.encode_said`."""
        return _encoded(self._uncontrolled, texts)

    def decode(self, ids: Ids) -> str:
        """See `Tokeniser.decode`."""
        text: str = self._tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        return text

    def lost(self, text: str) -> int:
        """See `Tokeniser.lost`; a byte-level tokeniser is known to lose none without a look."""
        if spelling.stays(text, self._form):
            return 0
        (ids,) = self.encode([text])
        if self.decode(ids) == text:
            return 0
        back = self.decode(ids[ids != self._unknown])
        return (Counter(text) - Counter(back)).total()

    def lacks(self, character: str) -> bool:
        """See `Tokeniser.lacks`; a space may be one that a text begins with, which is not told."""
        (ids,) = self.encode([character])
        if self._unknown in ids or not len(ids):
            return True
        return bool(character.strip()) and not self.decode(ids).strip()

    @cached_property
    def _uncontrolled(self) -> Any:
        """The same tokeniser, to which the names of its special tokens are texts as any other."""
        plain = spelling.library().Tokenizer.from_str(self._tokenizer.to_str())
        plain.encode_special_tokens = True
        return plain

    @cached_property
    def _form(self) -> str:
        return spelling.form(self.data, self._tokenizer.get_vocab(True))

    @cached_property
    def _unknown(self) -> int:
        """The token for what there is none for, -1 if there is no such token."""
        model = self.data.get("model") or {}
        number = model.get("unk_id")
        if number is None and model.get("unk_token") is not None:
            number = self._tokenizer.token_to_id(model["unk_token"])
        return -1 if number is None else int(number)

    def spelled(self) -> list[bytes]:
        """See `Tokeniser.spelled`; special tokens and the one for the unknown are no text."""
        kinds = spelling.kinds(self.data.get("decoder") or {})
        letters = spelling.letters() if "ByteLevel" in kinds else {}
        silent = spelling.silent(self.data)
        before = self._plain()
        found = [b""] * self.size
        for piece, number in self._tokenizer.get_vocab(True).items():
            byte = _BYTE.fullmatch(piece) if "ByteFallback" in kinds else None
            if number in silent or piece in silent:
                continue
            if byte:
                found[number] = bytes.fromhex(byte[1])
            elif letters and all(letter in letters for letter in piece):
                found[number] = bytes(letters[letter] for letter in piece)
            else:
                found[number] = self._after(before, number).encode("utf-8", "replace")
        return found

    def _plain(self) -> list[int]:
        """A token of plain letters, if there is one: what comes after it is mid-text."""
        for number in range(self.size):
            text = self._after([], number)
            if text.isascii() and text.isalpha():
                return [number]
        return []

    def _after(self, before: list[int], number: int) -> str:
        """What a token adds to the text of those before it."""
        text = self.decode(np.array([*before, number], dtype=np.int64))
        return text[len(self.decode(np.array(before, dtype=np.int64))) :]

    def state(self) -> dict[str, Any]:
        """See `Tokeniser.state`."""
        return {"kind": self.kind, "tokenizer": self.data}


def _encoded(tokenizer: Any, texts: Sequence[str]) -> list[Ids]:
    """The tokens of each text by the library."""
    # On one thread: threads of the library and forks of a process do not go together.
    encode = tokenizer.encode
    return [np.array(encode(t, add_special_tokens=False).ids, dtype=np.int64) for t in texts]


def tokeniser_from(state: Mapping[str, Any]) -> Tokeniser:
    """A tokeniser out of plain data.

    Raises:
        StoreError: it is none.

    Example:
        >>> tokeniser_from({"kind": "characters", "characters": "ab"}).size
        2
    """
    try:
        if state["kind"] == Characters.kind:
            return Characters(state["characters"])
        if state["kind"] == Bytes.kind:
            return Bytes()
        if state["kind"] == Subwords.kind:
            return Subwords(state["tokenizer"])
    except (KeyError, TypeError, DataError) as error:
        raise StoreError(f"this is not the state of a tokeniser ({error}).") from error
    raise StoreError(must("a tokeniser", "characters, bytes or subwords", state["kind"]))


def learn(kind: str, texts: Iterable[str], size: int, vocabulary: int | None) -> Tokeniser:
    """A tokeniser of some kind, learned on texts.

    Args:
        kind: "characters", "bytes", "bpe", "unigram", or the path of a tokenizer.json.
        texts: of train.
        size: the bytes of all texts.
        vocabulary: how many tokens, or None for 4,096, fewer where the text is small.

    Raises:
        DataError: a tokenizer.json cannot be read.
        LikewiseError: the tokenizers library is missing.
    """
    if kind == "characters":
        return Characters("".join(sorted({one for text in texts for one in set(text)})))
    if kind == "bytes":
        return Bytes()
    if kind in ("bpe", "unigram"):
        wanted = vocabulary or min(VOCABULARY, 256 + max(1, size // PER_TOKEN))
        return Subwords(_trained(kind, texts, wanted))
    try:
        return Subwords(read_json(Path(kind).expanduser()))
    except StoreError as error:
        raise DataError(f"the tokeniser cannot be read: {error}") from error


def check_fit(tokeniser: Tokeniser, texts: Iterable[str]) -> None:
    """DataError, with an example, if a tokeniser loses something of a text."""
    for text in texts:
        back = tokeniser.decode(tokeniser.encode([text])[0])
        if back != text:
            pairs = enumerate(zip(text, back, strict=False))
            place = next((i for i, (a, b) in pairs if a != b), min(len(text), len(back)))
            low = max(0, place - 10)
            raise DataError(
                f"the tokeniser must give every text back; {text[low : low + SHOWN]!r} came back "
                f"as {back[low : low + SHOWN]!r}. Take one that keeps all text, such as a "
                "byte-level one, or tokenizer=bpe."
            )


def _codes(text: str) -> Ids:
    """(n,) the code points of a text."""
    data = text.encode("utf-32-le", "surrogatepass")
    return np.frombuffer(data, dtype="<u4").astype(np.int64)


def _trained(kind: str, texts: Iterable[str], vocabulary: int) -> dict[str, Any]:
    """What the tokenizer.json of a trained, byte-level tokeniser holds."""
    library = spelling.library()
    byte_level = library.pre_tokenizers.ByteLevel
    options = {
        "vocab_size": vocabulary,
        "initial_alphabet": sorted(byte_level.alphabet()),
        "show_progress": False,
    }
    if kind == "bpe":
        tokenizer = library.Tokenizer(library.models.BPE())
        trainer = library.trainers.BpeTrainer(**options)
    else:
        tokenizer = library.Tokenizer(library.models.Unigram())
        trainer = library.trainers.UnigramTrainer(**options)
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = library.decoders.ByteLevel()
    met: set[str] = set()
    tokenizer.train_from_iterator(_noted(texts, met), trainer)
    data: dict[str, Any] = json.loads(tokenizer.to_str())
    if kind == "unigram":
        spelled = byte_level(add_prefix_space=False).pre_tokenize_str("".join(sorted(met)))
        known = {letter for piece, _ in spelled for letter in piece}
        data["model"]["vocab"] = _settled(data["model"]["vocab"], known)
    return data


def _noted(texts: Iterable[str], met: set[str]) -> Iterable[str]:
    for text in texts:
        met.update(text)
        yield text


def _settled(vocabulary: list[list[Any]], met: set[str]) -> list[list[Any]]:
    """A unigram's pieces in an order and with scores that do not depend on the order of sums.

    The library orders bytes that it never met, and sums, by hashes of the process.
    """
    scores = {piece: round(score, DIGITS) for piece, score in vocabulary}
    unmet = {piece for piece in scores if len(piece) == 1 and piece not in met}
    least = min((score for piece, score in scores.items() if piece not in unmet), default=0.0)
    scores |= dict.fromkeys(unmet, least - UNMET)
    return [[piece, scores[piece]] for piece in sorted(scores, key=lambda p: (-scores[p], p))]
