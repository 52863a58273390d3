"""The birthday paradox: generators of a known number of examples."""

import pytest
import torch

from likewise.core.errors import UsageError
from likewise.core.rng import generator
from likewise.measures.repeats import _poisson, repeats


def drawn(different, n, seed, shares=None):
    """n draws out of so many points, each a unit from its neighbours."""
    weights = torch.ones(different) if shares is None else shares
    return torch.multinomial(weights, n, replacement=True, generator=generator(seed))[:, None]


def test_pairs_are_counted():
    x = torch.tensor([[0.0, 0.0], [0.0, 0.25], [0.0, 0.0], [9.0, 9.0]])
    assert repeats(x, 0.0).pairs == 1
    assert repeats(x, 0.25).pairs == 3
    assert repeats(x, 100.0).pairs == repeats(x, 100.0).possible == 6


@pytest.mark.parametrize("different", [200, 2000, 50_000])
def test_the_number_of_different_examples_is_covered(different):
    hits = 0
    for seed in range(100):
        low, high = repeats(drawn(different, 400, seed).float(), 0.5, 0.95).rate
        hits += low <= 1 / different <= high
    assert hits >= 90


def test_it_is_covered_where_some_are_commoner():
    """The rate is the sum of squared shares; a plain Poisson interval would cover 3 in 4."""
    shares = torch.full((1000,), 1.0)
    shares[0] = 60.0
    shares /= shares.sum()
    truth, hits, plain = float(shares.square().sum()), 0, 0
    for seed in range(100):
        found = repeats(drawn(1000, 400, seed, shares).float(), 0.5, 0.95)
        hits += found.rate.low <= truth <= found.rate.high
        low, high = _poisson(found.pairs, 0.95)
        plain += low <= truth * found.possible <= high
    assert hits >= 90
    assert plain < 85


def test_no_pair_still_has_an_upper_end():
    found = repeats(torch.arange(100.0)[:, None], 0.5, 0.95)
    assert (found.pairs, found.rate.low) == (0, 0.0)
    assert found.rate.high * found.possible == pytest.approx(3.6889, abs=1e-3)  # -log 0.025


def test_the_poisson_interval_is_garwoods():
    assert _poisson(10, 0.95) == pytest.approx((4.7954, 18.3904), abs=1e-3)


def test_one_example_has_no_pairs():
    with pytest.raises(UsageError, match="at least 2 rows"):
        repeats(torch.zeros(1, 3), 0.1)
