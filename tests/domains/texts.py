"""Small texts and what tests of the text domain do with them."""

import json

import numpy as np
import torch

from likewise.core.rng import Draws
from likewise.domains.text import Text


def story(n=40, seed=0, words=("one", "two", "sea", "sun", "été", "day")):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(words, 30)) + f" {i}." for i in range(n)]


def long_text(n=4000, seed=0):
    draw = np.random.default_rng(seed)
    return " ".join("".join(draw.choice(list("abcdeé "), 7)) for _ in range(n))


def chats(n=30, turns=6):
    draw = np.random.default_rng(1)
    talk = [" ".join(draw.choice(["yes", "no", "why", "well"], 6)) for _ in range(n * turns)]
    return [
        [
            {"role": ("user", "assistant")[j % 2], "content": talk[i * turns + j]}
            for j in range(turns)
        ]
        for i in range(n)
    ]


def load_chats(tmp_path, **options):
    path = tmp_path / "chat.jsonl"
    rows = (json.dumps({"messages": messages}) for messages in chats())
    path.write_text("\n".join(rows))
    return Text.load(str(path), **options)


def load_long(tmp_path, **options):
    path = tmp_path / "long.txt"
    path.write_text(long_text(), encoding="utf-8")
    return Text.load(path, **options)


def fitted(records):
    domain = Text()
    domain.fit(records)
    return domain


def every(source, seed=0):
    return source.batch(torch.arange(len(source)), Draws(seed))


def real(row, pad):
    return row[row != pad].tolist()
