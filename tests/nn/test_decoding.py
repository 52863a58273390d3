"""Choosing tokens: filters against plain definitions, streams, beams against all continuations."""

import itertools
import math

import pytest
import torch

from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.nn.decoding import Growing, Seen, beams, choose, filled, filtered, generate, without

END = 3


class Table:
    """A reader whose next token depends on the last one alone."""

    def __init__(self, table):
        self.table = table

    def begin(self, rows, lengths):
        last = rows.gather(1, lengths[:, None] - 1)[:, 0]
        return self.step(last)

    def step(self, tokens):
        self.last = tokens
        return self.table[tokens]

    def keep(self, rows):
        self.last = self.last[rows]


@pytest.fixture
def table():
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(0))


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 5.0, 0.1]])


def allowed(controls):
    return [row.nonzero()[:, 0].tolist() for row in torch.isfinite(filtered(LOGITS, controls))]


def test_filters_keep_what_their_definitions_say():
    assert allowed(Controls(top_k=2)) == [[0, 1], [2, 3]]
    assert allowed(Controls(top_p=0.5)) == [[0], [2]]
    assert allowed(Controls(top_p=0.9)) == [[0, 1, 2], [2]]
    assert allowed(Controls(min_p=0.3)) == [[0, 1], [2]]
    assert allowed(Controls()) == [[0, 1, 2, 3]] * 2


def test_so_many_are_kept_among_ties():
    for logits in (torch.zeros(2, 6), torch.tensor([[1.0, 0.0, 0.0, 0.0, -1.0, -1.0]])):
        kept = torch.isfinite(filtered(logits, Controls(top_k=3))).sum(dim=1)
        assert kept.tolist() == [3] * len(logits)


def test_temperature_scales_the_logits():
    found = filtered(LOGITS, Controls(temperature=0.5))
    assert torch.allclose(found.softmax(dim=1), (LOGITS * 2).softmax(dim=1))


SMALLEST = [{"temperature": 1e-39}, {"temperature": 5e-324}, {"top_p": 1e-46}, {"top_p": 5e-324}]


@pytest.mark.parametrize("shape", [*SMALLEST, SMALLEST[0] | SMALLEST[2], {"min_p": 1 - 1e-16}])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_the_smallest_numbers_choose_the_likeliest(shape, kind):
    logits = torch.cat([LOGITS, LOGITS * 1e30, torch.full((1, 4), -torch.inf)])
    logits[-1, 1] = -3e38
    points = torch.tensor([1e-12, 0.3, 0.6, 0.9, 1 - 1e-12], dtype=torch.float64)
    found = choose(logits.to(kind), Controls(**shape), points)
    assert found.tolist() == [0, 2, 0, 2, 1]


def test_choosing_is_the_inverse_of_the_distribution():
    points = (torch.arange(1000).double() + 0.5) / 1000
    drawn = choose(LOGITS[:1].expand(1000, 4), Controls(), points)
    shares = torch.bincount(drawn, minlength=4) / 1000
    assert torch.allclose(shares, LOGITS[0].softmax(dim=0), atol=2e-3)
    assert choose(LOGITS, Controls(temperature=0.0), points[:2]).tolist() == [0, 2]


def test_a_token_of_no_mass_is_never_chosen():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(3, 3)
    points = torch.tensor([1e-12, 0.5, 1 - 1e-12], dtype=torch.float64)
    assert choose(logits, Controls(), points).tolist() == [1, 1, 1]


def test_repetition_lowers_what_stood_before():
    seen = Seen(torch.tensor([[0, 3], [1, 0]]), torch.tensor([2, 1]), 4)
    seen.add(torch.tensor([1, 2]))
    lower = seen.lowered(LOGITS, 2.0)
    assert lower[0].tolist() == pytest.approx([1.0, 0.5, 0.0, -2.0])
    assert lower[1].tolist() == pytest.approx([0.0, 0.0, 2.5, 0.1])


def test_rows_end_with_their_end_or_at_their_most(table):
    rows, most = torch.tensor([[0], [1], [2]]), torch.tensor([2, 9, 5])
    ones = torch.ones(3, dtype=torch.int64)
    stream = generate(Table(table), rows, ones, most=most, end=END, rng=Draws(0))
    x = filled(3, 9, 9, stream, torch.device("cpu"))
    for row, limit in zip(x.tolist(), most.tolist(), strict=True):
        made = [token for token in row if token != 9]
        assert len(made) == limit or made[-1] == END
        assert END not in made[:-1]
        assert row == made + [9] * (9 - len(made))


def test_a_row_is_the_same_in_any_batch(table):
    ones = torch.ones(3, dtype=torch.int64)
    rows = torch.tensor([[0], [1], [2]])

    def run(some, rng):
        n = len(rows[some])
        stream = generate(
            Table(table), rows[some], ones[some], most=ones[some] * 8, end=END, rng=rng
        )
        return filled(n, 8, 9, stream, torch.device("cpu"))

    whole = run(slice(3), Draws(5))
    assert torch.equal(whole[1:], run(slice(1, 3), Draws(5, start=1)))


def test_rows_closed_by_the_consumer_are_not_sent_on(table):
    ones = torch.ones(2, dtype=torch.int64)
    stream = generate(
        Table(table), torch.tensor([[0], [1]]), ones, most=ones * 5, end=99, rng=Draws(0)
    )
    next(stream)
    assert stream.send(torch.tensor([0])).rows.tolist() == [1]


