"""Flow: a bijection whose density is the one that autograd, grids and exact sums find."""

import math

import pytest
import torch

from likewise.core.condition import Labels
from likewise.core.contract import Controls, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.families.flow import Flow, FlowConfig, plan
from likewise.train.job import Job
from likewise.train.loop import Trainer

LABELS = Labels(names=("a", "b"))
SHAPES = [(1, 8, 8), (1, 5, 7), (1, 1, 1), (3, 8, 8), (2, 3, 5), (1,), (2,), (5,)]


class Pairs:
    """A source of tensors."""

    def __init__(self, x, space, labels=None):
        self.x, self.space = x, space
        self.labels = labels
        self.conditions = () if labels is None else (LABELS,)

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        present = torch.ones(len(index), dtype=torch.bool)
        c = {} if self.labels is None else {"label": (self.labels[index], present)}
        return self.x[index], c


def bounded(shape):
    return Continuous(shape=shape, low=-1.0, high=1.0, step=0.125)


def make(space, conditions=(), *, wild=0.1, **settings):
    """A small flow with random weights, so that no layer is the identity it starts as."""
    torch.manual_seed(0)
    settings = {"width": 8, "steering": 6, **settings}
    flow = Flow(FlowConfig(**settings), space, conditions)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += wild * torch.randn_like(parameter)
    return flow.eval()


def labelled(n):
    return {"label": (torch.arange(n) % 2, torch.ones(n, dtype=torch.bool))}


def moons(n):
    """Two interleaved half circles, and which one each point is of."""
    rng = Draws(11)
    kind = torch.arange(n) % 2
    angle = math.pi * rng.uniform(n) + math.pi * kind
    x = torch.stack([angle.cos() + kind, angle.sin() + 0.5 * kind], dim=1)
    return x + 0.15 * rng.normal(n, 2), kind


@pytest.fixture(scope="module")
def trained():
    """A flow of the moons, steered by which moon."""
    x, kind = moons(1000)
    space = Continuous(shape=(2,))
    torch.manual_seed(0)
    flow = Flow(FlowConfig(width=32, steps=3), space, (LABELS,))
    Trainer(flow, Pairs(x, space, kind), Job(name="flow", steps=150, batch=128, ema=0.95)).run()
    return flow


def grid(low, high, count):
    """Points of a square grid (count², 2) and the area of each."""
    line = torch.linspace(low, high, count + 1)[:-1] + (high - low) / count / 2
    return torch.cartesian_prod(line, line), ((high - low) / count) ** 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("conditions", [(), (LABELS,)])
def test_inverse_is_exact_on_random_weights(shape, conditions):
    space = Continuous(shape=shape)
    flow = make(space, conditions, wild=0.05)
    x, c = 2 * Draws(1).normal(32, *shape), labelled(32)
    flow.prepare(Pairs(x, space, c["label"][0] if conditions else None), rng=Draws(0))
    with torch.no_grad():
        z, log_det = flow.to_noise(x, c)
        assert z.shape == (32, math.prod(shape))
        assert (z.reshape(x.shape) - x).abs().max() > 0.5
        assert torch.isfinite(log_det).all()
        assert (flow.from_noise(z, c) - x).abs().max() < 1e-4


def test_inverse_is_exact_on_trained_weights(trained):
    x, kind = moons(500)
    c = {"label": (kind, torch.ones(500, dtype=torch.bool))}
    with torch.no_grad():
        assert (trained.decode(trained.encode(x, c), c) - x).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 3, 3), (3, 2, 2), (1, 1, 1), (1,), (6,)])
def test_log_determinant_is_that_of_autograd(shape):
    flow = make(bounded(shape), (LABELS,)).double()
    x = (0.5 * Draws(2).normal(2, *shape)).clamp(-1, 1).double()
    c = labelled(2)
    _, log_det = flow.to_noise(x, c)
    for row in range(2):
        one = {"label": (c["label"][0][row : row + 1], c["label"][1][row : row + 1])}
        jacobian = torch.autograd.functional.jacobian(
            lambda value, one=one: flow.to_noise(value[None], one)[0][0], x[row]
        )
        truth = torch.linalg.slogdet(jacobian.reshape(x[row].numel(), -1))[1]
        assert log_det[row].item() == pytest.approx(truth.item(), abs=1e-8)


@pytest.mark.parametrize("present", [True, False])
def test_density_integrates_to_one(trained, present):
    points, area = grid(-5.0, 6.0, 330)
    c = {"label": (torch.ones(len(points)).long(), torch.full((len(points),), present))}
    with torch.no_grad():
        mass = trained.log_prob(points, c).exp().sum() * area
    assert mass.item() == pytest.approx(1.0, abs=0.01)


def test_density_on_a_range_integrates_to_one():
    flow = make(Continuous(shape=(2,), low=0.0, high=3.0), wild=0.1)
    points, area = grid(0.0, 3.0, 500)
    with torch.no_grad():
        assert flow.log_prob(points).exp().sum().item() * area == pytest.approx(1.0, abs=0.01)


def test_masses_of_all_cells_sum_to_the_share_inside_the_range():
    space = Continuous(shape=(2,), low=-1.0, high=1.0, step=0.25)
    flow = make(space, wild=0.1)
    line = torch.linspace(-1.0, 1.0, 9)
    cells = torch.cartesian_prod(line, line)
    with torch.no_grad():
        total = flow.log_prob(cells, rng=Draws(3), draws=200).exp().sum().item()
        raw = flow.from_noise(Draws(4).normal(20000, 2))
    inside = ((raw.abs() < 1.125).all(dim=1)).float().mean().item()
    assert total == pytest.approx(inside, abs=0.02)
    assert total < 1.0 + 0.02


