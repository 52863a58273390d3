"""What a person asks for, as tokens: prompts, sources, messages of a dialogue."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from likewise.core.errors import DataError, LengthError, UsageError, must
from likewise.domains.text import roles
from likewise.domains.text.tokenise import Ids
from likewise.domains.text.vocabulary import Vocabulary

PROMPT = "prompt"


def one_each(value: Any, n: int, name: str) -> list[Any]:
    """A value for each of n examples, out of one value or a list of n.

    Raises:
        UsageError: the list is of another length.

    Example:
        >>> one_each("a", 2, "prompt"), one_each(["a", None], 2, "prompt")
        (['a', 'a'], ['a', None])
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    many = isinstance(value, (list, tuple))
    if not many or (value and all(isinstance(one, Mapping) for one in value)):
        return [value] * n
    if len(value) != n:
        raise UsageError(must(f"a list of {name}s", f"of {n}, one for each example", len(value)))
    return list(value)


def tokens(
    values: Sequence[Any], name: str, most: int, vocabulary: Vocabulary, begins: bool
) -> list[Ids]:
    """The tokens of texts or messages; an empty prompt is the end of the document before.

    Args:
        values: texts, messages, or None.
        name: of the condition, as errors call it.
        most: tokens of one.
        vocabulary: of the codec.
        begins: whether a text stands at the beginning of a document.

    Raises:
        LengthError: one is too long.
        UsageError: one is no text, has half a character in it, or characters without a token.
    """
    texts = [_text(value, name, vocabulary) for value in values]
    for text in texts:
        refuse_broken(text, name)
    rows = []
    for text, ids in zip(texts, vocabulary.encode(texts), strict=True):
        if begins or (name == PROMPT and not len(ids)):
            ids = np.append(vocabulary.begin, ids)
        if len(ids) > most:
            remedy = "Leave out its beginning."
            raise LengthError(must(f"a {name}", f"of at most {most} tokens", len(ids), remedy))
        refuse_strange(text, name, vocabulary)
        rows.append(ids.astype(np.int64))
    return rows


def _text(value: Any, name: str, vocabulary: Vocabulary) -> str:
    """A value as text; messages up to where the assistant answers."""
    if value is None:
        return ""
    if isinstance(value, str):
        talks = bool(vocabulary.marks) and name == PROMPT and bool(value.strip())
        return roles.asked(value) if talks else value
    if not isinstance(value, (list, tuple)):
        raise UsageError(must(f"a {name}", "a text", value))
    if not vocabulary.marks:
        raise UsageError(
            must(f"a {name}", "a text: this model was not trained on dialogues", value)
        )
    try:
        return roles.answering(roles.dialogue(value))
    except DataError as error:
        raise UsageError(str(error)) from error


def texts_of(values: Tensor, present: Tensor, vocabulary: Vocabulary) -> tuple[str | None, ...]:
    """Prompts (n, p) as texts, None where `present` (n,) says that there is none."""
    found: list[str | None] = []
    for row, known in zip(values.cpu().numpy(), present.tolist(), strict=True):
        begun = len(row) > 0 and row[0] == vocabulary.begin
        found.append(vocabulary.decode(row[1:] if begun else row) if known else None)
    return tuple(found)


def refuse_broken(text: str, name: str) -> None:
    """UsageError if a text has half a character in it, as bytes that are no UTF-8 come in."""
    broken = next((place for place, one in enumerate(text) if "\ud800" <= one <= "\udfff"), None)
    if broken is not None:
        remedy = "Write it anew: a byte there is no UTF-8."
        raise UsageError(must(f"a {name}", "text", f"half a character at place {broken}", remedy))


def refuse_strange(text: str, name: str, vocabulary: Vocabulary) -> None:
    """UsageError, naming them, if a text has characters that there is no token for."""
    strange = vocabulary.strange(text)
    if strange:
        some = ", ".join(repr(one) for one in strange[:8])
        more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
        never = "the training texts never had"
        if vocabulary.unknown is None:
            never = "the tokenizer has no tokens for"
        raise UsageError(
            f"the {name} has characters that {never}: {some}{more}. Leave "
            "them out, or train with tokenizer=bytes or tokenizer=bpe, which can spell all."
        )
