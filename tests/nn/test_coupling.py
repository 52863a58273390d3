"""Bijections: exact inverses, and log-determinants against autograd's Jacobian."""

import math

import pytest
import torch

from likewise.nn.coupling import REACH, ActNorm, Coupling, Logit, Rotation, squeeze, unsqueeze
from likewise.nn.spline import inverse_spline, parameters, spline

SHAPE = (4, 2, 3)
STEERING = 5


def coupling(channels=4, bins=5, size=(2, 3), seed=0):
    torch.manual_seed(seed)
    made = Coupling(
        channels, bins=bins, size=size, width=8, depth=1, steering=STEERING, dropout=0.0
    )
    for parameter in made.parameters():  # a random map, not the identity it starts as
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def norm(channels=4):
    made = ActNorm(channels, STEERING)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def rotation(channels=4, *, swap=False):
    made = Rotation(channels, swap=swap)
    if made.skew is not None:
        torch.nn.init.normal_(made.skew)
    return made


BIJECTIONS = {
    "spline coupling": coupling,
    "affine coupling": lambda: coupling(bins=0),
    "act norm": norm,
    "rotation": rotation,
    "swap": lambda: rotation(swap=True),
    "logit": lambda: Logit(-1.5, 2.0, 0.02),
}


def log_det_by_autograd(function, x):
    """log |det J| of a function of one example, the whole Jacobian spelled out."""
    jacobian = torch.autograd.functional.jacobian(function, x)
    return torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel()))[1]


@pytest.mark.parametrize("name", BIJECTIONS)
def test_log_determinants_are_those_of_autograd(name):
    torch.manual_seed(1)
    bijection = BIJECTIONS[name]().double().eval()
    x, e = torch.randn(3, *SHAPE).double() / 3, torch.randn(3, STEERING).double()
    _, log_det = bijection(x, e)
    assert log_det.shape == (3,)
    for row in range(3):
        truth = log_det_by_autograd(
            lambda one, row=row: bijection(one[None], e[row : row + 1])[0][0], x[row]
        )
        assert log_det[row].item() == pytest.approx(truth.item(), abs=1e-9)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_inverses_are_exact_to_rounding(name):
    torch.manual_seed(2)
    bijection = BIJECTIONS[name]().eval()
    x, e = torch.randn(64, *SHAPE).clamp(-1.5, 2.0), torch.randn(64, STEERING)
    y, _ = bijection(x, e)
    torch.testing.assert_close(bijection.inverse(y, e), x, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_couplings_of_few_channels_change_half_of_them(channels):
    bijection = coupling(channels, size=(1, 1)).eval()
    x, e = torch.randn(9, channels, 1, 1), torch.randn(9, STEERING)
    y, log_det = bijection(x, e)
    kept = channels // 2
    assert torch.equal(y[:, :kept], x[:, :kept])
    assert (y[:, kept:] != x[:, kept:]).all()
    assert (log_det != 0).all()
    torch.testing.assert_close(bijection.inverse(y, e), x, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [4, 5, 8, 9])
def test_two_couplings_with_a_swap_between_change_every_channel(channels):
    swap = Rotation(channels, swap=True)
    first_changed = set(range(channels // 2, channels))
    second_kept = set(swap.order[: channels // 2].tolist())
    assert second_kept <= first_changed


def test_wide_rotations_are_made_of_blocks_and_stay_orthogonal():
    for channels in (1, 96, 97):  # one channel, two blocks, a prime
        made = rotation(channels)
        x = torch.randn(4, channels, 1, 1)
        y, _ = made(x, x)
        torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1))
        torch.testing.assert_close(made.inverse(y, x), x, atol=5e-5, rtol=0)
    assert rotation(96).skew.shape == (2, 48, 48)
    assert rotation(97).skew is None


def test_squeeze_moves_blocks_of_places_to_channels_and_back():
    x = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    y = squeeze(x, (2, 3))
    assert y.shape == (2, 18, 2, 2)
    assert y[0, :6, 0, 0].tolist() == x[0, 0, :2, :3].flatten().tolist()
    assert torch.equal(unsqueeze(y, (2, 3)), x)


def test_act_norm_starts_from_the_data_and_leaves_constants_alone():
    x = torch.randn(500, 3, 2, 2) * torch.tensor([1e-4, 5.0, 0.0])[:, None, None] + 1e-2
    made = ActNorm(3)
    made.fit(x)
    y, _ = made(x, x)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    deviation = y.std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.tensor([1.0, 1.0, 0.0]), atol=1e-3, rtol=0)


def test_spline_against_its_own_derivative_and_monotone():
    torch.manual_seed(3)
    raw = 2 * torch.randn(1, 1, parameters(8), 1).double()
    x = torch.linspace(-4.5, 4.5, 20001).double()
    y, log_slope = spline(x[:, None, None], raw.expand(len(x), -1, -1, -1), bound=4.0)
    y, slope = y.flatten(), log_slope.exp().flatten()
    assert (y.diff() > 0).all()
    rise = (slope[1:] + slope[:-1]) / 2 * x.diff()  # the trapezium rule
    torch.testing.assert_close(rise.cumsum(0), y[1:] - y[0], atol=1e-5, rtol=1e-5)
    back = inverse_spline(y[:, None, None], raw.expand(len(x), -1, -1, -1), bound=4.0)
    torch.testing.assert_close(back.flatten(), x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [0.0, 1.0, 4.0, 1e4, 1e15])
@pytest.mark.parametrize("bins", [0, 8])
def test_extreme_values_and_wild_weights_make_no_nan(size, bins):
    bijection = coupling(bins=bins)
    for parameter in bijection.parameters():
        torch.nn.init.normal_(parameter, std=30.0)
    x = (size * torch.randn(8, *SHAPE).sign()).requires_grad_()
    e = torch.randn(8, STEERING)
    y, log_det = bijection(x, e)
    (y / max(1.0, size)).sum().add(log_det.sum()).backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(log_det).all()
    assert all(torch.isfinite(t.grad).all() for t in [x, *bijection.parameters()])
    assert torch.isfinite(bijection.inverse(y.detach(), e)).all()


def test_no_affine_coupling_scales_beyond_its_reach():
    bijection = coupling(bins=0)
    torch.nn.init.normal_(bijection.net.last.weight, std=1e6)
    _, log_det = bijection(torch.randn(8, *SHAPE), torch.randn(8, STEERING))
    assert log_det.abs().max() <= REACH * 2 * 6 + 1e-4  # two channels of six places change


def test_logit_takes_its_range_to_a_line_and_back():
    logit = Logit(-1.0, 1.0, 0.02)
    y, _ = logit(torch.tensor([[-1.0], [0.0], [1.0], [50.0]]), torch.zeros(4, 0))
    assert y[:3].flatten().tolist() == pytest.approx([-math.log(49), 0, math.log(49)], abs=1e-5)
    assert torch.isfinite(y).all()