def test_more_draws_tighten_the_bound():
    flow = make(bounded((1, 4, 4)))
    x = flow.sample(200, rng=Draws(0))
    with torch.no_grad():
        few, many = (flow.log_prob(x, rng=Draws(1), draws=k).mean() for k in (1, 16))
    assert many > few


def test_it_learns_two_moons_and_their_labels(trained):
    x, kind = moons(600)
    known = torch.ones(600, dtype=torch.bool)
    with torch.no_grad():
        right = trained.log_prob(x, {"label": (kind, known)})
        wrong = trained.log_prob(x, {"label": (1 - kind, known)})
        without = trained.log_prob(x)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x)
    assert right.mean() > without.mean() > gaussian.mean() + 0.2
    assert (right > wrong).float().mean() > 0.9
    drawn = trained.sample(600, {"label": (kind, known)}, rng=Draws(5))
    with torch.no_grad():
        assert trained.log_prob(drawn, {"label": (kind, known)}).mean() == pytest.approx(
            right.mean().item(), abs=0.3
        )


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_units_of_a_column_do_not_matter(scale):
    """Columns in any unit start at mean 0 and deviation 1."""
    space = Continuous(shape=(3,))
    x = scale * (5 + Draws(0).normal(256, 3))
    torch.manual_seed(0)
    flow = Flow(FlowConfig(width=8), space)
    flow.prepare(Pairs(x, space), rng=Draws(0))
    z = flow.encode(x)
    assert z.mean().abs() < 0.1
    assert z.std().item() == pytest.approx(1.0, abs=0.1)


def test_start_on_pictures_has_even_noise_and_few_nats():
    space = bounded((1, 8, 8))
    x = space.quantise(Draws(0).normal(256, 1, 8, 8) * 0.4 - 0.5)
    torch.manual_seed(0)
    flow = Flow(Flow.preset("xs", space, ()), space)
    flow.prepare(Pairs(x, space), rng=Draws(0))
    loss = next(flow.losses(x, {}, step=Step(Draws(1), 0.0))).value
    assert loss.shape == (256,)
    assert 0 < loss.mean() < math.log(17) + 0.5


@pytest.mark.parametrize("extreme", [1e3, 1e6, 1e12])
def test_extreme_inputs_give_finite_losses_and_gradients(extreme):
    flow = make(Continuous(shape=(4,)), wild=1.0).train()
    x = extreme * Draws(0).normal(16, 4)
    loss = next(flow.losses(x, {}, step=Step(Draws(1), 0.0))).value
    (loss / extreme**2).mean().backward()
    assert torch.isfinite(loss).all()
    assert all(torch.isfinite(p.grad).all() for p in flow.parameters())


def test_values_beyond_the_range_have_a_finite_density():
    flow = make(bounded((1, 4, 4)))
    assert torch.isfinite(flow.log_prob(torch.full((2, 1, 4, 4), 40.0))).all()


def test_codes_are_those_of_cell_centres_and_decode_to_the_very_values():
    space = bounded((1, 6, 6))
    flow = make(space, (LABELS,))
    c = labelled(20)
    x = flow.sample(20, c, rng=Draws(0))
    codes = flow.encode(x, c)
    flow.code_space.check(codes.detach())
    assert torch.equal(codes, flow.encode(x, c))
    torch.testing.assert_close(flow.decode(codes, c), x, atol=1e-6, rtol=0)


def test_temperature_scales_the_noise(trained):
    wide, narrow = (
        trained.encode(trained.sample(50, rng=Draws(0), controls=Controls(temperature=t)))
        for t in (1.0, 0.25)
    )
    torch.testing.assert_close(narrow, 0.25 * wide, atol=1e-3, rtol=1e-3)


def test_dropout_is_all_that_training_changes():
    flow = make(bounded((1, 8, 8)), dropout=0.0)
    x = flow.sample(4, rng=Draws(0))
    assert torch.equal(flow.train().log_prob(x), flow.eval().log_prob(x))


def test_gradients_of_parts_of_a_batch_add_up():
    space = Continuous(shape=(3,))
    flow = make(space).train()
    x = Draws(0).normal(8, 3)
    whole = next(flow.losses(x, {}, step=Step(Draws(1), 0.0))).value
    parts = [
        next(flow.losses(x[i : i + 4], {}, step=Step(Draws(1, i), 0.0))).value for i in (0, 4)
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_plans_halve_even_sides_and_use_up_every_number():
    for shape in [(1, 8, 8), (1, 28, 28), (3, 64, 64), (1, 29, 27), (3, 5, 7), (1, 1, 1)]:
        scales = plan(shape, 4)
        assert sum(scale.leaves for scale in scales) == math.prod(shape)
        assert all(scale.shape[0] > 1 for scale in scales) or math.prod(shape) == 1
    assert [scale.shape for scale in plan((1, 28, 28), 4)] == [(4, 14, 14), (8, 7, 7), (196, 1, 1)]


def test_it_refuses_what_it_cannot_learn():
    from likewise.core.space import Categorical

    assert "not categorical" in Flow.refuses(Categorical(shape=(4,), categories=3))
