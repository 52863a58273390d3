"""The Fréchet distance against its closed forms, scipy, its symmetries and its null."""

import numpy as np
import pytest
import torch

from likewise.core.rng import generator
from likewise.measures.frechet import frechet, frechet_distance, frechet_null


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def exact(n, d, seed=0):
    """Rows whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = normal(n, d, seed)
    x = x - x.mean(dim=0)
    root = torch.linalg.cholesky(torch.cov(x.T))
    return torch.linalg.solve_triangular(root, x.T, upper=False).T


def correlated(n, d, seed):
    return normal(n, d, seed) @ normal(d, d, seed + 100) + normal(1, d, seed + 200)


def test_closed_forms():
    x, mu = exact(200, 6), torch.linspace(-1, 2, 6, dtype=torch.float64)
    assert frechet(x, exact(150, 6, seed=1) + mu) == pytest.approx(float(mu.square().sum()))
    assert frechet(3.0 * x, 0.5 * exact(150, 6, seed=2)) == pytest.approx(6 * 2.5**2)
    assert frechet(x, x) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("d", [1, 2, 7, 32])
def test_equals_the_matrix_root_of_scipy(d):
    from scipy.linalg import sqrtm

    a, b = correlated(120, d, 1), correlated(90, d, 2)
    s, t = (np.atleast_2d(np.cov(x.numpy(), rowvar=False)) for x in (a, b))
    gap = (a.mean(dim=0) - b.mean(dim=0)).numpy()
    expected = gap @ gap + np.trace(s + t - 2 * np.real(sqrtm(s @ t)))
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)


def test_symmetries():
    a, b = correlated(100, 8, 3), correlated(130, 8, 4)
    rotation = torch.linalg.qr(normal(8, 8, 5)).Q
    value = frechet(a, b)
    assert frechet(b, a) == pytest.approx(value, rel=1e-9)
    assert frechet(a @ rotation, b @ rotation) == pytest.approx(value, rel=1e-9)
    assert frechet(a + 7.0, b + 7.0) == pytest.approx(value, rel=1e-9)
    assert frechet(3.0 * a, 3.0 * b) == pytest.approx(9.0 * value, rel=1e-9)
    order = torch.randperm(100, generator=generator(6))
    assert frechet(a[order], b) == pytest.approx(value, rel=1e-9)


def test_singular_covariance_is_no_trouble():
    x = torch.cat([exact(100, 3), torch.zeros(100, 2, dtype=torch.float64)], dim=1)
    assert frechet(x, x + 1.0) == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize(("d", "n"), [(10, 250), (10, 1000), (32, 270)])
def test_null_is_where_theory_says(d, n):
    values = [frechet(normal(n, d, 2 * i), normal(n, d, 2 * i + 1)) for i in range(40)]
    # An isotropic unit Gaussian: (2 d + d (d + 1) / 2) / n, and the formula on a large sample.
    theory = (2 * d + d * (d + 1) / 2) / n
    assert np.mean(values) == pytest.approx(theory, rel=0.12)
    assert frechet_null(exact(500, d), n) == pytest.approx(theory, rel=1e-9)


def test_null_with_unequal_eigenvalues():
    scale = torch.logspace(-1, 1, 6, dtype=torch.float64)
    pairs = [(normal(800, 6, 2 * i), normal(800, 6, 2 * i + 1)) for i in range(60)]
    values = [frechet(a * scale, b * scale) for a, b in pairs]
    assert np.mean(values) == pytest.approx(frechet_null(exact(500, 6) * scale, 800), rel=0.15)


def test_score_has_an_interval_a_direction_and_its_bias():
    score = frechet_distance(normal(300, 8) + 0.5, normal(300, 8, 1))
    assert 0 <= score.low < score.value < score.high
    assert (score.n, score.better) == (300, "lower")
    assert "biased upwards" in score.how
    again = frechet_distance(normal(300, 8) + 0.5, normal(300, 8, 1))
    assert again == score


def test_interval_covers_the_mean_of_repetitions():
    """About the biased value, as it says: E[FD] at this n, far from the null and near it."""
    for shift in (1.0, 0.0):
        scores = [
            frechet_distance(normal(120, 4, 2 * i) + shift, normal(120, 4, 2 * i + 1))
            for i in range(120)
        ]
        mean = np.mean([s.value for s in scores])
        assert np.mean([s.low <= mean <= s.high for s in scores]) > 0.9


def test_too_few_rows_for_the_width_are_refused():
    score = frechet_distance(normal(63, 32), normal(200, 32))
    assert score.value is None
    assert score.why == "it needs at least 64 examples over 32 features; got 63."
    assert frechet_distance(normal(64, 32), normal(200, 32)).value is not None


def test_overflow_is_refused():
    score = frechet_distance(normal(50, 2) * 1e200, normal(50, 2))
    assert score.value is None
    assert "overflows" in score.why


def test_interval_is_that_of_leaving_rows_out():
    from likewise.measures.intervals import deal, jackknife

    a, b = correlated(130, 5, 7), correlated(101, 5, 8)
    one, two = deal(130), deal(101)
    kept = [frechet(a[one != g], b[two != g]) for g in range(20)]
    score = frechet_distance(a, b)
    assert (score.low, score.high) == pytest.approx(jackknife(frechet(a, b), kept), rel=1e-9)


@pytest.mark.parametrize("d", [6, 300])
def test_fewer_rows_than_features_and_equal_features(d):
    """Neither covariance has a Cholesky factor; the nuclear norm of the two sides' product."""
    a, b = normal(40, d) + 0.2, 1.5 * normal(50, d, 1)
    a, b = (torch.cat([x, x[:, :2], torch.ones(len(x), 1)], dim=1) for x in (a, b))
    rows_a, rows_b = ((x - x.mean(dim=0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    gap = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    norm = torch.linalg.svdvals(rows_a @ rows_b.T).sum()
    expected = float(gap + rows_a.square().sum() + rows_b.square().sum() - 2 * norm)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
