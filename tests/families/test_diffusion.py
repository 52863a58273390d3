"""Flow matching: the algebra of the path, then samplers, density and codes on known velocities."""

import math

import pytest
import torch
from torch import nn

from likewise.core.condition import Grid, Labels, Tokens, Vector
from likewise.core.contract import Controls, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.families import diffusion
from likewise.families.diffusion import Config, Diffusion, path, spread, target

LABELS = Labels(names=("a", "b"))
DIGITS = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)


class Source:
    """Tensors as batches."""

    def __init__(self, x, space):
        self.x, self.space, self.conditions = x, space, ()

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        return self.x[index], {}


class Gaussian(nn.Module):
    """F for data N(mean, covariance) in the network's units, by the normal's regression."""

    def __init__(self, mean, covariance):
        super().__init__()
        self.mean, self.covariance = mean, covariance

    def forward(self, scaled, t, c):
        t, eye = float(t[0]), torch.eye(len(self.mean))
        s = math.sqrt(t**2 + (1 - t) ** 2)
        x = scaled.flatten(1) * s
        variance = (1 - t) ** 2 * eye + t**2 * self.covariance
        gain = (t * self.covariance - (1 - t) * eye) @ torch.linalg.inv(variance)
        v = self.mean + (x - t * self.mean) @ gain.T
        return (s * v - (2 * t - 1) * x / s).reshape(scaled.shape)


def known(mean, covariance, shape=None, **settings):
    """A family whose velocity is exact, and the normal distribution that it must have."""
    mean, covariance = torch.tensor(mean), torch.tensor(covariance)
    space = Continuous(shape=shape or (len(mean),))
    family = Diffusion(Config(width=4, **settings), space).eval()
    family.network = Gaussian(mean, covariance)
    return family, torch.distributions.MultivariateNormal(mean, covariance)


def lively(space, conditions=(), **settings):
    """An untrained family whose zeroed layers are at random too."""
    torch.manual_seed(0)
    family = Diffusion(Config(width=8, **settings), space, conditions).eval()
    for parameter in family.parameters():
        nn.init.normal_(parameter, std=0.1)
    return family


