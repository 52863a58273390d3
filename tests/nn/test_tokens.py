"""How rows are read: what stands before x, then x, each token predicted from those before it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from likewise.core.condition import Tokens
from likewise.core.space import Sequence, space_from_json, space_to_json
from likewise.nn.tokens import UNBOUNDED, cut, documents, prefixes, reading, texts

SPACE = Sequence(length=6, tokens=8, end=6, pad=7)
PACKED = Sequence(length=6, tokens=8, end=6, pad=7, packed=True)
PROMPT = Tokens(name="prompt", length=4, tokens=8, pad=7)
SOURCE = Tokens(name="source", length=3, tokens=8, pad=7)
BOTH = (PROMPT, SOURCE)


def told(**parts):
    return {
        name: (torch.tensor(rows), torch.tensor([bool(row) for row in present]))
        for name, (rows, present) in parts.items()
    }


def test_the_prompt_is_read_last():
    assert [c.name for c in texts(BOTH)] == ["source", "prompt"]


def test_what_stands_before_is_joined_without_filling():
    c = told(
        source=([[1, 2, 7], [3, 7, 7], [1, 1, 1]], [1, 1, 0]),
        prompt=([[4, 5, 7, 7], [4, 7, 7, 7], [5, 5, 5, 7]], [1, 0, 1]),
    )
    rows, lengths = prefixes(SPACE, BOTH, c, 3, torch.device("cpu"))
    found = [row[:n].tolist() for row, n in zip(rows, lengths.tolist(), strict=True)]
    assert found == [[1, 2, 4, 5], [3, 7], [5, 5, 5]]


def test_nothing_known_is_the_padding_alone():
    rows, lengths = prefixes(SPACE, BOTH, None, 2, torch.device("cpu"))
    assert rows.tolist() == [[7], [7]]
    assert lengths.tolist() == [1, 1]


def test_a_row_is_read_in_order_and_only_x_is_scored():
    x = torch.tensor([[0, 1, 6, 7, 7, 7], [2, 3, 0, 1, 2, 3]])
    c = told(prompt=([[4, 5, 7, 7], [4, 7, 7, 7]], [1, 0]))
    read = reading(SPACE, BOTH, x, c)
    assert read.inputs[0, :4].tolist() == [4, 5, 0, 1]
    assert read.targets[0][read.scored[0]].tolist() == [0, 1, 6]
    assert read.inputs[1, 0] == 7
    assert read.targets[1][read.scored[1]].tolist() == [2, 3, 0, 1, 2, 3]


def test_packed_rows_count_all_documents_and_scored_says_which_tokens():
    x = torch.tensor([[0, 6, 1, 2, 6, 3]])
    assert reading(PACKED, BOTH, x, None).scored.sum() == 6
    c = {"scored": (x == 6, torch.ones(1, dtype=torch.bool))}
    read = reading(PACKED, BOTH, x, c)
    assert read.targets[read.scored].tolist() == [6, 6]
    absent = {"scored": (x == 6, torch.zeros(1, dtype=torch.bool))}
    assert reading(PACKED, BOTH, x, absent).scored.sum() == 6


def test_long_prompts_lose_their_beginning():
    x = torch.tensor([[0, 1, 2, 3, 4, 5]])
    read = reading(SPACE, (PROMPT,), x, told(prompt=([[1, 2, 3, 4]], [1])))
    assert read.inputs.shape[1] <= SPACE.length + 1
    assert read.inputs[0, :2].tolist() == [3, 4]


def test_a_source_takes_no_room_from_x():
    x = torch.tensor([[0, 1, 2, 3, 4, 5]])
    c = told(source=([[1, 2, 3]], [1]), prompt=([[4, 5, 7, 7]], [1]))
    assert reading(SPACE, BOTH, x, c).inputs[0].tolist() == [1, 2, 3, 4, 5, 0, 1, 2, 3, 4]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 6))
def test_cutting_keeps_the_last_tokens(sizes, most):
    width = max(sizes)
    rows = torch.full((len(sizes), width), 7)
    for row, size in zip(rows, sizes, strict=True):
        row[:size] = torch.arange(size)
    kept, lengths = cut(rows, torch.tensor(sizes), torch.full((len(sizes),), most))
    for row, n, before, size in zip(kept, lengths.tolist(), rows, sizes, strict=True):
        assert n == min(size, max(1, most))
        assert row[:n].tolist() == before[size - n : size].tolist()


def filled(rows, width):
    return torch.tensor([row + [7] * (width - len(row)) for row in rows])


TEXT = st.lists(st.integers(0, 5), max_size=12)


@given(st.lists(st.tuples(TEXT.map(lambda text: text[:6]), TEXT), min_size=1, max_size=4))
def test_a_row_is_read_whole_after_the_latest_of_its_prompt_whatever_rows_it_is_with(pairs):
    closed = [[*x, 6] if len(x) < 6 else x for x, _ in pairs]
    told = [prompt for _, prompt in pairs]
    values = filled(told, max(1, *map(len, told)))
    c = {"prompt": (values, torch.tensor([bool(prompt) for prompt in told]))}
    read = reading(SPACE, (PROMPT,), filled(closed, 6), c)
    for row, (x, prompt) in enumerate(zip(closed, told, strict=True)):
        left = SPACE.length + 2 - len(x)
        whole = (prompt or [7])[-left:] + x
        size = len(whole) - 1
        assert read.inputs[row, :size].tolist() == whole[:-1]
        assert read.targets[row, :size].tolist() == whole[1:]
        scored = [False] * (size - len(x)) + [True] * len(x)
        assert read.scored[row].tolist() == scored + [False] * (read.scored.shape[1] - size)


def test_with_room_for_all_no_prompt_is_cut():
    x, c = torch.tensor([[0, 1, 2, 3, 4, 5]]), told(prompt=([[1, 2, 3, 4]], [1]))
    whole = [1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert reading(SPACE, (PROMPT,), x, c, room=UNBOUNDED).inputs[0].tolist() == whole
    assert reading(SPACE, (PROMPT,), x, c, room=8).inputs[0].tolist() == whole[1:]


def test_the_unknown_is_kept_and_may_be_missing_from_what_was_stored():
    marked = Sequence(length=6, tokens=8, end=6, pad=7, unknown=5)
    stored = space_to_json(marked)
    assert space_from_json(stored).unknown == 5
    del stored["unknown"]
    old = space_from_json(stored)
    assert old.unknown is None
    assert old == marked == SPACE, "they hold the same rows"
    assert marked != Sequence(length=6, tokens=9, end=6, pad=7, unknown=5)


def test_an_end_begins_the_next_document():
    assert documents(torch.tensor([[6, 1, 6, 2]]), 6).tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize("space", [SPACE, PACKED], ids=["plain", "packed"])
def test_masks(space):
    x = torch.tensor([[0, 6, 7, 7, 7, 7], [1, 2, 7, 7, 7, 7], [0, 1, 2, 3, 4, 5]])
    space.check(x)
    assert space.mask(x).sum(dim=1).tolist() == [2, 2, 6]
