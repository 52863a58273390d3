"""The GAN's two losses against their formulas; what it must not do is leave a mode out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from likewise.core.condition import Labels
from likewise.core.config import Optimizer
from likewise.core.contract import SIZES, Controls, Step
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.families.gan import GAN, Config

DIGITS = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)
TEN = (Labels(names=tuple("0123456789")),)
PLANE = Continuous(shape=(2,))
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
    return GAN(config, space, conditions)


def shaken(model, seed=0, std=0.1):
    """The model with weights that no zero start keeps silent."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


def batch(space, n, seed=0):
    torch.manual_seed(seed)
    x = space.quantise(torch.randn(n, *space.shape))
    return x, {"label": (torch.arange(n) % 10, torch.ones(n, dtype=torch.bool))}


def train(model, x, steps, c=None, size=64):
    parts, settings = model.parts(), model.optimizers()
    optimizers = {
        name: torch.optim.Adam(
            part.parameters(),
            settings[name].learning_rate,
            (settings[name].beta1, settings[name].beta2),
        )
        for name, part in parts.items()
    }
    averages = [p.detach().clone() for p in model.parameters()]
    losses = []
    for index in range(steps):
        rows = Draws(index).integers(len(x), size)
        some = {name: (values[rows], present[rows]) for name, (values, present) in c.items()}
        for loss in model.losses(x[rows], some, step=Step(Draws(index), index / steps, index)):
            optimizer = optimizers[loss.part]
            for group in optimizer.param_groups:
                group["lr"] = settings[loss.part].learning_rate * (1 - index / steps)
            optimizer.zero_grad()
            loss.value.mean().backward(inputs=list(parts[loss.part].parameters()))
            optimizer.step()
            losses.append(loss)
        with torch.no_grad():
            torch._foreach_lerp_(averages, list(model.parameters()), 0.01)
    for parameter, average in zip(model.parameters(), averages, strict=True):
        parameter.data = average
    model.eval()
    return losses


def test_the_parts_share_nothing_and_leave_nothing_out():
    model = build(Config(), DIGITS, TEN)
    names = [id(p) for part in model.parts().values() for p in part.parameters()]
    assert sorted(names) == sorted(id(p) for p in model.parameters())
    assert len(set(names)) == len(names)
    assert list(model.optimizers()) == list(model.parts()) == ["critic", "generator"]


def test_the_critics_loss_is_paired_with_both_penalties():
    config = Config(augment=0.0, penalty=3.0, every=4)
    model = shaken(build(config, DIGITS))
    x, _ = batch(DIGITS, 6)
    loss = next(model.losses(x, {}, step=Step(Draws(0), 0.5, 8)))
    made = model.sample(6, rng=Draws(0))

    def steepness(one):
        one = one[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.critic(one, {}).sum(), one)
        return gradient.square().sum()

    pairs = F.softplus(model.critic(made, {}) - model.critic(x, {}))
    steep = torch.stack([steepness(a) + steepness(b) for a, b in zip(x, made, strict=True)])
    torch.testing.assert_close(loss.value, pairs + 3.0 / 2 * 4 * steep)
    total = loss.notes["penalty_real"] + loss.notes["penalty_fake"]
    torch.testing.assert_close(total, steep.mean())


def test_penalties_fall_due_by_the_number_of_the_step_alone():
    model = shaken(build(Config(every=3, width=4), DIGITS))
    x, _ = batch(DIGITS, 4)
    due = [
        "penalty_real" in next(model.losses(x, {}, step=Step(Draws(0), 0.0, index))).notes
        for index in range(7)
    ]
    assert due == [True, False, False, True, False, False, True]


def test_the_generators_loss_is_of_the_critic_as_it_has_become():
    model = shaken(build(Config(augment=0.0), DIGITS))
    x, _ = batch(DIGITS, 6)
    losses = model.losses(x, {}, step=Step(Draws(0), 0.5))
    assert next(losses).part == "critic"
    for parameter in model.critic.parameters():
        parameter.data.mul_(2.0)
    loss = next(losses)
    again = Draws(0)
    again.normal(6, model.config.latent)
    made = model.sample(6, rng=again)
    expected = F.softplus(model.critic(x, {}) - model.critic(made, {}))
    assert loss.part == "generator"
    torch.testing.assert_close(loss.value, expected)
    assert next(losses, None) is None


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("conditions", [(), TEN], ids=["free", "labels"])
def test_every_space_is_learned_and_sampled(space, conditions):
    model = build(GAN.preset("xs", space, conditions), space, conditions)
    x, c = batch(space, 6)
    for loss in model.losses(x, c if conditions else {}, step=Step(Draws(0), 0.5)):
        assert loss.value.shape == (6,)
        parameters = list(model.parts()[loss.part].parameters())
        for parameter in parameters:
            parameter.grad = None
        loss.value.mean().backward(inputs=parameters)
        assert all(p.grad is not None for p in parameters)
    space.check(model.sample(5, rng=Draws(0)))
    space.check(model.sample(5, rng=Draws(0), controls=Controls(truncation=0.5)))


@pytest.mark.parametrize("size", SIZES)
def test_presets_build(size):
    model = build(GAN.preset(size, DIGITS, TEN), DIGITS, TEN)
    assert model.sample(1, rng=Draws(0)).shape == (1, 1, 8, 8)


