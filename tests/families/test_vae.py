"""The VAE's bound against closed forms and sums over all values; samples against the bound."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import nn

from likewise.core.condition import Labels
from likewise.core.contract import SIZES, Controls, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.families.vae import FLOOR, VAE, Config, Mixture

DIGITS = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)
TEN = (Labels(names=tuple("0123456789")),)
SPACES = [
    DIGITS,
    Continuous(shape=(3, 5, 7), low=-1.0, high=1.0, step=2 / 255),
    Continuous(shape=(1, 1, 1), low=0.0, high=1.0),
    Continuous(shape=(4,)),
    Continuous(shape=(3,), step=0.5),
    Continuous(shape=(6, 2), low=0.0, high=9.0, step=1.0),
]


def build(config, space, conditions=(), seed=0):
    torch.manual_seed(seed)
    return VAE(config, space, conditions)


def shaken(model, seed=0, std=0.3):
    """The model with weights that no zero start keeps silent."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


def batch(space, n, seed=0):
    torch.manual_seed(seed)
    x = space.quantise(torch.randn(n, *space.shape))
    return x, {"label": (torch.arange(n) % 10, torch.ones(n, dtype=torch.bool))}


def train(model, x, steps, rate, conditions=None):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    values = []
    for index in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - index / steps)
        step = Step(Draws(index), index / steps, index)
        (loss,) = model.losses(x, conditions or {}, step=step)
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()
        values.append(loss.value.mean().item())
    model.eval()
    return values


def pca(orthogonal=True):
    """A linear VAE, and the Gaussian that its p(x) is."""
    config = Config(latent=2, trunk="linear", prior="normal", scale="shared", warmup=0.0)
    model = build(config, Continuous(shape=(5,)))
    decoder, encoder = model.decoder.net, model.encoder.net
    basis = torch.linalg.qr(torch.randn(5, 5))[0][:, :2]
    w = basis * torch.tensor([2.0, 0.7]) if orthogonal else torch.randn(5, 2)
    mu = torch.randn(5)
    model.log_scale.data.fill_(0.3)
    s = math.exp(FLOOR + math.log1p(math.exp(-0.7 - FLOOR)))
    m = w.T @ w + s**2 * torch.eye(2)
    posterior = torch.linalg.solve(m, w.T)
    variance = (s**2 * torch.linalg.inv(m)).diagonal()
    decoder.weight.data, decoder.bias.data = w, mu
    encoder.weight.data = torch.cat([posterior, torch.zeros(2, 5)])
    # log scales go through a soft floor, so its inverse is what the bias has to be
    above = torch.log(torch.expm1(0.5 * variance.log() - FLOOR)) + FLOOR
    encoder.bias.data = torch.cat([-posterior @ mu, above])
    covariance = (w @ w.T + s**2 * torch.eye(5)).numpy()
    return model.eval(), stats.multivariate_normal(mu.numpy(), covariance)


def test_a_linear_vae_is_probabilistic_pca():
    model, truth = pca()
    x = torch.tensor(truth.rvs(40, random_state=0)).float()
    exact = torch.tensor(truth.logpdf(x.numpy())).float()
    for draws in (1, 3):  # the posterior is exact, so one draw is enough
        torch.testing.assert_close(model.log_prob(x, draws=draws), exact, atol=1e-3, rtol=0)


@torch.no_grad()
def test_the_bound_rises_with_draws_to_the_closed_form():
    model, truth = pca(orthogonal=False)
    model.encoder.net.bias.data[2:] += 0.8  # a posterior that is not the exact one
    x = torch.tensor(truth.rvs(400, random_state=0)).float()
    exact = torch.tensor(truth.logpdf(x.numpy())).float()
    bounds = [model.log_prob(x, draws=draws).mean() for draws in (1, 2, 4, 8, 300)]
    assert bounds == sorted(bounds)  # the draws of a smaller number are the first of a larger
    assert all(float(bound) < float(exact.mean()) + 1e-3 for bound in bounds)
    assert float(bounds[0]) < float(exact.mean()) - 0.02
    assert abs(float(bounds[-1] - exact.mean())) < 5e-3


