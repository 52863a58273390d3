"""The kernel distance against its definition, and its freedom from bias."""

import numpy as np
import pytest
import torch

from likewise.core.rng import generator
from likewise.measures.kernel import kernel_distance


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def plain(x, y):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    return (
        (xx.sum() - np.trace(xx)) / (n * (n - 1))
        + (yy.sum() - np.trace(yy)) / (m * (m - 1))
        - 2 * xy.mean()
    )


def test_equals_its_definition():
    x, y = normal(60, 5), 1.3 * normal(87, 5, 1) + 0.2
    assert kernel_distance(x, y).value == pytest.approx(plain(x.numpy(), y.numpy()), rel=1e-10)


def test_interval_equals_leaving_blocks_out():
    from likewise.measures.intervals import deal, jackknife

    x, y = normal(64, 3), normal(64, 3, 1) + 0.3
    groups = deal(64)
    kept = [plain(x[groups != g].numpy(), y[groups != g].numpy()) for g in range(20)]
    score = kernel_distance(x, y)
    assert (score.low, score.high) == pytest.approx(jackknife(score.value, kept), rel=1e-9)


def test_null_is_unbiased_and_never_clamped():
    scores = [kernel_distance(normal(80, 6, 2 * i), normal(80, 6, 2 * i + 1)) for i in range(150)]
    values = np.array([s.value for s in scores])
    assert abs(values.mean()) < 3.5 * values.std() / len(values) ** 0.5
    assert (values < 0).mean() > 0.3
    assert np.mean([s.low <= 0 <= s.high for s in scores]) > 0.9


def test_grows_with_the_difference_and_ignores_order():
    x, y = normal(200, 4), normal(200, 4, 1)
    near, far = kernel_distance(x + 0.3, y), kernel_distance(x + 1.0, y)
    assert 0 < near.value < far.value
    order = torch.randperm(200, generator=generator(3))
    assert kernel_distance((x + 0.3)[order], y).value == pytest.approx(near.value, rel=1e-9)


def test_too_few_are_refused():
    assert "at least 40" in kernel_distance(normal(39, 3), normal(99, 3)).why