def test_loss_rows_are_their_own():
    model = shaken(build(Config(augment=0.7), DIGITS, TEN))
    x, c = batch(DIGITS, 6)
    part = {"label": tuple(value[2:5] for value in c["label"])}
    whole = model.losses(x, c, step=Step(Draws(3), 0.5))
    some = model.losses(x[2:5], part, step=Step(Draws(3, start=2), 0.5))
    for all_rows, rows in zip(whole, some, strict=True):
        torch.testing.assert_close(rows.value, all_rows.value[2:5])


def test_sample_rows_are_their_own_and_survive_saving():
    model = shaken(build(Config(), DIGITS, TEN))
    _, c = batch(DIGITS, 6)
    whole = model.sample(6, c, rng=Draws(1))
    part = {"label": tuple(value[4:] for value in c["label"])}
    torch.testing.assert_close(model.sample(2, part, rng=Draws(1, start=4)), whole[4:])
    other = build(Config(), DIGITS, TEN, seed=9)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval().sample(6, c, rng=Draws(1)), whole)


def test_the_critic_sees_made_examples_on_the_grid():
    model = shaken(build(Config(), DIGITS))
    made = model._made({}, 5, Draws(0))
    torch.testing.assert_close(made, DIGITS.quantise(made.detach()))
    (gradient,) = torch.autograd.grad(made.sum(), model.generator.net.last.bias)
    assert bool(gradient.any())


def test_a_collapse_can_be_read_from_the_notes():
    model = shaken(build(Config(width=4), DIGITS))
    x, _ = batch(DIGITS, 16)
    varied = next(model.losses(x, {}, step=Step(Draws(0), 0.0)))
    assert float(varied.notes["pairwise_ratio"]) > 0.05
    for parameter in model.generator.parameters():
        parameter.data.zero_()
    collapsed = next(model.losses(x, {}, step=Step(Draws(0), 0.0)))
    assert float(collapsed.notes["pairwise_ratio"]) == 0.0
    alone = next(model.losses(x[:1], {}, step=Step(Draws(0), 0.0)))
    assert "pairwise_ratio" not in alone.notes


FAST = Optimizer(learning_rate=3e-3, beta1=0.0)
QUICK = Config(
    latent=8, width=64, features=64, steering=16, penalty=0.1, generator=FAST, critic=FAST
)


def ring(n):
    """Eight Gaussians on a circle, far from 0 and from the scale of 1."""
    torch.manual_seed(0)
    mode = torch.arange(n) % 8
    angle = mode * torch.pi / 4
    centre = 10.0 * torch.stack([angle.cos(), angle.sin()], 1) + 50.0
    return centre + torch.randn(n, 2), mode


class Rows:
    space, conditions = PLANE, ()

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        return self.x[index], {}


def test_no_mode_of_a_ring_is_left_out():
    x, mode = ring(1024)
    model = build(QUICK, PLANE)
    model.prepare(Rows(x), rng=Draws(0))
    train(model, x, 400, {})
    made = model.sample(1000, rng=Draws(1))
    centres = torch.stack([x[mode == k].mean(0) for k in range(8)])
    distance, nearest = torch.cdist(made, centres).min(1)
    shares = torch.bincount(nearest[distance < 3.0], minlength=8) / 1000
    assert float(shares.min()) > 0.04  # a fair share is 0.125
    assert float(shares.sum()) > 0.6


def test_labels_steer_the_generator():
    x, mode = ring(1024)
    eight = (Labels(names=tuple("01234567")),)
    model = build(QUICK, PLANE, eight)
    model.prepare(Rows(x), rng=Draws(0))
    present = torch.ones(1024, dtype=torch.bool)
    train(model, x, 200, {"label": (mode, present)})
    made = model.sample(400, {"label": (mode[:400], present[:400])}, rng=Draws(1))
    centres = torch.stack([x[mode == k].mean(0) for k in range(8)])
    nearest = torch.cdist(made, centres).argmin(1)
    assert float((nearest == mode[:400]).float().mean()) > 0.95


def test_a_generator_starts_at_the_middle_of_the_data():
    space = Continuous(shape=(1, 4, 4), low=-1.0, high=1.0)
    x = torch.full((64, 1, 4, 4), -0.5)

    class Grey:
        conditions = ()

        def __init__(self):
            self.space = space

        def __len__(self):
            return len(x)

        def batch(self, index, rng):
            return x[index], {}

    model = GAN(GAN.Config(width=4, latent=2), space)
    model.prepare(Grey(), rng=Draws(0))
    assert torch.allclose(model.generator.middle.tanh(), torch.tensor(-0.5))


def test_weights_without_a_middle_still_open():
    space = Continuous(shape=(1, 4, 4), low=-1.0, high=1.0)
    model = GAN(GAN.Config(width=4, latent=2), space)
    old = {k: v for k, v in model.state_dict().items() if k != "generator.middle"}
    model.generator.middle.fill_(3.0)
    model.load_state_dict(old)
    assert not model.generator.middle.any()


def test_squares_that_do_not_fit_are_refused():
    space = Continuous(shape=(1, 6, 6), low=-1.0, high=1.0)
    with pytest.raises(UsageError, match="patch must be a divisor of height and width"):
        GAN(GAN.Config(patch=4), space)
