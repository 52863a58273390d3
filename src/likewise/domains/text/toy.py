"""A small generated corpus: stories of a little grammar, enough to learn from quickly."""

from dataclasses import replace

import numpy as np

from likewise.core.records import Records
from likewise.core.rng import fold
from likewise.domains.text import read

COUNT = 300
WHO = ("the cat", "a dog", "the old man", "a child", "the queen", "my sister", "the baker")
DOES = ("sees", "likes", "follows", "calls", "helps", "hears")
WHOM = ("the moon", "a red boat", "the river", "a loaf of bread", "the garden", "a small bird")
WHERE = ("by the sea", "in the town", "under a tree", "at night", "on the hill")


def toy(seed: int = 0) -> Records:
    """300 stories of two to five sentences; equal seeds give equal stories."""
    draw = np.random.default_rng(fold(seed, "text", "toy"))

    def one(words: tuple[str, ...]) -> str:
        return words[int(draw.integers(len(words)))]

    def sentence() -> str:
        words = [one(WHO), one(DOES), one(WHOM)]
        if draw.random() < 0.5:
            words.append(one(WHERE))
        return " ".join(words).capitalize() + "."

    texts = [" ".join(sentence() for _ in range(draw.integers(2, 6))) for _ in range(COUNT)]
    return replace(read.load(texts, {}), origin="toy")
