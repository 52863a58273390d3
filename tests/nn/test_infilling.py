"""Rows of which any token may be hidden: who sees whom, documents, random orders."""

import torch

from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.nn.infilling import ranks, right_aligned, sight, spans, spread

END, PAD = 3, 4
WORDS = Sequence(length=8, tokens=5, end=END, pad=PAD)
PACKED = Sequence(length=8, tokens=5, end=END, pad=PAD, packed=True)


def test_who_sees_whom():
    before, lengths = torch.tensor([[PAD, 0]]), torch.tensor([1])
    x = torch.tensor([[1, END, 2, PAD]])
    seen = sight(before, lengths, x, PACKED)[0, 0].long().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],  # the filling sees itself alone
        [0, 1, 0, 0, 0, 0],  # the prompt does not see x
        [0, 1, 1, 1, 0, 0],  # a token: the prompt, its document and the end of that
        [0, 0, 0, 1, 0, 0],  # the end: itself
        [0, 0, 0, 1, 1, 0],  # the next token: the end that opens its document
        [0, 0, 0, 0, 0, 1],
    ]
    ended = sight(torch.tensor([[0, END]]), torch.tensor([2]), x, PACKED)[0, 0]
    assert ended[2].tolist() == [False, True, True, True, False, False]
    assert sight(torch.tensor([[0, END]]), torch.tensor([2]), x, WORDS)[0, 0, 2, 0]


def test_spans_agree_with_a_plain_loop():
    x = Draws(0).integers(5, 40, 7)
    found = spans(x, PACKED)
    for r, tokens in enumerate(x.tolist()):
        for column in range(8):
            opens = column == 0 or tokens[column - 1] in (END, PAD)
            assert bool(found.opens[r, column]) == opens
            size = next((k for k, t in enumerate(tokens[column:]) if t in (END, PAD)), 7 - column)
            assert int(found.sizes[r, column]) == size
            after = tokens[column + size] if column + size < 7 else None
            assert bool(found.closed[r, column]) == (after == END)


def test_ranks_are_a_random_order_of_those_asked_for():
    among = Draws(1).uniform(500, 6) < 0.6
    order = ranks(among, Draws(0))
    for some, rank in zip(among, order, strict=True):
        assert sorted(rank[some].tolist()) == list(range(int(some.sum())))
    whole = ranks(torch.ones(6000, 3).bool(), Draws(2))
    shares = torch.unique(whole, dim=0, return_counts=True)[1] / 6000
    assert len(shares) == 6
    assert ((shares - 1 / 6).abs() < 0.02).all()


def test_spread_numbers_are_even_and_those_of_their_samples():
    rng = Draws(3)
    numbers = spread(100, rng)
    assert torch.equal(spread(40, Draws(3, 60)), numbers[60:])
    assert torch.histc(numbers.float(), 10, 0, 1).min() >= 9
    firsts = torch.stack([spread(1, Draws(seed))[0] for seed in range(400)])
    assert torch.histc(firsts.float(), 4, 0, 1).min() > 70
    assert right_aligned(torch.tensor([[1, 2]]), torch.tensor([2]), 9).tolist() == [[1, 2]]
