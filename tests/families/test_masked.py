"""Masked diffusion: the bound by brute force over all orders, and what is learned."""

import math

import pytest
import torch

from likewise.core.contract import Step
from likewise.core.rng import Draws
from likewise.families.masked import Config, Masked
from tests.families.masking import (
    END,
    LABEL,
    PACKED,
    PAD,
    PROMPT,
    SMALL,
    WORDS,
    bound,
    estimate,
    every,
    exact,
    independent,
    lively,
    prompt,
    row,
    rows,
)


def test_log_prob_is_the_mean_over_all_orders_and_below_the_exact_answer():
    family = lively(SMALL)
    gaps = []
    for text in every(3)[::3]:
        value, error = estimate(family, text)
        assert value == pytest.approx(bound(family, text), abs=error)
        gaps.append(exact(family, text) - bound(family, text))
    assert min(gaps) > -1e-6
    assert max(gaps) > 0.01, "with two tokens or more the bound is not tight"


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_texts_that_end_before_a_cut_and_those_cut_there_sum_to_one(cut):
    family = lively(SMALL, seed=1)
    texts = every(cut)
    assert abs(sum(math.exp(exact(family, text)) for text in texts) - 1) < 1e-5
    mass = family.log_prob(rows(*texts, space=SMALL), draws=50).double().exp().sum()
    assert 0.5 < float(mass) < 1 + 1e-3


def test_one_token_at_most_has_an_exact_bound_from_one_draw():
    family = lively(WORDS)
    for text in ("E", "0E", "1E", "2E", "1", "2"):
        value = family.log_prob(rows(text), rng=Draws(9))
        assert float(value) == pytest.approx(exact(family, text), abs=1e-5)


def test_independent_tokens_have_an_exact_bound():
    family = independent(SMALL)
    for text in ("012", "120", "01E"):
        value, error = estimate(family, text)
        assert value == pytest.approx(exact(family, text), abs=error)
    alike = ("000", "11E", "222", "E")  # of one likelihood each, so that nothing is random
    once = family.log_prob(rows(*alike, space=SMALL), rng=Draws(0))
    truth = torch.tensor([exact(family, text) for text in alike])
    torch.testing.assert_close(once, truth, atol=1e-4, rtol=0)


def test_the_loss_is_the_bound_a_token():
    family, n = lively(SMALL), 3000
    texts = ["01E", "2E", "120"]
    x = rows(*texts, space=SMALL).repeat(n, 1)
    with torch.no_grad():
        (loss,) = family.losses(x, {}, step=Step(Draws(0), 0.0))
    truth = -sum(bound(family, text) for text in texts) / sum(map(len, texts))
    error = float(loss.value.std()) / math.sqrt(3 * n)
    assert loss.value.shape == (3 * n,)
    assert float(loss.value.mean()) == pytest.approx(truth, abs=4 * error)


def test_draws_make_the_estimate_less_noisy():
    family = lively(WORDS)
    x = row("0120120E").expand(60, 8)
    few, many = (family.log_prob(x, rng=Draws(0), draws=draws).std() for draws in (1, 16))
    assert many < few / 3


def test_log_prob_in_chunks_is_the_same(monkeypatch):
    family = lively(WORDS)
    x = rows("0120120E", "01E", "01", "E", "01201201")
    whole = Draws(3)
    value = family.log_prob(x, rng=whole, draws=2)
    monkeypatch.setattr("likewise.nn.scoring.ROOM", 2 * 5 * 9)
    chunked = Draws(3)
    torch.testing.assert_close(family.log_prob(x, rng=chunked, draws=2), value)
    assert chunked.draw == whole.draw


# -- learning -----------------------------------------------------------------------------


def train(family, x, c=None, steps=300):
    optimizer = torch.optim.AdamW(family.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for index in range(steps):
        pick = Draws(index, 7).integers(len(x), 64)
        some = {name: (v[pick], p[pick]) for name, (v, p) in (c or {}).items()}
        (loss,) = family.losses(x[pick], some, step=Step(Draws(index), index / steps, index))
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()
        falling.step()
    return family.eval()


def fresh(space, conditions=()):
    torch.manual_seed(0)
    return Masked(Config(width=32, depth=2, heads=2, hidden=64), space, conditions)


def test_toy_strings_are_learned_and_their_bound_is_tight():
    texts = ["0120E", "111E", "20202020", "E"]
    x = rows(*texts)
    family = train(fresh(WORDS), x, steps=450)
    mass = family.log_prob(x, rng=Draws(0), draws=64).double().exp()
    assert (mass > 0.2).all()
    assert 0.9 < float(mass.sum()) < 1.001
    drawn = family.sample(400, rng=Draws(0))
    shares = (drawn[:, None] == x[None]).all(dim=2).double().mean(dim=0)
    assert float(shares.sum()) > 0.93
    assert ((shares - 0.25).abs() < 0.1).all()
    gaps = row("0120E").expand(100, 8)
    whole = family.complete(gaps, (gaps == 0) | (gaps == PAD), rng=Draws(1))
    assert float((whole == gaps).all(dim=1).double().mean()) > 0.8


def test_windows_are_learned_and_labels_steer():
    stream = torch.tensor([int("012E"[i]) if "012E"[i] != "E" else END for i in [0, 1, 2, 3] * 8])
    x = torch.stack([stream[start : start + 8] for start in range(8)])
    before = torch.stack([stream[start - 1 + 4 : start + 4] for start in range(8)])
    c = {"prompt": (before, torch.ones(8).bool())}
    family = train(fresh(PACKED, (PROMPT,)), x, c)
    value = family.log_prob(rows("012E", space=PACKED), prompt("E"), rng=Draws(0), draws=8)
    assert float(value) > -0.3
    labels = {"label": (torch.tensor([0, 1]), torch.ones(2).bool())}
    family = train(fresh(WORDS, (LABEL,)), rows("00E", "111E"), labels, steps=150)
    drawn = family.sample(2, labels, rng=Draws(0))
    assert torch.equal(drawn, rows("00E", "111E"))
