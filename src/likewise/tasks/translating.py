"""Translating: from one text to another, as pairs of texts were given in training.

Any pairs will do: sentences in two languages, texts and their summaries, dates in two spellings.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from likewise.core.condition import Batch, take
from likewise.core.contract import Controls
from likewise.core.errors import UsageError, must
from likewise.core.space import Sequence as SequenceSpace
from likewise.nn.decoding import Readable, Reader
from likewise.nn.decoding import beams as search
from likewise.nn.tokens import prefixes
from likewise.store.model import Model
from likewise.tasks.codec import Codec, codec_of, never
from likewise.tasks.searching import check_width

SOURCE = "source"  # the condition that is translated
WIDTH = 4


def translate(
    model: Model,
    sources: Sequence[str],
    *,
    beams: int = WIDTH,
    controls: Controls = Controls(),
    seed: int = 0,
) -> list[str]:
    """What sources become, one text for each.

    Args:
        model: trained on pairs of texts (rows with `source` and `target`).
        sources: what is to be translated, each 1 token at least.
        beams: of a search for the likeliest text, whose log-probability is divided by its
            number of tokens (Wu et al., 2016); 1 for a draw, which any family can make.
        controls: temperature and the like of draws.
        seed: of draws; source i draws as sample i.

    Raises:
        UsageError: the model was not trained on pairs or cannot search, or a source is empty, too
            long, or has characters that there is no token for.
    """
    codec = codec_of(model)
    _check(model, sources, beams, controls)
    where = {SOURCE: list(sources), "prompt": [""] * len(sources)}  # at a document's beginning
    if not sources:
        return []
    if beams == 1:
        return list(model.sample(len(sources), where, seed=seed, controls=controls).items)
    c = model.conditions(len(sources), where, seed=seed)
    model.family.eval()
    rows = [take(c, slice(row, row + 1)) for row in range(len(sources))]
    return [codec.text(_likeliest(model, codec, told, beams)) for told in rows]


def _check(model: Model, sources: Sequence[str], width: int, controls: Controls) -> None:
    """Raise UsageError unless a model can translate these so."""
    if all(condition.name != SOURCE for condition in model.family.conditions):
        raise UsageError(
            f"{model.name} was not trained on pairs of texts, so it has nothing to translate by. "
            'Train one on rows with a source and a target: JSONL with "source" and "target".'
        )
    check_width(width, controls)
    if width > 1 and not hasattr(model.family, "reader"):
        raise UsageError(
            f"{model.name} does not write from left to right, so it cannot search with beams. "
            "Take 1 beam, which is a draw, or a family that does, such as transformer."
        )
    for source in sources:
        if not source.strip():
            raise UsageError(must("a source", "a text", source))


@torch.no_grad()
def _likeliest(model: Model, codec: Codec, c: Batch, width: int) -> list[int]:
    """The tokens of the likeliest text under the conditions c of one row, without its end."""
    family, space = model.family, model.family.space
    assert isinstance(space, SequenceSpace)
    rows, lengths = prefixes(space, family.conditions, c, 1, family.device)
    row: Tensor = rows[0, : int(lengths[0])]
    reader = cast(Readable[Reader], family).reader(c, 1)
    (tokens, _), *_ = search(
        reader,
        row,
        width=width,
        most=space.length,
        end=space.end,
        never=never(codec),
        over=space.over,
    )
    return [token for token in tokens if token not in (codec.end, codec.pad, *space.over)]
