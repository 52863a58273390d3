"""Speculative decoding: exact in distribution, greedy rows equal, few rounds."""

import itertools

import pytest
import torch
from scipy.stats import chisquare

from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.nn.decoding import filled, generate, masses
from likewise.nn.speculating import speculate
from tests.families.test_ngram import END as STOP
from tests.families.test_ngram import PAD as FILL
from tests.families.test_ngram import STREAM, learned, stream, texts

END = 3


class Table:
    """A reader whose next token depends on the last one alone."""

    def __init__(self, table):
        self.table = table

    def begin(self, rows, lengths):
        self.heard = torch.cat([rows[:, :0].expand(-1, 0), rows], dim=1)
        assert bool((lengths == rows.shape[1]).all())
        return self.table[self.heard[:, -1]]

    def step(self, tokens):
        return self.extend(tokens[:, None])[:, 0]

    def extend(self, tokens):
        self.heard = torch.cat([self.heard, tokens], dim=1)
        return self.table[tokens]

    def forget(self, counts):
        width = self.heard.shape[1]
        place = (torch.arange(width) - counts[:, None]).clamp(min=0)
        self.heard = self.heard.gather(1, place)

    def keep(self, rows):
        self.heard = self.heard[rows]


def table(seed):
    return 1.5 * torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))


def spoken(large, small, n, most, controls=Controls(), ahead=2, seed=0, never=None):
    """Rows (n, most) filled up with -1, and how many tokens each round gave."""
    rows, lengths = torch.zeros(n, 1, dtype=torch.int64), torch.ones(n, dtype=torch.int64)
    x, place, rounds = torch.full((n, most), -1), torch.zeros(n, dtype=torch.int64), []
    stream = speculate(Table(large), Table(small), rows, lengths, most=torch.full((n,), most),
                       end=END, rng=Draws(seed), controls=controls, ahead=ahead,
                       never=never)  # fmt: skip
    for found in stream:
        rounds.append(found.counts)
        for step in range(found.tokens.shape[1]):
            here = step < found.counts
            x[found.rows[here], place[found.rows[here]]] = found.tokens[here, step]
            place[found.rows[here]] += 1
    return x, rounds


def exact(large, most, controls):
    """The probability of every row of `most` tokens, from token 0."""
    p, found = masses(large, controls), {}
    for row in itertools.product(range(4), repeat=most):
        cut = row.index(END) + 1 if END in row else most
        row, mass, last = row[:cut], 1.0, 0
        for token in row:
            mass, last = mass * float(p[last, token]), token
        found[row] = mass
    return found


@pytest.mark.parametrize("controls", [Controls(), Controls(temperature=0.7, top_k=3)])
@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_rows_are_distributed_as_the_large_model_says(controls, ahead):
    n, most = 20_000, 4
    x, _ = spoken(table(0), table(1), n, most, controls, ahead)
    check_shares(x, exact(table(0), most, controls))


def test_a_token_that_is_never_chosen_leaves_the_shares_of_the_others():
    large, small = table(0), table(1)
    large[:, 1] += 2.0
    small[:, 2] += 1.0
    x, _ = spoken(large, small, 20_000, 4, never=1)
    cannot = large.clone()
    cannot[:, 1] = -torch.inf
    check_shares(x, exact(cannot, 4, Controls()))
    assert torch.isfinite(large).all()


def check_shares(x, expected):
    """Whether rows x (n, most), filled up with -1, are of a distribution."""
    n, counted = len(x), {}
    for row in x.tolist():
        row = tuple(token for token in row if token >= 0)
        counted[row] = counted.get(row, 0) + 1
    assert set(counted) <= {row for row, mass in expected.items() if mass > 0}
    often = [row for row, mass in expected.items() if mass * n >= 5]
    rare = n - sum(counted.get(row, 0) for row in often)
    rare_mass = 1 - sum(expected[row] for row in often)
    seen = [counted.get(row, 0) for row in often] + [rare] * (rare_mass > 1e-9)
    told = [n * expected[row] for row in often] + [n * rare_mass] * (rare_mass > 1e-9)
    assert chisquare(seen, told).pvalue > 1e-4


def test_greedy_rows_are_those_of_the_large_model_alone():
    large = table(2)
    large[:, END] -= 5
    greedy = Controls(temperature=0.0)
    x, _ = spoken(large, table(3), 2, 12, greedy, 3)
    rows, lengths = torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    stream = generate(Table(large), rows, lengths, most=torch.tensor([12, 12]), end=END,
                      rng=Draws(0), controls=greedy)  # fmt: skip
    assert torch.equal(x, filled(2, 12, -1, stream, rows.device))


def test_all_that_an_equal_draft_proposes_is_kept():
    large = table(0)
    large[:, END] = -torch.inf
    _, rounds = spoken(large, large, 50, 13, ahead=3)
    assert [int(r.min()) for r in rounds] == [1, 4, 4, 4]


def test_equal_seeds_give_equal_rows():
    one, other = (spoken(table(0), table(1), 30, 6)[0] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, spoken(table(0), table(1), 30, 6, seed=1)[0])


def test_rows_draw_for_themselves():
    few, many = (spoken(table(0), table(1), n, 6)[0] for n in (3, 30))
    assert torch.equal(few, many[:3])


def test_a_consumer_can_close_a_row():
    large = table(0)
    large[:, END] = -torch.inf
    rows, lengths = torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    stream = speculate(Table(large), Table(large), rows, lengths, most=torch.tensor([9, 9]),
                       end=END, rng=Draws(0))  # fmt: skip
    next(stream)
    assert stream.send(torch.tensor([0])).rows.tolist() == [1]


def test_what_counts_took_back_was_never_read():
    rows = texts(200, longest=8)
    x, c = stream(rows)
    model, _ = learned(x, STREAM, c, order=4)
    begun, lengths = torch.tensor([[STOP, 0, 1], [STOP, 2, FILL]]), torch.tensor([3, 2])
    reader, other = model.reader(None, 2), model.reader(None, 2)
    reader.begin(begun, lengths)
    found = reader.extend(torch.tensor([[2, 0, 1], [0, 1, 1]]))
    reader.forget(torch.tensor([1, 3]))
    after = reader.step(torch.tensor([2, 1]))
    other.begin(torch.tensor([[STOP, 0, 1, 2, 0, 2], [STOP, 2, 1, FILL, FILL, FILL]]),
                torch.tensor([6, 3]))  # fmt: skip
    assert torch.equal(after, other._logits())
    single = model.reader(None, 2)
    single.begin(begun, lengths)
    assert torch.equal(found[:, 0], single.step(torch.tensor([2, 0])))