def train(family, x, c=None, steps=400):
    """Adam with a falling rate; returns the losses."""
    optimizer = torch.optim.Adam(family.parameters(), lr=5e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    seen = []
    for index in range(steps):
        rows = Draws(index).integers(len(x), 128)
        some = {k: (v[rows], p[rows]) for k, (v, p) in (c or {}).items()}
        (loss,) = family.losses(x[rows], some, step=Step(Draws(index, start=10**6), 0.0, index))
        optimizer.zero_grad()
        loss.value.mean().backward()
        optimizer.step()
        falling.step()
        seen.append(float(loss.value.detach().mean()))
    return seen


def labelled(values):
    values = torch.as_tensor(values)
    return {"label": (values, torch.ones(len(values), dtype=torch.bool))}


def test_the_target_gives_the_velocity_back():
    noise, data, t = Draws(0).normal(9, 3), Draws(1).normal(9, 3), Draws(2).uniform(9, 1)
    x, s = path(noise, data, t), spread(t)
    velocity = ((2 * t - 1) * x / s + target(noise, data, t)) / s
    assert torch.allclose(velocity, data - noise, atol=1e-5)


def test_input_and_target_have_unit_variance_and_do_not_correlate():
    noise, data = Draws(0).normal(100_000, 1), Draws(1).normal(100_000, 1)
    for t in (torch.tensor(0.0), torch.tensor(0.3), torch.tensor(0.9), torch.tensor(1.0)):
        both = torch.cat([path(noise, data, t) / spread(t), target(noise, data, t)], dim=1)
        assert torch.allclose(both.T.cov(), torch.eye(2), atol=0.02)


COVARIANCE = [[1.0, 0.6], [0.6, 0.5]]


def test_ordinary_samples_codes_and_density_of_a_gaussian():
    family, normal = known([1.0, -0.5], COVARIANCE, steps=60, density_steps=20)
    x = family.sample(20_000, rng=Draws(0))
    assert torch.allclose(x.mean(dim=0), normal.mean, atol=0.03)
    assert torch.allclose(x.T.cov(), normal.covariance_matrix, atol=0.03)
    assert torch.allclose(family.log_prob(x[:200]), normal.log_prob(x[:200]), atol=5e-3)
    codes = family.encode(x)
    assert torch.allclose(codes.T.cov(), torch.eye(2), atol=0.03)
    assert torch.allclose(family.decode(codes), x, atol=1e-2)


def test_stochastic_samples_have_the_same_distribution():
    family, normal = known([1.0, -0.5], COVARIANCE, steps=150, shift=1.0)
    controls = Controls(stochastic=True)
    x = family.sample(20_000, rng=Draws(0), controls=controls)
    assert torch.allclose(x.mean(dim=0), normal.mean, atol=0.03)
    assert torch.allclose(x.T.cov(), normal.covariance_matrix, atol=0.04)
    # The way is another: the first draw, the start, no longer decides the end.
    assert not torch.allclose(x, family.sample(20_000, rng=Draws(0)), atol=0.5)


def test_scale_and_mean_of_the_data_are_taken_out():
    x = torch.tensor([5.0, -300.0]) + torch.tensor([0.01, 40.0]) * Draws(0).normal(4000, 2)
    family, _ = known([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    family.prepare(Source(x, family.space), rng=Draws(0))
    normal = torch.distributions.Normal(x.mean(dim=0), x.std(dim=0))
    assert torch.allclose(family.log_prob(x), normal.log_prob(x).sum(dim=1), atol=2e-3)
    found = family.sample(5000, rng=Draws(1))
    assert torch.allclose(found.std(dim=0), x.std(dim=0), rtol=0.05)


def test_a_constant_entry_is_prepared_for():
    family = Diffusion(Config(width=4), Continuous(shape=(2,)))
    x = torch.cat([torch.full((50, 1), 7.0), Draws(0).normal(50, 1)], dim=1)
    family.prepare(Source(x, family.space), rng=Draws(0))
    assert family.mean[0] == 7
    assert family.scale[0] == 1
    assert family.scale[1] == pytest.approx(float(x[:, 1].std(correction=0)), rel=1e-5)


def test_where_there_is_a_step_it_is_the_mass_of_the_cell():
    family, _normal = known([0.2], [[1.3]])
    family.space = Continuous(shape=(1,), step=0.5)
    x = 0.5 * torch.arange(-8, 9.0)[:, None]
    one = torch.distributions.Normal(0.2, 1.3**0.5)
    mass = (one.cdf(x + 0.25) - one.cdf(x - 0.25)).log().squeeze(1)
    many = family.log_prob(x, rng=Draws(0), draws=40)
    assert torch.allclose(many, mass, atol=0.15)
    single = family.log_prob(x.repeat(100, 1), rng=Draws(1)).reshape(100, 17).mean(dim=0)
    jensen = (mass - single)[8:10]  # where the density bends least, the bound is nearly tight
    assert (single < mass + 0.15).all()
    assert jensen.abs().max() < 0.05


def correlated(d):
    mix = 0.3 * Draws(5).normal(d, d)
    return (mix @ mix.T + 0.3 * torch.eye(d)).tolist()


def test_estimated_density_is_unbiased_and_never_turns_noise_into_likelihood():
    d = diffusion.EXACT_DIVERGENCE + 4
    family, normal = known([0.0] * d, correlated(d), density_steps=10)
    x = Draws(0).normal(30, d) @ torch.linalg.cholesky(normal.covariance_matrix).T
    each = family.log_prob(x.repeat(100, 1), rng=Draws(1)).reshape(100, 30)
    noise = float(each.std(dim=0).mean())
    assert noise > 0.1
    error = each.mean(dim=0) - normal.log_prob(x)
    assert error.abs().max() < 0.02 + 5 * noise / 100**0.5
    many = family.log_prob(x.repeat(10, 1), rng=Draws(2), draws=8).reshape(10, 30)
    upwards = 0.4 * noise**2 * (1 - 1 / 8)  # about what log-mean-exp would add
    assert abs(float((many - normal.log_prob(x)).mean())) < upwards


def test_chunks_change_nothing(monkeypatch):
    family = lively(DIGITS, (LABELS,), density_steps=2)
    x = DIGITS.quantise(Draws(0).normal(5, 1, 8, 8))
    c = labelled([0, 1, 0, 1, 0])
    whole = family.log_prob(x, c, rng=Draws(1), draws=2)
    monkeypatch.setattr(diffusion, "CHUNK", 2 * 64)
    assert torch.allclose(family.log_prob(x, c, rng=Draws(1), draws=2), whole, atol=1e-3)


def test_trained_on_two_moons_of_points_its_density_integrates_to_one():
    side = 2.0 * Draws(0).integers(2, 2000) - 1
    x = torch.stack([side, 0.5 * side], dim=1) + 0.3 * Draws(1).normal(2000, 2)
    torch.manual_seed(0)
    space = Continuous(shape=(2,))
    family = Diffusion(Config(width=32, depth=2, density_steps=10, steps=20), space)
    family.prepare(Source(x, space), rng=Draws(2))
    seen = train(family, x)
    assert sum(seen[-50:]) < 0.9 * sum(seen[:20]) / 20 * 50
    family.eval()
    axis = torch.linspace(-4, 4, 81)
    grid = torch.cartesian_prod(axis, axis)
    total = float(family.log_prob(grid).exp().sum()) * 0.1**2
    assert total == pytest.approx(1.0, abs=0.02)
    fresh = torch.stack([side, 0.5 * side], dim=1) + 0.3 * Draws(3).normal(2000, 2)
    parts = torch.stack(
        [
            torch.distributions.Normal(torch.tensor([s, 0.5 * s]), 0.3).log_prob(fresh).sum(dim=1)
            for s in (-1.0, 1.0)
        ]
    )
    best = float((parts.logsumexp(dim=0) - math.log(2)).mean())
    assert best - 0.25 < float(family.log_prob(fresh).mean()) < best + 0.02
    assert float((family.sample(2000, rng=Draws(4))[:, 0] > 0).float().mean()) == pytest.approx(
        0.5, abs=0.08
    )


def test_labels_steer_and_guidance_pushes_further():
    labels = Draws(0).integers(2, 1000)
    x = (2.0 * labels - 1)[:, None] + 0.7 * Draws(1).normal(1000, 2)
    torch.manual_seed(0)
    family = Diffusion(Config(width=32), Continuous(shape=(2,)), (LABELS,))
    train(family, x, labelled(labels), steps=200)
    family.eval()

    def mean(c, **controls):
        return float(family.sample(500, c, rng=Draws(2), controls=Controls(**controls)).mean())

    ones = labelled(torch.ones(500, dtype=torch.int64))
    assert mean(ones) == pytest.approx(1.0, abs=0.2)
    assert mean(ones, guidance=3.0) > mean(ones) + 0.1
    assert mean(ones, guidance=0.0) == pytest.approx(mean(None), abs=1e-4)
    assert abs(mean(None)) < 0.25


def test_guidance_goes_beyond_the_condition_on_a_line():
    family = lively(DIGITS, (LABELS,))
    x, c = Draws(0).normal(2, 1, 8, 8), labelled([0, 1])
    with torch.no_grad():
        free, steered = family._velocity(None)(x, 0.4), family._velocity(c)(x, 0.4)
        assert (steered - free).abs().max() > 1e-3
        guided = family._velocity(c, 3.0)(x, 0.4)
    assert torch.allclose(guided, free + 3 * (steered - free), atol=1e-4)


def test_completion_has_the_conditional_distribution():
    family, _normal = known([1.0, -0.5], COVARIANCE, steps=40)
    n = 4000
    x = torch.tensor([2.0, math.nan]).repeat(n, 1)
    mask = torch.tensor([True, False]).expand(n, 2)
    done = family.complete(x, mask, rng=Draws(0))
    assert (done[:, 0] == 2.0).all()
    mean = -0.5 + 0.6 * (2.0 - 1.0)
    assert float(done[:, 1].mean()) == pytest.approx(mean, abs=0.08)
    assert float(done[:, 1].var()) == pytest.approx(0.5 - 0.36, rel=0.25)


def test_no_draw_of_a_density_is_used_twice():
    family = lively(DIGITS, density_steps=2)
    rng = Draws(0)
    family.log_prob(torch.zeros(3, 1, 8, 8), rng=rng, draws=2)
    assert rng.draw == 2 * (1 + 4 * 2)  # a place in the cell, then signs at each evaluation


@pytest.mark.parametrize("controls", [Controls(), Controls(stochastic=True, guidance=2.0)])
def test_a_sample_does_not_depend_on_its_batch(controls):
    family = lively(DIGITS, (LABELS,), steps=3)
    whole = family.sample(5, labelled([0, 1, 0, 1, 1]), rng=Draws(3), controls=controls)
    part = family.sample(2, labelled([1, 1]), rng=Draws(3, start=3), controls=controls)
    assert torch.allclose(whole[3:], part, atol=DIGITS.step + 1e-4)
    assert (whole[3:] == part).float().mean() > 0.98
    DIGITS.check(whole)
    again = family.sample(5, labelled([0, 1, 0, 1, 1]), rng=Draws(3), controls=controls)
    assert torch.equal(whole, again)


def test_losses_are_those_of_the_micro_batches():
    family = lively(DIGITS, (LABELS,))
    x, c = DIGITS.quantise(Draws(0).normal(6, 1, 8, 8)), labelled([0, 1, 0, 1, 0, 1])
    (whole,) = family.losses(x, c, step=Step(Draws(1), 0.0))
    half = labelled([1, 0, 1])
    (part,) = family.losses(x[3:], half, step=Step(Draws(1, start=3), 0.0))
    assert whole.part == "model"
    assert whole.value.shape == (6,)
    assert torch.allclose(whole.value[3:], part.value, rtol=1e-4)


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_the_loss_of_a_silent_network_is_one(times):
    space = Continuous(shape=(4,))
    family = Diffusion(Config(width=8, times=times), space)
    (loss,) = family.losses(Draws(0).normal(4000, 4), {}, step=Step(Draws(1), 0.0))
    assert float(loss.value.detach().mean()) == pytest.approx(1.0, abs=0.05)


SHAPES = [(3,), (2, 5), (1, 1, 1), (1, 5, 7), (3, 8, 8), (1, 28, 28), (3, 40, 32)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steered", [False, True])
def test_presets_learn_any_shape_under_any_condition(shape, steered):
    space, present = Continuous(shape=shape), torch.ones(2, dtype=torch.bool)
    c = {
        "label": (torch.tensor([0, 1]), present),
        "text": (torch.tensor([[1, 2], [3, 0]]), present),
        "map": (Draws(1).normal(2, 2, 4, 4), present),
        "properties": (Draws(2).normal(2, 3), present),
    }
    kinds = (
        LABELS,
        Tokens(length=2, tokens=4),
        Grid(shape=(2, 4, 4)),
        Vector(names=("a", "b", "c")),
    )
    conditions = kinds if steered else ()
    torch.manual_seed(0)
    family = Diffusion(Diffusion.preset("xs", space, conditions), space, conditions)
    x = Draws(0).normal(2, *shape)
    (loss,) = family.losses(x, c if steered else {}, step=Step(Draws(1), 0.0))
    loss.value.mean().backward()
    assert loss.value.shape == (2,)
    assert torch.isfinite(loss.value).all()
    assert [name for name, p in family.named_parameters() if p.grad is None] == []


def test_autocast_keeps_the_loss_in_float32():
    family = lively(DIGITS, (LABELS,), attention=True)
    x, c = DIGITS.quantise(Draws(0).normal(4, 1, 8, 8)), labelled([0, 1, 0, 1])
    (full,) = family.losses(x, c, step=Step(Draws(1), 0.0))
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = family.losses(x, c, step=Step(Draws(1), 0.0))
    assert half.value.dtype == torch.float32
    assert torch.allclose(half.value, full.value, rtol=0.05)
    assert not torch.equal(half.value, full.value)


def test_the_state_is_the_whole_family():
    family = lively(DIGITS, steps=2)
    family.prepare(Source(DIGITS.quantise(Draws(0).normal(9, 1, 8, 8)), DIGITS), rng=Draws(0))
    twin = Diffusion(family.config, DIGITS).eval()
    twin.load_state_dict(family.state_dict())
    assert torch.equal(twin.sample(3, rng=Draws(1)), family.sample(3, rng=Draws(1)))


def test_steps_and_temperature_are_honoured():
    family, _ = known([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    cool = family.sample(4000, rng=Draws(0), controls=Controls(temperature=0.5))
    assert float(cool.std()) == pytest.approx(0.5, abs=0.02)
    calls = []
    family.network.register_forward_hook(lambda *_: calls.append(1))
    family.sample(2, rng=Draws(0), controls=Controls(steps=3))
    assert len(calls) == 6


def test_density_is_for_evaluation_of_any_dtype_of_grad_mode():
    family = lively(DIGITS, density_steps=2)
    x = DIGITS.quantise(Draws(0).normal(2, 1, 8, 8))
    value = family.log_prob(x)
    assert value.shape == (2,)
    assert value.dtype == torch.float32
    assert not value.requires_grad
    assert torch.equal(value, family.log_prob(x))
