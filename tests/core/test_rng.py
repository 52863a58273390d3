"""Draws: Philox as published, rows that know their sample, distributions that are right."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.core.rng import Draws, fold, philox

ONES = 0xFFFFFFFF
# Known answers of philox4x32-10, published with Random123 (Salmon et al., 2011).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((ONES,) * 4, (ONES,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = philox([torch.tensor([word]) for word in counter], key)
    assert " ".join(f"{int(word):08x}" for word in words) == answer


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**62),
    start=st.integers(0, 2**40),
    rows=st.integers(2, 9),
    size=st.integers(1, 9),
)
def test_a_row_depends_on_its_sample_alone(seed, start, rows, size):
    whole = Draws(seed, start)
    part = Draws(seed, start + 1)
    for kind in ("normal", "uniform"):
        both = getattr(whole, kind)(rows, size), getattr(part, kind)(rows - 1, size)
        assert torch.equal(both[0][1:], both[1])
    assert torch.equal(whole.integers(7, rows, size)[1:], part.integers(7, rows - 1, size))


def test_draws_one_after_another_differ():
    rng = Draws(0)
    assert not torch.equal(rng.normal(4, 4), rng.normal(4, 4))


def test_normal_draws_are_normal():
    x = Draws(1).normal(2000, 100).flatten().double()
    n = len(x)
    assert abs(float(x.mean())) < 5 / math.sqrt(n)
    assert abs(float(x.var()) - 1) < 5 * math.sqrt(2 / n)
    assert abs(float((x**4).mean()) - 3) < 5 * math.sqrt(96 / n)
    inside = (x.abs() < 1.959964).double().mean()
    assert abs(float(inside) - 0.95) < 5 * math.sqrt(0.05 * 0.95 / n)


def test_uniform_draws_stay_inside():
    x = Draws(2).uniform(1000, 100)
    assert 0 < float(x.min()) < 1e-3
    assert 1 - 1e-3 < float(x.max()) < 1


def test_categories_have_their_shares():
    logits = torch.tensor([0.5, 0.3, 0.2, 0.0]).log().expand(40_000, -1)
    shares = torch.bincount(Draws(3).categorical(logits), minlength=4) / 40_000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2, 0.0]), atol=0.01, rtol=0)
    assert shares[3] == 0


def test_streams_with_other_words_are_others():
    assert len({fold(0, "a"), fold(0, "b"), fold(1, "a"), fold(0, "a", "b"), fold(0, "ab")}) == 5
