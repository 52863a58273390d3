"""Intervals against closed forms, printed values and their own promise to cover."""

import numpy as np
import pytest
import torch

from likewise.core.errors import UsageError
from likewise.measures.intervals import (
    clopper_pearson,
    deal,
    jackknife,
    mean_interval,
    newcombe,
    wilson,
)


@pytest.mark.parametrize(("k", "n"), [(0, 12), (3, 12), (12, 12), (41, 263)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_shares_against_scipy(k, n, level):
    from scipy.stats import binomtest

    result = binomtest(k, n)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = result.proportion_ci(level, method=method)
        assert ours(k, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_newcombe_published_example():
    # Newcombe 1998, table II: 56/70 against 48/80, method 10.
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = newcombe(48, 80, 56, 70)
    assert (-high, -low) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_mean_interval_against_scipy():
    from scipy import stats

    values = torch.tensor([0.3, 1.7, 2.2, -0.4, 5.0], dtype=torch.float64)
    expected = stats.t.interval(0.9, 4, values.mean(), values.std() / 5**0.5)
    assert mean_interval(values, 0.9) == pytest.approx(expected)


def test_jackknife_of_a_mean_is_students_interval():
    values = torch.tensor([0.3, 1.7, 2.2, -0.4, 5.0], dtype=torch.float64)
    replicates = [float((values.sum() - v) / 4) for v in values]
    assert jackknife(float(values.mean()), replicates) == pytest.approx(mean_interval(values))


def test_jackknife_covers():
    """The ratio of two means, 20 groups: 95 % nominal over 600 sets of 200 rows."""
    rng, hits, sets = np.random.default_rng(0), 0, 600
    groups = deal(200).numpy()
    for _ in range(sets):
        rows = rng.normal([1.0, 4.0], size=(200, 2))
        rows[:, 0] += 0.5 * rows[:, 1]
        kept = [rows[groups != g].mean(axis=0) for g in range(20)]
        whole = rows.mean(axis=0)
        low, high = jackknife(whole[0] / whole[1], [a / b for a, b in kept])
        hits += low <= 3.0 / 4.0 <= high
    assert 0.92 < hits / sets < 0.98


def test_wilson_covers():
    rng, sets = np.random.default_rng(1), 4000
    for share in (0.02, 0.3, 0.5):
        counts = rng.binomial(80, share, size=sets)
        covered = np.mean([(i := wilson(int(k), 80)).low <= share <= i.high for k in counts])
        assert covered > 0.92


def test_deal_is_balanced_seeded_and_not_in_order():
    groups = deal(103, 20)
    assert set(groups.bincount().tolist()) == {5, 6}
    assert torch.equal(groups, deal(103, 20))
    assert not torch.equal(groups, deal(103, 20, seed=1))
    assert not torch.equal(groups, torch.arange(103) % 20)


def test_impossible_counts_are_named():
    with pytest.raises(UsageError, match=r"successes must be in 0\.\.5; got 6"):
        wilson(6, 5)
    with pytest.raises(UsageError, match="n must be at least 1; got 0"):
        clopper_pearson(0, 0)
    with pytest.raises(UsageError, match=r"level must be between 0 and 1; got 1\.0"):
        wilson(1, 2, 1.0)
    with pytest.raises(UsageError, match="values must be at least 2; got 1"):
        mean_interval(torch.ones(1))
    with pytest.raises(UsageError, match="replicates must be at least 2; got 1"):
        jackknife(0.0, [0.0])