def test_a_trained_linear_vae_reaches_the_likelihood_of_pca():
    from sklearn.decomposition import PCA

    model, truth = pca()
    x = torch.tensor(truth.rvs(300, random_state=1)).float()
    fresh = build(model.config, model.space, seed=3)
    train(fresh, x, 400, 0.05)
    reached = fresh.log_prob(x, draws=100).mean().item()
    best = PCA(2).fit(x.double().numpy()).score(x.double().numpy())
    assert abs(reached - best) < 0.05


SMALL = Continuous(shape=(1, 1, 2), low=-1.0, high=1.0, step=1.0)


def cells():
    values = torch.tensor([-1.0, 0.0, 1.0])
    return torch.cartesian_prod(values, values).reshape(9, 1, 1, 2)


def masses(model, c=None):
    """(9,) the mass of each cell: the mean of the importance weights of many draws."""
    each = model.log_prob(cells().repeat(600, 1, 1, 1), c, draws=5)
    return each.exp().reshape(600, 9).mean(0)


@pytest.mark.parametrize("scale", ["shared", "each", "decoder"])
@torch.no_grad()
def test_the_masses_of_all_values_sum_to_one(scale):
    config = Config(latent=2, width=8, components=3, scale=scale)
    model = shaken(build(config, SMALL))
    assert abs(float(masses(model).sum()) - 1) < 0.02


@torch.no_grad()
def test_samples_come_from_the_distribution_that_log_prob_speaks_of():
    config = Config(latent=2, width=8, components=3)
    model = shaken(build(config, SMALL, TEN), seed=2)
    c = {"label": (torch.full((4000,), 4), torch.ones(4000, dtype=torch.bool))}
    same = {"label": (torch.full((5400,), 4), torch.ones(5400, dtype=torch.bool))}
    x = model.sample(4000, c, rng=Draws(5))
    code = ((x.flatten(1) + 1) @ torch.tensor([3.0, 1.0])).long()
    found = torch.bincount(code, minlength=9).double()
    expected = masses(model, same).double()
    expected = expected / expected.sum() * 4000
    assert stats.chisquare(found.numpy(), expected.numpy()).pvalue > 0.01


@torch.no_grad()
def test_the_mixture_prior_is_a_mixture():
    torch.manual_seed(0)
    prior = Mixture(2, 3, 4)
    e = torch.randn(1, 4)
    logits, means, log_scales = (part[0] for part in prior._components(e))
    z = torch.randn(7, 2)
    each = [
        w * stats.multivariate_normal(m, s).pdf(z)
        for w, m, s in zip(
            logits.softmax(0).tolist(),
            means.numpy(),
            [scale.exp().square().diag().numpy() for scale in log_scales],
            strict=True,
        )
    ]
    torch.testing.assert_close(
        prior.log_prob(z, e.expand(7, 4)), torch.tensor(sum(each)).log().float()
    )
    draws = prior.sample(20000, e.expand(20000, 4), rng=Draws(0), controls=Controls())
    mean = (logits.softmax(0)[:, None] * means).sum(0)
    torch.testing.assert_close(draws.mean(0), mean, atol=0.05, rtol=0)


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("conditions", [(), TEN], ids=["free", "labels"])
def test_every_space_is_learned_scored_and_sampled(space, conditions):
    model = build(VAE.preset("xs", space, conditions), space, conditions)
    x, c = batch(space, 6)
    c = c if conditions else {}
    (loss,) = model.losses(x, c, step=Step(Draws(0), 0.5))
    assert loss.value.shape == (6,)
    loss.value.mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    sample = model.sample(5, rng=Draws(0))
    space.check(sample)
    assert model.log_prob(x, c).shape == (6,)
    z = model.encode(x, c)
    model.code_space.check(z.detach())
    space.check(model.decode(z.detach(), c))