class Counts:
    """What is kept for rows: how often it was asked, and for whom."""

    def __init__(self, n):
        self.rows, self.asked = torch.arange(n), 0

    def keep(self, rows):
        self.rows, self.asked = self.rows[rows], self.asked + 1


def test_rows_grow_until_they_are_over():
    kept = Counts(4)
    growing = Growing(torch.tensor([3, 2, 9, 9]), END, kept)
    assert growing.grow(torch.tensor([0, 1, 2, 0]), 1, None).tolist() == [0, 1, 2, 0]
    assert kept.asked == 0, "all go on, so there is nothing to do"
    assert growing.grow(torch.tensor([0, 1, END, 2]), 1, None).tolist() == [0, 2]
    assert growing.rows.tolist() == kept.rows.tolist() == [0, 3]
    assert growing.grow(torch.tensor([0, 0]), torch.tensor([0, 4]), None).tolist() == [0, 0]
    assert growing.made.tolist() == [2, 6]
    assert growing.grow(torch.tensor([1, 1]), 0, torch.tensor([3])).tolist() == [1]
    assert growing.grow(torch.tensor([1]), 1, None).tolist() == []
    assert kept.rows.tolist() == [0], "rows that are all over are not kept"


@pytest.mark.parametrize("shape", [{}, {"temperature": 0.0}, {"repetition": 2.0}, {"top_k": 1}])
def test_a_token_that_is_never_chosen_leaves_the_others_as_they_are(table, shape):
    most = torch.full((400,), 6)
    rows, ones = torch.zeros(400, 1, dtype=torch.int64), torch.ones(400, dtype=torch.int64)
    favoured = table.clone()
    favoured[:, 1] += 5.0

    def run(some, never):
        stream = generate(
            Table(some), rows, ones, most=most, end=END, rng=Draws(0),
            controls=Controls(**shape), never=never,
        )  # fmt: skip
        return filled(400, 6, 9, stream, rows.device)

    assert (run(favoured, None) == 1).any()
    cannot = table.clone()
    cannot[:, 1] = -torch.inf
    assert torch.equal(run(favoured, 1), run(cannot, None))
    assert torch.isfinite(favoured).all(), "the reader's own logits are not changed"


def test_logits_without_a_token_are_new_ones():
    assert without(LOGITS, None) is LOGITS
    assert without(LOGITS, 2)[:, 2].tolist() == [-torch.inf] * 2
    assert torch.isfinite(LOGITS).all()


def test_beams_leave_a_token_out_and_keep_the_nats_of_the_model(table):
    found = beams(Table(table), torch.tensor([0]), width=64, most=3, end=99, power=0.0, never=1)
    nats = table.double().log_softmax(dim=1)
    plain = {}
    for tokens in itertools.product((0, 2, 3), repeat=3):
        steps = zip((0, *tokens[:2]), tokens, strict=True)
        plain[tokens] = sum(float(nats[last, token]) for last, token in steps)
    assert {tuple(tokens) for tokens, _ in found} == set(plain)
    for tokens, score in found:
        assert score == pytest.approx(plain[tuple(tokens)])


def test_one_beam_is_greedy(table):
    found = beams(Table(table), torch.tensor([0]), width=1, most=6, end=99)
    token, greedy = 0, []
    for _ in range(6):
        token = int(table[token].argmax())
        greedy.append(token)
    assert found[0][0] == greedy


def test_open_beams_count_where_all_tokens_are_made():
    """What ends early and is unlikely does not push out what goes on and is likely."""
    table = torch.tensor([[0.9, 0.07, 0.01, 0.02]]).expand(4, 4).log()
    found = [
        beams(Table(table), torch.tensor([0]), width=width, most=6, end=END)[0]
        for width in (1, 2, 3, 5, 64)
    ]
    assert [tokens for tokens, _ in found] == [[0] * 6] * 5
    assert found[0][1] == pytest.approx(6 * math.log(0.9), rel=1e-5)


def test_wider_beams_come_to_the_likeliest_of_all(table):
    def score(tokens):
        steps = zip((0, *tokens[:-1]), tokens, strict=True)
        return sum(float(nats[last, token]) for last, token in steps) / len(tokens)

    nats = table.double().log_softmax(dim=1)
    every = [
        (*text, END) if size < 5 else text
        for size in range(6)
        for text in itertools.product((0, 1, 2), repeat=size)
    ]
    found = beams(Table(table), torch.tensor([0]), width=300, most=5, end=END)
    assert tuple(found[0][0]) == max(every, key=score)


def test_beams_end_with_any_token_that_closes(table):
    for tokens, _ in beams(Table(table), torch.tensor([0]), width=8, most=5, end=END, over=[1]):
        assert not {END, 1} & set(tokens[:-1])
        assert len(tokens) == 5 or tokens[-1] in (END, 1)


def test_beams_end_where_they_can_alone(table):
    never = table.clone()
    never[:, END] = -torch.inf
    found = beams(Table(never), torch.tensor([0]), width=2, most=2, end=END)
    assert [tokens[-1] for tokens, _ in found] != [END] * 2
    assert all(math.isfinite(nats) for _, nats in found)
    sure = torch.full((4, 4), -torch.inf)
    sure[:, 1] = 0.0
    assert beams(Table(sure), torch.tensor([0]), width=2, most=2, end=END) == [([1, 1], 0.0)]
