"""What tasks on texts need of a domain, beyond `Domain`."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from likewise.core.errors import UsageError
from likewise.store.model import Model

BROKEN = "\ufffd"  # what cannot be decoded
UNSPELLED = "token_id:"  # before the number of a token that is no whole text


@runtime_checkable
class Codec(Protocol):
    """Plain texts to tokens and back.

    Attributes:
        roles: {"system": token, "user": token, "assistant": token}, which open the turns of a
            dialogue; empty where the model was not trained on dialogues.
        end: the token that closes a document.
        pad: the token that fills up.
    """

    @property
    def roles(self) -> Mapping[str, int]:
        """The tokens that open turns."""
        ...

    @property
    def end(self) -> int:
        """The token that closes a document."""
        ...

    @property
    def pad(self) -> int:
        """The token that fills up."""
        ...

    def encode(self, text: str) -> list[int]:
        """The tokens of a plain text alone: nothing before it, and no token of a role in it.

        Raises:
            UsageError: it has characters that there is no token for.
        """
        ...

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, no end or padding among them; broken bytes become U+FFFD."""
        ...

    def spelled(self) -> list[bytes]:
        """What each token adds to a text, as UTF-8; nothing if it is a role, the end etc."""
        ...


def codec_of(model: Model) -> Codec:
    """The codec of a model of texts.

    Raises:
        UsageError: it is a model of something else.
    """
    domain = model.domain
    if not isinstance(domain, Codec):
        raise UsageError(
            f"{model.name} is a model of {domain.name}, and this needs a model of texts: "
            "train one on text files, or on strings."
        )
    return domain


_SPELLED: "WeakKeyDictionary[Codec, list[bytes]]" = WeakKeyDictionary()


def spelled(codec: Codec) -> list[bytes]:
    """What each token adds to a text; asked of a codec once."""
    if codec not in _SPELLED:
        _SPELLED[codec] = codec.spelled()
    return _SPELLED[codec]


def unknown(codec: Codec) -> list[int]:
    """The tokens that stand for characters without one: they are read, and never written."""
    known = {codec.end, codec.pad, *codec.roles.values()}
    empty = (token for token, data in enumerate(spelled(codec)) if not data)
    return [token for token in empty if token not in known and codec.text([token]) == BROKEN]


def never(codec: Codec) -> int | None:
    """The one of `unknown` that drafts and beams must be told of; None if there is none."""
    return next(iter(unknown(codec)), None)


def word_of(codec: Codec, token: int) -> str:
    """A token as it reads in a text; by its number where it is no whole text."""
    try:
        return spelled(codec)[token].decode() or f"{UNSPELLED}{token}"
    except UnicodeDecodeError:
        return f"{UNSPELLED}{token}"


def prompt_tokens(model: Model, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of prompts, as the model's domain reads them.

    Args:
        model: of texts.
        texts: what is to be continued; "" is the beginning of a document.

    Raises:
        UsageError: one is too long, or has characters that there is no token for; or the model
            is not one of texts.
    """
    pad = codec_of(model).pad
    values, _ = model.domain.condition({"prompt": list(texts)}, len(texts))["prompt"]
    return [[token for token in row if token != pad] for row in values.tolist()]