@pytest.mark.parametrize("size", SIZES)
def test_presets_build(size):
    for space in SPACES[:4]:
        assert VAE.preset(size, space, TEN).latent <= space.dimensions
    model = build(VAE.preset(size, DIGITS, TEN), DIGITS, TEN)
    assert model.sample(1, rng=Draws(0)).shape == (1, 1, 8, 8)


def test_loss_rows_are_their_own():
    model = shaken(build(Config(), DIGITS, TEN), std=0.1)
    x, c = batch(DIGITS, 6)
    (whole,) = model.losses(x, c, step=Step(Draws(3), 0.5))
    part = {"label": tuple(value[2:5] for value in c["label"])}
    (some,) = model.losses(x[2:5], part, step=Step(Draws(3, start=2), 0.5))
    torch.testing.assert_close(some.value, whole.value[2:5])


def test_sample_rows_are_their_own_and_survive_saving():
    model = shaken(build(Config(), DIGITS, TEN), std=0.1)
    _, c = batch(DIGITS, 6)
    whole = model.sample(6, c, rng=Draws(1))
    part = {"label": tuple(value[4:] for value in c["label"])}
    torch.testing.assert_close(model.sample(2, part, rng=Draws(1, start=4)), whole[4:])
    other = build(Config(), DIGITS, TEN, seed=9)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval().sample(6, c, rng=Draws(1)), whole)
    assert not torch.equal(model.sample(6, c, rng=Draws(2)), whole)


def test_the_mean_has_no_noise_and_the_controls_narrow_the_rest():
    model = shaken(build(Config(latent=3, width=32, depth=2), Continuous(shape=(2,))), std=0.2)
    loud = model.sample(500, rng=Draws(0)).var(0).sum()
    for controls in (Controls(temperature=0.3), Controls(truncation=0.3)):
        assert model.sample(500, rng=Draws(0), controls=controls).var(0).sum() < loud
    quiet = VAE(replace(model.config, sample_mean=True), model.space)
    quiet.load_state_dict(model.state_dict())
    assert quiet.sample(500, rng=Draws(0)).var(0).sum() < loud


def test_the_density_is_in_the_units_of_the_data():
    space = Continuous(shape=(2,))
    model = shaken(build(Config(latent=2, width=16, depth=1), space))
    x = torch.randn(5, 2)
    before = model.log_prob(x, draws=4)
    model.units.spread.fill_(10.0)
    torch.testing.assert_close(model.log_prob(10 * x, draws=4), before - 2 * math.log(10))


def test_the_kl_comes_in_over_the_warmup():
    model = shaken(build(Config(warmup=0.5), DIGITS), std=0.1)
    x, _ = batch(DIGITS, 4)

    def at(progress):
        (loss,) = model.losses(x, {}, step=Step(Draws(0), progress))
        return loss.value.mean() * 64 + loss.notes["likelihood"], loss.notes["kl"]

    for progress, weight in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        value, kl = at(progress)
        torch.testing.assert_close(value, weight * kl, atol=1e-2, rtol=1e-4)


def test_two_kinds_of_digits_are_learned_by_label():
    torch.manual_seed(0)
    label = torch.arange(128) % 2
    pattern = torch.stack([torch.eye(8), torch.eye(8).flip(0)])[:, None] * 1.5 - 0.75
    x = DIGITS.quantise(pattern[label] + 0.1 * torch.randn(128, 1, 8, 8))
    two = (Labels(names=("down", "up")),)
    model = build(replace(VAE.preset("xs", DIGITS, two), width=8), DIGITS, two)
    c = {"label": (label, torch.ones(128, dtype=torch.bool))}
    values = train(model, x, 80, 5e-3, c)
    assert values[-1] < 0.6 * values[0]
    made = model.sample(128, c, rng=Draws(0))
    nearest = (made[:, None] - pattern).flatten(2).norm(dim=2).argmin(1)
    assert float((nearest == label).float().mean()) > 0.95
