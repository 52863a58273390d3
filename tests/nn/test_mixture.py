"""Many Gaussians by matrix products: the same numbers as by whitening, at any precision."""

import itertools
import math

import pytest
import torch

from likewise.core.rng import Draws, generator
from likewise.nn import gaussian, mixture
from likewise.nn.mixture import Mixture, Prior, climb, expect, log_likelihoods
from likewise.nn.quadratic import Quadratic


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def random_mixture(k, d, kind="full", narrow=1.0, groups=1):
    mean = 2 * normal(k, d, seed=1)
    if kind == "diag":
        factor = narrow * (0.5 + normal(k, d, seed=2).abs())
    else:
        count = 1 if kind == "tied" else k
        square = normal(count, d, d, seed=2) / d**0.5
        eye = 0.5 * torch.eye(d, dtype=torch.float64)
        factor = narrow * torch.linalg.cholesky(square @ square.mT + eye)
    weight = normal(k, seed=3).exp()
    group = torch.arange(k) * groups // k
    return Mixture((weight / weight.sum()).log(), mean, factor, group)


def by_definition(x, group, mix):
    """Statistics about the means and the mean log likelihood, row by row."""
    k = len(mix.mean)
    shares = [mix.log_weight[mix.group == g].exp().sum().log() for g in mix.group.tolist()]
    joint = torch.empty(len(x), k, dtype=torch.float64)
    for j in range(k):
        factor = mix.factor[min(j, len(mix.factor) - 1)]
        cov = factor.square().diag() if mix.factor.dim() == 2 else factor @ factor.T
        peer = torch.distributions.MultivariateNormal(mix.mean[j], cov)
        joint[:, j] = peer.log_prob(x) + mix.log_weight[j] - shares[j]
    joint[group[:, None] != mix.group] = -torch.inf
    weight = joint.softmax(dim=1)
    away = x[:, None] - mix.mean  # (n, k, d)
    second = torch.einsum("nk,nka,nkb->kab", weight, away, away)
    if mix.factor.dim() == 2:
        second = second.diagonal(dim1=1, dim2=2)
    elif mix.shared:
        second = second.sum(dim=0, keepdim=True)
    first = torch.einsum("nk,nka->ka", weight, away)
    return (weight.sum(dim=0), first, second), float(joint.logsumexp(dim=1).mean())


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("widest", [128, 0])
def test_a_pass_is_what_the_definition_says(kind, groups, widest, monkeypatch):
    monkeypatch.setattr(mixture, "WIDEST", widest)  # 0: no products of features
    monkeypatch.setattr(mixture, "PENDING", 200)
    mix = random_mixture(12, 5, kind, groups=groups)
    x, group = 2 * normal(300, 5, seed=4), torch.arange(300) % groups
    rows = list(zip(x.split(70), group.split(70), strict=True))
    stats, likelihood = expect(rows, mix)
    expected, value = by_definition(x, group, mix)
    assert likelihood == pytest.approx(value, abs=1e-10)
    assert float(log_likelihoods(rows, mix).mean()) == pytest.approx(value, abs=1e-10)
    for ours, theirs in zip(stats[:3], expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_rounding_is_told_beforehand(kind):
    """The estimate is near the real error of float32, for wide and for narrow Gaussians."""
    for narrow in (1.0, 0.03):
        mix = random_mixture(6, 8, kind, narrow)
        x = 2 * normal(2000, 8, seed=5)
        products = Quadratic(mix.mean, mix.factor, mix.log_weight)
        single = (
            products.coefficients.float()
            @ products.features((x - products.centre).T.float().contiguous())
        ).T.double()
        exact = gaussian.log_densities(x, mix.mean, mix.factor) + mix.log_weight
        error = float((single - exact).square().mean(dim=0).sqrt().max())
        told = float(products.rounding(x).max()) * torch.finfo(torch.float32).eps
        assert told / 5 < error < 5 * told


def spiky(n, d=6, k=5, narrow=1e-4):
    """Rows of Gaussians that are very narrow one way, far narrower than float32 can tell."""
    draws = Draws(0)
    centres = 3 * normal(k, d, seed=6)
    scale = torch.ones(d, dtype=torch.float64)
    scale[0] = narrow
    turns = torch.linalg.qr(normal(k, d, d, seed=7)).Q
    which = draws.integers(k, n)
    noise = scale * draws.normal(n, d).double()
    x = centres[which] + (noise[:, None] @ turns[which]).squeeze(1)
    eye = torch.eye(d, dtype=torch.float64).expand(k, d, d)
    start = Mixture(torch.full((k,), 1 / k).double().log(), centres, eye, torch.zeros(k).long())
    return x, start


def climbed(x, start, passes, pseudo=0.0):
    d = x.shape[1]
    prior = Prior(torch.zeros(d, d, dtype=torch.float64), pseudo, 1e-12)
    rows = [(part, torch.zeros(len(part)).long()) for part in x.split(500)]
    steps = list(itertools.islice(climb(rows, start, prior), passes))
    return steps[-1][0], [value for _, value in steps]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("narrow", [1e-4, 0.5])
def test_the_likelihood_never_falls_at_any_precision(dtype, narrow):
    x, start = spiky(3000, narrow=narrow)
    _, values = climbed(x.to(dtype), start, 15)
    allowed = {1e-4: 1e-7, 0.5: 1e-9}[narrow] if dtype == torch.float64 else 1e-5
    assert all(b >= a - allowed for a, b in itertools.pairwise(values))
    assert values[-1] > values[0] + 0.1


def test_float32_is_left_where_it_would_not_do(monkeypatch):
    x, start = spiky(3000, narrow=1e-2)
    single, exact = climbed(x.float(), start, 10)[1], climbed(x.float().double(), start, 10)[1]
    assert single == pytest.approx(exact, abs=1e-7)
    monkeypatch.setattr(mixture, "ROUNDING", math.inf)  # what the limit keeps away
    careless = climbed(x.float(), start, 10)[1]
    assert min(b - a for a, b in itertools.pairwise(careless)) < -1e-4


@pytest.mark.parametrize("wide", [1, 10])
def test_a_pass_that_narrows_too_much_for_its_rounding_is_made_again(monkeypatch, wide):
    """Without that the likelihoods of some pass differ by 0.1 and more."""
    made = []
    monkeypatch.setattr(
        mixture,
        "expect",
        lambda *a, **more: (made.append(more.get("exact")), expect(*a, **more))[1],
    )
    x, start = spiky(3000, narrow=1e-4)
    start = start._replace(factor=wide * start.factor)
    single = climbed(x.float(), start, 20)[1]
    assert made.count(True) >= 1
    exact = climbed(x.float().double(), start, 20)[1]
    assert single == pytest.approx(exact, abs=1e-3)  # rounding that is let pass, see ROUNDING


def test_float32_gives_the_likelihood_of_float64():
    x, start = spiky(4000, d=10, k=8, narrow=0.3)
    single, double = (climbed(x.to(t), start, 20)[1] for t in (torch.float32, torch.float64))
    assert single == pytest.approx(double, rel=1e-6)


@pytest.mark.parametrize("d", [3, 300])
def test_half_the_products_are_all(d):
    x, into = normal(40, d), normal(d, d, seed=1)
    into = into + into.T
    expected = into + x.T @ x
    gaussian.add_products(x, into)
    assert torch.allclose(into, expected, atol=1e-12)


def test_shrinking_is_that_of_schaefer_and_strimmer():
    x = normal(30, 6) @ normal(6, 6, seed=1)
    x = x - x.mean(dim=0)
    products = x[:, :, None] * x[:, None]  # (n, d, d)
    covariance, off = products.mean(dim=0), 1 - torch.eye(6, dtype=torch.float64)
    noise = products.var(dim=0, correction=0) / (len(x) - 1)
    share = float((noise * off).sum() / (covariance.square() * off).sum())
    ours, intensity = gaussian.shrink(x)
    assert intensity == pytest.approx(share)
    assert torch.allclose(ours, covariance * (1 - share * off))
    alone, full = gaussian.shrink(torch.zeros(4, 2, dtype=torch.float64))
    assert (float(alone.abs().sum()), full) == (0.0, 1.0)
