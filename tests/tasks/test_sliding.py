"""Windows that slide: at any moment they are those of the stated rule, whatever was taken back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.nn.speculating import SPARE
from likewise.tasks.rows import filled
from likewise.tasks.sliding import Sliding, begin_of
from tests.serve.standin import PAD, standin

MODEL = standin(length=11, runs=3)
ROOM = 12


def stepwise(tokens, room):
    """The window by the rule itself: the latest half of a full one."""
    window = []
    for token in tokens:
        window.append(token)
        if len(window) == room:
            window = window[-(room // 2) :]
    return window


@given(room=st.integers(2, 40), tokens=st.integers(1, 200))
def test_where_a_window_begins_follows_from_how_many_tokens_there_are(room, tokens):
    text = list(range(tokens))
    assert text[begin_of(tokens, room) :] == stepwise(text, room)


def alone(text):
    """Logits after the window of a text, read without a cache."""
    return MODEL.family.logits(torch.tensor([stepwise(text, ROOM)]))[0, -1]


def check(logits, texts):
    for one, text in zip(logits, texts, strict=True):
        torch.testing.assert_close(one, alone(text), atol=2e-4, rtol=1e-4)


def letters(n, size, first):
    return torch.tensor(
        [[97 + (first + 7 * i + 3 * j) % 26 for j in range(size)] for i in range(n)]
    )


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    moves=st.lists(st.tuples(st.sampled_from("sefkj"), st.integers(1, 5)), max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_any_moves_leave_the_logits_of_the_windows(sizes, moves):
    """Steps, several at a time, taking back, some rows alone, others that join."""
    texts = [[97 + (i + j) % 26 for j in range(size)] for i, size in enumerate(sizes)]
    with torch.no_grad():
        reader = Sliding(MODEL, [{}] * len(texts), ROOM)
        check(reader.begin(*filled(texts, PAD, torch.device("cpu"))), texts)
        fresh = 0  # tokens of each row that may be taken back
        for number, (move, size) in enumerate(moves):
            n = len(texts)
            if move == "s":
                tokens = letters(n, 1, number)
                texts = [text + more for text, more in zip(texts, tokens.tolist(), strict=True)]
                check(reader.step(tokens[:, 0]), texts)
                fresh += 1
            elif move == "e":
                tokens = letters(n, size, number)
                logits = reader.extend(tokens)
                for k in range(size):
                    pairs = zip(texts, tokens.tolist(), strict=True)
                    check(logits[:, k], [text + more[: k + 1] for text, more in pairs])
                texts = [text + more for text, more in zip(texts, tokens.tolist(), strict=True)]
                fresh += size
            elif move == "f":
                counts = torch.tensor([min(fresh, size - i % 2, SPARE) for i in range(n)])
                reader.forget(counts)
                pairs = zip(texts, counts.tolist(), strict=True)
                texts = [text[: len(text) - count] for text, count in pairs]
                fresh = max(0, fresh - size)
            elif move == "k":
                rows = [size % n, 0] if n < 4 else [size % n]
                reader.keep(torch.tensor(rows))
                texts = [texts[row] for row in rows]
            elif len(texts) < 5:
                other = Sliding(MODEL, [{}], ROOM)
                more = letters(1, 3 * size, number).tolist()
                check(other.begin(*filled(more, PAD, torch.device("cpu"))), more)
                reader.join(other)
                texts, fresh = texts + more, 0
        tokens = letters(len(texts), 1, 5)
        texts = [text + more for text, more in zip(texts, tokens.tolist(), strict=True)]
        check(reader.step(tokens[:, 0]), texts)


@pytest.mark.parametrize("room", [2, 3, 5])
def test_the_smallest_rooms_slide_too(room):
    with torch.no_grad():
        reader = Sliding(MODEL, [{}], room)
        reader.begin(torch.tensor([[97]]), torch.tensor([1]))
        text = [97]
        for token in b"bcdefghij":
            text.append(token)
            logits = reader.step(torch.tensor([token]))
            wanted = MODEL.family.logits(torch.tensor([stepwise(text, room)]))[0, -1]
            torch.testing.assert_close(logits[0], wanted, atol=2e-4, rtol=1e-4)
