"""Pyramids fit any picture, keep what they are given in size, and start from honest noise."""

import pytest
import torch
from scipy import stats

from likewise.core.contract import Controls
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.nn.augment import DRAWS, augment, cut, move, recolour
from likewise.nn.pyramid import FLOOR, Decoder, Encoder, Units, latent_draws, stages

SIZES = [(1, 1), (1, 9), (5, 7), (8, 8), (28, 28)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", [True, False])
def test_any_size_goes_down_and_comes_up(size, norm):
    torch.manual_seed(0)
    settings = {"size": size, "width": 8, "depth": 1, "norm": norm}
    x = torch.randn(6, 3, *size)
    z = Encoder(3, 5, **settings)(x)
    y = Decoder(5, 3, **settings)(z)
    assert z.shape == (6, 5)
    assert y.shape == x.shape


@pytest.mark.parametrize("size", [(8, 8), (64, 64)])
@pytest.mark.parametrize("norm", [True, False])
def test_activations_at_the_start_are_of_the_size_of_the_input(size, norm):
    torch.manual_seed(0)
    settings = {"size": size, "width": 8, "depth": 2, "norm": norm}
    encoder, decoder = Encoder(3, 32, **settings), Decoder(32, 3, **settings)
    found = []
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) and module.weight.any():
            module.register_forward_hook(lambda m, x, y: found.append(y.detach().std().item()))
    decoder(torch.randn(16, 32)), encoder(torch.randn(16, 3, *size))
    assert found
    assert min(found) > 0.01
    assert max(found) < 100


def test_steering_reaches_every_stage():
    torch.manual_seed(0)
    encoder = Encoder(1, 4, size=(9, 9), width=8, depth=1, steering=3)
    x, e = torch.randn(2, 1, 9, 9), torch.randn(2, 3)
    for parameter in encoder.parameters():  # silent branches would hide the steering
        torch.nn.init.normal_(parameter, std=0.1)
    encoder(x, e).sum().backward()
    steers = [p.grad for name, p in encoder.named_parameters() if "steer" in name]
    assert len(steers) == 2 * stages(9, 9)
    assert all(bool(grad.any()) for grad in steers)


def test_a_pyramid_ends_at_the_floor():
    for height in range(1, 70):
        count = stages(height, 3)
        assert -(-height // 2 ** (count - 1)) <= FLOOR
        assert count == 1 or -(-height // 2 ** (count - 2)) > FLOOR


def test_latent_draws_are_a_scaled_truncated_normal():
    controls = Controls(temperature=2.0, truncation=1.5)
    z = latent_draws(500, 8, Draws(0), controls).flatten().numpy() / 2.0
    assert abs(z).max() <= 1.5
    assert stats.kstest(z, stats.truncnorm(-1.5, 1.5).cdf).pvalue > 0.01
    free = latent_draws(500, 8, Draws(0), Controls(temperature=3.0)).flatten().numpy() / 3.0
    assert stats.kstest(free, stats.norm.cdf).pvalue > 0.01


def test_latent_draws_of_a_row_do_not_depend_on_the_batch():
    controls = Controls(truncation=1.0)
    whole = latent_draws(5, 3, Draws(0), controls)
    assert torch.equal(latent_draws(2, 3, Draws(0, start=3), controls), whole[3:])


class Rows:
    conditions = ()

    def __init__(self, x):
        self.x = x
        self.space = Continuous(shape=tuple(x.shape[1:]))

    def __len__(self):
        return len(self.x)

    def batch(self, index, rng):
        return self.x[index], {}


def test_units_come_from_the_range_or_else_from_the_data():
    ranged = Units(Continuous(shape=(2,), low=0.0, high=10.0))
    x = torch.tensor([[0.0, 10.0], [5.0, 2.5]])
    ranged.prepare(Rows(x), Draws(0))
    assert torch.equal(ranged.inward(x), torch.tensor([[-1.0, 1.0], [0.0, -0.5]]))

    torch.manual_seed(0)
    x = torch.randn(3000, 2) * torch.tensor([3.0, 0.0]) + torch.tensor([100.0, 7.3])
    free = Units(Continuous(shape=(2,)))
    free.prepare(Rows(x), Draws(0))
    inward = free.inward(x)
    assert abs(float(inward[:, 0].mean())) < 0.1
    assert abs(float(inward[:, 0].std()) - 1) < 0.05
    assert float(free.spread[1]) == 1.0  # a number that never varies keeps its scale
    torch.testing.assert_close(free.outward(inward), x)


def test_units_of_a_picture_are_those_of_its_channels():
    x = torch.randn(500, 2, 4, 5) * torch.tensor([2.0, 5.0])[:, None, None]
    units = Units(Continuous(shape=(2, 4, 5)))
    units.prepare(Rows(x), Draws(0))
    assert torch.equal(units.spread, units.spread[:, :1, :1].expand(2, 4, 5))
    torch.testing.assert_close(units.spread[:, 0, 0], torch.tensor([2.0, 5.0]), rtol=0.1, atol=0)


def test_nothing_is_augmented_with_share_0_and_all_with_share_1():
    x = torch.randn(50, 3, 8, 8)
    u = Draws(0).uniform(50, DRAWS)
    assert torch.equal(augment(x, u, 0.0), x)
    changed = (augment(x, u, 1.0) != x).flatten(1).any(1)
    assert changed.all()
    some = (augment(x, u, 0.3) != x).flatten(1).any(1).float().mean()
    assert 0.4 < float(some) < 0.9  # 1 - 0.7^3 is 0.66


def test_augmentation_of_a_row_is_its_own_and_lets_gradients_through():
    x = torch.randn(6, 3, 9, 7, requires_grad=True)
    u = Draws(0).uniform(6, DRAWS)
    whole = augment(x, u, 1.0)
    assert torch.equal(augment(x[2:4], u[2:4], 1.0), whole[2:4])
    (gradient,) = torch.autograd.grad(whole[2].sum(), x)
    assert bool(gradient[2].any())
    assert not bool(gradient[[0, 1, 3, 4, 5]].any())


def test_moves_are_those_of_a_plain_loop():
    x = torch.arange(4 * 16 * 9.0).reshape(4, 1, 16, 9)
    u = torch.tensor([[0.01, 0.01], [0.5, 0.5], [0.99, 0.99], [0.99, 0.01]])
    moved = move(x, u)  # at most 2 rows and 1 column
    for row, (down, right) in enumerate([(-2, -1), (0, 0), (2, 1), (2, -1)]):
        for i in range(16):
            for j in range(9):
                a, b = min(max(i - down, 0), 15), min(max(j - right, 0), 8)
                assert moved[row, 0, i, j] == x[row, 0, a, b]


def test_cuts_are_boxes_of_half_the_side():
    x = torch.ones(2, 3, 8, 8)
    y = cut(x, torch.tensor([[0.5, 0.5], [0.0, 0.5]]))
    assert float(y[0].sum()) == 3 * (64 - 16)
    assert float(y[1].sum()) == 3 * (64 - 8)  # half of the box lies outside
    assert bool((y[0, :, 2:6, 2:6] == 0).all())


def test_recolouring_in_the_middle_changes_nothing():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(recolour(x, torch.full((2, 3), 0.5)), x)
    brighter = recolour(x, torch.tensor([[0.5, 0.5, 1.0]]).expand(2, 3))
    torch.testing.assert_close(brighter, x + 0.5)
    grey = recolour(x, torch.tensor([[0.0, 0.5, 0.5]]).expand(2, 3))
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
