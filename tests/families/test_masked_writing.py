"""Masked diffusion: what it writes, how long that is, and how it fills gaps."""

import math

import pytest
import torch

from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from tests.families.masking import (
    END,
    PACKED,
    PAD,
    PROMPT,
    SMALL,
    WORDS,
    every,
    exact,
    lively,
    prompt,
    rows,
)


def test_samples_have_the_exact_distribution_with_a_round_for_each_token():
    family = lively(SMALL, seed=2)
    n, texts = 20_000, every(3)
    x = family.sample(n, rng=Draws(0))
    SMALL.check(x)
    mass = torch.tensor([math.exp(exact(family, text)) for text in texts])
    shares = (x[:, None] == rows(*texts, space=SMALL)[None]).all(dim=2).double().mean(dim=0)
    assert float(shares.sum()) == 1.0
    chi = float((n * (shares - mass).square() / mass)[n * mass > 5].sum())
    assert chi < 2 * len(texts), (shares, mass)


def test_steps_are_the_rounds_of_the_sampler():
    family = lively(WORDS)
    with torch.no_grad():
        family.sizes.weight.zero_()
    calls = []
    family.head.register_forward_hook(lambda module, given, out: calls.append(len(given[0])))
    for steps, most in ((1, 1), (3, 3), (None, 8), (100, 8)):
        calls.clear()
        WORDS.check(family.sample(30, rng=Draws(1), controls=Controls(steps=steps)))
        assert len(calls) == most
        assert max(calls) - min(calls) <= 30, "shares of the tokens are even"


def test_controls_shape_tokens_and_leave_lengths():
    family = lively(WORDS)
    free = family.sample(64, rng=Draws(1))
    likeliest = family.sample(64, rng=Draws(1), controls=Controls(temperature=0.0))
    assert torch.equal(free == PAD, likeliest == PAD)
    assert not torch.equal(free, likeliest)
    for controls in (Controls(top_k=1), Controls(top_p=1e-6), Controls(min_p=0.999)):
        assert torch.equal(family.sample(64, rng=Draws(1), controls=controls), likeliest)


@pytest.mark.parametrize("space", [WORDS, PACKED])
def test_known_tokens_stay_and_what_is_filled_in_is_of_the_space(space):
    family = lively(space)
    x = rows("0120120E", "01E", "01", "E", "01201201", "", "2E")
    for seed in range(30):
        known = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
        whole = family.complete(x, known, rng=Draws(seed))
        WORDS.check(whole)
        assert torch.equal(whole[known], x[known])
        assert not (whole == family.hidden).any()
    everything = family.complete(x, torch.ones_like(x).bool(), rng=Draws(0))
    assert torch.equal(everything, x)


def test_a_gap_is_filled_by_what_stands_on_both_sides():
    family = lively(WORDS)
    x = rows("0120E").expand(8000, 8)
    known = torch.ones_like(x).bool()
    known[:, 1] = False
    whole = family.complete(x, known, rng=Draws(0))
    gap = rows("0120E")
    gap[0, 1] = family.hidden
    with torch.no_grad():
        mass = family.logits(gap)[0, 1].softmax(dim=0)
    shares = torch.nn.functional.one_hot(whole[:, 1], 5).float().mean(dim=0)
    torch.testing.assert_close(shares, mass, atol=0.02, rtol=0)


def test_the_length_of_what_is_filled_in_is_one_that_is_allowed():
    family = lively(WORDS)
    x = rows("012E").expand(2000, 8)
    known = torch.zeros_like(x).bool()
    known[:, :2] = True  # two letters, and padding from the seventh place
    known[:, 6:] = True
    whole = family.complete(x, known, rng=Draws(0))
    ends = (whole == END).long().argmax(dim=1)
    assert set(ends.tolist()) == {2, 3, 4, 5}
    with torch.no_grad():
        mass = family.lengths(1)[0, 2:6].softmax(dim=0)
    shares = (ends[:, None] == torch.arange(2, 6)).float().mean(dim=0)
    torch.testing.assert_close(shares, mass, atol=0.05, rtol=0)


def test_completing_rows_of_two_texts_is_refused():
    family = lively(PACKED)
    x = rows("0E1E")
    with pytest.raises(UsageError, match=r"x must be one sequence a row; got 'known tokens beh"):
        family.complete(x, torch.ones_like(x).bool(), rng=Draws(0))


def test_a_row_draws_alike_at_any_batch_size():
    family = lively(WORDS, (PROMPT,))
    c = prompt("0", "0120", "", "21", "E", "2")
    whole = family.sample(6, c, rng=Draws(5))
    x = rows("0120120E", "01E", "01", "E", "01201201", "2E")
    value = family.log_prob(x, c, rng=Draws(3), draws=2)
    filled = family.complete(x, x == 0, c, rng=Draws(4))
    for first in (0, 2, 4):
        some = slice(first, first + 2)
        told = {"prompt": tuple(part[some] for part in c["prompt"])}
        assert torch.equal(family.sample(2, told, rng=Draws(5, first)), whole[some])
        again = family.log_prob(x[some], told, rng=Draws(3, first), draws=2)
        torch.testing.assert_close(again, value[some], atol=1e-4, rtol=1e-4)
        some_filled = family.complete(x[some], x[some] == 0, told, rng=Draws(4, first))
        assert torch.equal(some_filled, filled[some])
