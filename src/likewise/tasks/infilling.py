"""Infilling: gaps in texts, filled by a model that sees what stands on both sides of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likewise.core.errors import UsageError, must
from likewise.core.rng import Draws, fold
from likewise.core.space import Sequence as SequenceSpace
from likewise.store.model import Model
from likewise.tasks.codec import Codec, codec_of, prompt_tokens

GAP = re.compile(r"\[\[([0-9]*)\]\]")
BATCH = 64  # texts that are filled at one time
SHOWN = 40  # characters of a text in an error


@dataclass(frozen=True)
class _Gapped:
    """A text with gaps.

    Attributes:
        tokens: of it, None for each place of a gap.
        open: where a gap stands whose size is drawn, or None.
        whole: whether it is a document from its beginning to its end, or a piece of one.
    """

    tokens: list[int | None]
    open: int | None
    whole: bool


def infill(model: Model, texts: Sequence[str], *, seed: int = 0) -> list[str]:
    """Texts with their gaps filled, one for each.

    A gap of 5 tokens is written `[[5]]`; tokens are characters, bytes or pieces of words, as the
    model has them. What is filled in fits what stands before and behind it. A text may have many
    gaps. Where a model was trained on whole documents, the text is taken for one, from its
    beginning to its end, and one gap may be `[[]]`: the model draws how long the document is,
    without looking at its words. Where it was trained on pieces of long texts, the text is taken
    for such a piece, and in a gap at its very end the model may end it early.

    Tokens are drawn as likely as the model finds them; no temperature and the like shapes them.

    Args:
        model: of texts, of a family that completes what is given of them, such as `masked`.
        texts: each with a gap.
        seed: of the draws; text i draws as sample i, whatever the others are.

    Raises:
        UsageError: the model cannot, or a text has no gap, is too long with its gaps, or has
            characters that there is no token for.
    """
    codec, space = codec_of(model), _space(model)
    read = [_read(model, codec, text, space.length) for text in texts]
    filled: list[str] = []
    model.family.eval()
    for first in range(0, len(read), BATCH):
        some = read[first : first + BATCH]
        some = _sized(model, codec, some, _draws(model, seed, "sizes").shifted(first))
        x = _completed(model, codec, some, _draws(model, seed, "tokens").shifted(first))
        rows = zip(x.tolist(), some, strict=True)
        filled += [codec.text(_said(row[: len(one.tokens)], codec)) for row, one in rows]
    return filled


def _draws(model: Model, seed: int, purpose: str) -> Draws:
    return Draws(fold(seed, "infill", purpose), 0, model.family.device)


def _space(model: Model) -> SequenceSpace:
    """The Space of a model that fills gaps; UsageError if it cannot."""
    space = model.family.space
    if not isinstance(space, SequenceSpace) or not model.family.claims.completion:
        raise UsageError(
            f"{model.name} cannot fill gaps, for it does not see what stands behind them. Take a "
            "family that does, such as masked."
        )
    return space


def _read(model: Model, codec: Codec, text: str, length: int) -> _Gapped:
    """A text as tokens; UsageError if it cannot be filled."""
    known, sizes = GAP.split(text)[::2], GAP.split(text)[1::2]
    if not sizes:
        example = "Write [[5]] where 5 tokens are to be filled in."
        raise UsageError(must("a text", "one with a gap", text[:SHOWN], example))
    tokens: list[int | None] = [*codec.encode(known[0])]
    opens = []
    for size, part in zip(sizes, known[1:], strict=True):
        count = int(size[:9]) if size else 0  # more digits are too many of them as well
        if size and not 1 <= count < length:
            be = f"of 1 to {length - 1} tokens, for the context of this model"
            raise UsageError(must("a gap", be, f"[[{size[:9]}]]"))
        opens += [len(tokens)] if not size else []
        tokens += [*([None] * count), *codec.encode(part)]
    if len(tokens) >= length:
        be = f"of at most {length - 1} tokens, its gaps among them"
        raise UsageError(must("a text", be, len(tokens), "Leave out its beginning or its end."))
    plain = "".join(known)
    whole = prompt_tokens(model, [plain]) != [codec.encode(plain)]  # a document's begin is read
    _check_open(opens, whole)
    return _Gapped(tokens, opens[0] if opens else None, whole)


def _check_open(opens: list[int], whole: bool) -> None:
    if len(opens) > 1:
        raise UsageError(must("gaps without a size", "one in a text", len(opens), "Write [[5]]."))
    if opens and not whole:
        raise UsageError(
            "[[]] needs a model of whole documents, and this one was trained on pieces of long "
            "texts, which are as long as there is room. Write how many tokens: [[5]]."
        )


def _sized(model: Model, codec: Codec, texts: list[_Gapped], rng: Draws) -> list[_Gapped]:
    """Texts whose gaps all have a size: how long a document is, is drawn with all tokens in front.

    A document that comes out as long as the context has no place for its end, and loses one.
    """
    if all(text.open is None for text in texts):
        return texts
    x = _completed(model, codec, texts, rng, go_on=True)
    sized = []
    for row, text in zip(x.tolist(), texts, strict=True):
        if text.open is not None:
            size = min(len(_said(row, codec)), len(row) - 1)
            gap = [None] * (size - len(text.tokens))
            tokens = [*text.tokens[: text.open], *gap, *text.tokens[text.open :]]
            text = replace(text, tokens=tokens)
        sized.append(text)
    return sized


def _completed(
    model: Model, codec: Codec, texts: list[_Gapped], rng: Draws, *, go_on: bool = False
) -> Tensor:
    """(n, length) rows without unknown places; `go_on` says that texts may be longer."""
    space = model.family.space
    assert isinstance(space, SequenceSpace)
    n = len(texts)
    x = torch.full((n, space.length), codec.pad)
    known = torch.ones(n, space.length, dtype=torch.bool)
    for row, text in enumerate(texts):
        size = len(text.tokens)
        x[row, :size] = torch.tensor([codec.pad if t is None else t for t in text.tokens])
        known[row, :size] = torch.tensor([token is not None for token in text.tokens])
        if go_on or (not text.whole and text.tokens[-1:] == [None]):
            known[row, size:] = False  # a piece goes on: what is in the last gap need not end it
        elif text.whole:
            x[row, size] = codec.end
    begin, _ = model.domain.condition({"prompt": [""] * n}, n)["prompt"]
    c = {"prompt": (begin, torch.tensor([text.whole for text in texts]))}
    device = model.family.device
    return model.family.complete(x.to(device), known.to(device), c, rng=rng).cpu()


def _said(row: list[int], codec: Codec) -> list[int]:
    """The tokens of a row up to its first end or padding."""
    over = (place for place, token in enumerate(row) if token in (codec.end, codec.pad))
    return row[: next(over, len(row))]
