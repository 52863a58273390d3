"""What tokens cost: against plain definitions, and in pieces."""

import pytest
import torch
import torch.nn.functional as F

from likewise.core.condition import Labels, Tokens
from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.nn.scoring import ROOM, dropped, fitting, in_pieces, nats, shares
from likewise.nn.tokens import reading

SPACE = Sequence(length=6, tokens=8, end=6, pad=7)
ROWS = torch.tensor([[0, 1, 6, 7, 7, 7], [2, 3, 0, 1, 2, 3], [6, 7, 7, 7, 7, 7]])


def test_nats_are_those_of_the_tokens_that_count():
    read = reading(SPACE, (), ROWS, None)
    logits = Draws(0).normal(3, 6, 8)
    plain = F.cross_entropy(logits.transpose(1, 2), ROWS, reduction="none")
    torch.testing.assert_close(nats(logits, read), plain * SPACE.mask(ROWS))


def test_shares_have_the_mean_over_tokens_as_their_mean_over_rows():
    each = Draws(1).uniform(3, 6)
    scored = SPACE.mask(ROWS)
    per_row = torch.where(scored, each, 0.0).sum(dim=1)
    assert float(shares(per_row, scored).mean()) == pytest.approx(float(each[scored].mean()))
    nothing = shares(torch.zeros(2), torch.zeros(2, 6, dtype=torch.bool))
    assert nothing.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rows", [1, 2, 3, 9])
def test_pieces_are_the_whole(rows):
    c = {"label": (torch.tensor([4, 5, 6]), torch.ones(3, dtype=torch.bool))}
    sizes = []

    def judge(x, told):
        sizes.append(len(x))
        return x.sum(dim=1) + told["label"][0].float()

    whole = ROWS.sum(dim=1) + c["label"][0].float()
    assert torch.equal(in_pieces(judge, ROWS, c, rows), whole)
    assert max(sizes) <= rows
    assert in_pieces(judge, ROWS[:0], c, rows).shape == (0,)
    assert torch.equal(in_pieces(lambda x, _: x[:, 0].float(), ROWS, None, rows), ROWS[:, 0] * 1.0)


def test_as_many_rows_fit_as_have_room_for_their_logits():
    large = Sequence(length=1023, tokens=4096, end=0, pad=1)
    assert fitting(large) == ROOM // (1024 * 4096) == 1
    assert fitting(SPACE) * 7 * 8 <= ROOM < (fitting(SPACE) + 1) * 7 * 8


def test_labels_are_left_out_of_a_tenth_of_the_rows_and_texts_of_none():
    steers, n = (Labels(names=("a", "b")),), 5000
    here = torch.ones(n, dtype=torch.bool)
    c = {"label": (torch.zeros(n).long(), here), "prompt": (torch.zeros(n, 1).long(), here)}
    left = dropped(c, steers, Draws(0))
    assert 0.08 < float((~left["label"][1]).float().mean()) < 0.12
    assert left["prompt"][1].all()
    assert Tokens(name="prompt", length=1, tokens=8) not in steers
