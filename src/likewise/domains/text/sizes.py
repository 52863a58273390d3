"""How large texts are: what their likelihood is divided by."""

import math

import torch

from likewise.core.contract import Sizes
from likewise.domains.text.corpus import Passages
from likewise.domains.text.vocabulary import Vocabulary

OUTSIDE = math.log(0x110000)
"""Nats for a character that the tokens cannot spell: one of all of Unicode's."""


def sizes_of(passages: Passages, words: Vocabulary) -> Sizes:
    """Bytes and characters of passages, what closes them among them, and nats for what is lost."""
    ends = torch.from_numpy(passages.closes).double()
    size = torch.from_numpy(passages.bytes()).double() + ends
    counts, lost = [], []
    for text in passages:
        counts.append(len(text))
        lost.append(words.lost(text) * OUTSIDE)
    characters = torch.tensor(counts, dtype=torch.float64) + ends
    units = {"byte": size, "character": characters}
    return Sizes(units=units, outside=torch.tensor(lost, dtype=torch.float64))
