"""ROC areas against counting and scikit-learn; intervals against plain formulas and coverage."""

import numpy as np
import pytest
import torch

from likewise.core.errors import UsageError
from likewise.measures.intervals import clopper_pearson
from likewise.measures.roc import _ranks, area, found_at

LEVEL = 0.9


def scores(seed, m=40, n=60, shift=0.7, ties=False):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=m) + shift, rng.normal(size=n)
    if ties:
        x, y = x.round(), y.round()
    return torch.tensor(x), torch.tensor(y)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_the_share_of_pairs_won(ties):
    x, y = scores(0, ties=ties)
    won = ((x[:, None] > y).double() + 0.5 * (x[:, None] == y)).mean()
    assert area(x, y).value == pytest.approx(float(won), abs=1e-12)
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.ones(len(x)), np.zeros(len(y))]
    assert area(x, y).value == pytest.approx(roc_auc_score(truth, torch.cat([x, y])), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_interval_is_delongs(ties):
    """DeLong et al., 1988, equations for one curve, by loops."""
    x, y = scores(1, ties=ties)

    def win(a, b):
        return 1.0 if a > b else 0.5 if a == b else 0.0

    mine = [np.mean([win(a, b) for b in y]) for a in x]
    theirs = [np.mean([win(a, b) for a in x]) for b in y]
    error = np.sqrt(np.var(mine, ddof=1) / len(x) + np.var(theirs, ddof=1) / len(y))
    found = area(x, y, LEVEL)
    assert found.interval.low == pytest.approx(found.value - 1.6448536 * error, abs=1e-6)
    assert found.interval.high == pytest.approx(found.value + 1.6448536 * error, abs=1e-6)


def test_groups_fully_apart_still_have_an_interval():
    high, low = torch.arange(20.0) + 100, torch.arange(30.0)
    found = area(high, low, 0.95)
    assert found.value == found.interval.high == 1.0
    assert found.interval.low == pytest.approx(0.025 ** (1 / 20), abs=1e-9)
    assert area(low, high).interval.low == 0.0
    alike = area(torch.zeros(20), torch.zeros(30))
    assert alike.value == 0.5
    assert alike.interval.low < 0.4


def test_the_interval_of_the_area_covers():
    """True area of two normals a deviation of 0.7 apart: Phi(0.7 / sqrt 2) = 0.6897."""
    hits = 0
    for seed in range(400):
        low, high = area(*scores(seed), LEVEL).interval
        hits += low <= 0.6897 <= high
    assert 0.86 <= hits / 400 <= 0.94


def test_the_threshold_lets_at_most_the_rate_pass():
    x, y = scores(2, m=500, n=537)
    share = found_at(x, y, rate=0.05).value
    best = max(
        float((x > cut).double().mean()) for cut in y if float((y > cut).double().mean()) <= 0.05
    )
    assert share == pytest.approx(best, abs=1e-12)


def test_the_ranks_are_those_of_the_binomial():
    from scipy.stats import binom

    for n, level in [(300, 0.95), (1000, 0.99), (50, 0.9)]:
        low, high = _ranks(n, 0.01, level)
        tail = (1 - level) / 2
        assert binom.cdf(low, n, 0.01) <= tail < binom.cdf(low + 1, n, 0.01)
        assert binom.sf(high, n, 0.01) <= tail < binom.sf(high - 1, n, 0.01)


def test_the_interval_of_the_strict_end_covers():
    """P(N(1.5, 1) > 2.3263) = 0.2043 at a rate of 1 %."""
    hits = 0
    for seed in range(300):
        found = found_at(*scores(seed, m=300, n=1000, shift=1.5), rate=0.01, level=LEVEL)
        hits += found.interval.low <= 0.2043 <= found.interval.high
        assert found.interval.low <= found.value <= found.interval.high
    assert hits / 300 >= LEVEL


def test_half_of_the_error_goes_to_the_threshold_and_half_to_the_share():
    x, y = scores(4, m=300, n=1000, shift=1.5)
    found, ranked = found_at(x, y, rate=0.01, level=0.9), y.sort(descending=True).values
    strict, lax = _ranks(1000, 0.01, 0.95)
    above = [int((x > ranked[rank]).sum()) for rank in (strict, lax)]
    assert found.interval.low == clopper_pearson(above[0], 300, 0.95).low
    assert found.interval.high == clopper_pearson(above[1], 300, 0.95).high


def test_few_others_set_no_threshold():
    x, y = scores(3, m=300, n=200, shift=5.0)
    assert found_at(x, y).value > 0.9
    assert found_at(x, y).interval.low == 0.0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(1), torch.zeros(5), "the scores of members must be"),
        (torch.zeros(5), torch.zeros(5, 1), "the scores of others must be"),
        (torch.zeros(5), torch.full((5,), torch.nan), "the scores of others must be numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused(x, y, message):
    with pytest.raises(UsageError, match=message):
        area(x, y)
    with pytest.raises(UsageError, match=message):
        found_at(x, y)
