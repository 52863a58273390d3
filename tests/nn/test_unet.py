"""The U-Net: any size, steered, silent at the start; attention against its formula."""

import pytest
import torch
from torch import nn

from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.nn.unet import Attention, UNet


def awake(module):
    """The module with every parameter away from zero."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 7), (8, 8), (28, 28), (9, 64)])
def test_any_size_comes_back(size):
    net = UNet(3, 2, size=size, widths=(4, 8, 8), depth=1, steering=6, attention=True)
    out = net(Draws(0).normal(2, 3, *size), Draws(1).normal(2, 6))
    assert out.shape == (2, 2, *size)


def test_it_starts_at_zero():
    net = UNet(1, 1, size=(8, 8), widths=(8, 16), depth=2, steering=4)
    assert not net(Draws(0).normal(2, 1, 8, 8), Draws(1).normal(2, 4)).any()


@pytest.mark.parametrize("depth", [1, 2])
def test_every_parameter_gets_a_gradient(depth):
    net = awake(UNet(1, 1, size=(8, 8), widths=(8, 16), depth=depth, steering=4, attention=True))
    net(Draws(0).normal(3, 1, 8, 8), Draws(1).normal(3, 4)).square().sum().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_steering_and_distant_pixels_matter():
    net = awake(UNet(1, 1, size=(16, 16), widths=(8, 8, 8), depth=1, steering=4, attention=True))
    x, e = Draws(0).normal(1, 1, 16, 16), Draws(1).normal(1, 4)
    changed = x.clone()
    changed[..., 0, 0] += 1.0
    assert not torch.allclose(net(x, e), net(x, e + 1))
    assert (net(changed, e) - net(x, e))[..., -1, -1].abs().max() > 1e-6


def test_skips_carry_each_resolution_across():
    net = awake(UNet(1, 1, size=(8, 8), widths=(8, 8), depth=1, steering=4))
    for parameter in net.grow.parameters():
        nn.init.zeros_(parameter)  # nothing comes up from below
    e = Draws(1).normal(1, 4)
    one, other = Draws(2).normal(1, 1, 8, 8), Draws(3).normal(1, 1, 8, 8)
    assert (net(one, e) - net(other, e)).abs().max() > 1e-2


def test_rows_do_not_meet():
    net = awake(UNet(1, 1, size=(5, 7), widths=(8, 8), depth=1, steering=4, attention=True))
    x, e = Draws(0).normal(4, 1, 5, 7), Draws(1).normal(4, 4)
    assert torch.allclose(net(x, e)[1:3], net(x[1:3], e[1:3]), atol=1e-4, rtol=1e-4)


def test_attention_is_its_formula():
    layer = awake(Attention(64))  # two heads of 32
    x = Draws(0).normal(2, 64, 3, 4)
    flat = layer.inwards(layer.norm(x)).flatten(2)  # (2, 192, 12)
    query, key, value = flat.chunk(3, dim=1)
    heads = []
    for head in (slice(0, 32), slice(32, 64)):
        weights = (query[:, head].transpose(1, 2) @ key[:, head] / 32**0.5).softmax(dim=-1)
        heads.append(value[:, head] @ weights.transpose(1, 2))
    expected = x + layer.outwards(torch.cat(heads, dim=1).reshape(2, 64, 3, 4))
    assert torch.allclose(layer(x), expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 7, 33, 96])
def test_attention_takes_any_channels(channels):
    layer = Attention(channels)
    assert channels % layer.heads == 0
    assert channels // layer.heads <= 32
    assert layer(torch.zeros(1, channels, 2, 2)).shape == (1, channels, 2, 2)


def test_errors_teach():
    with pytest.raises(UsageError, match="widths must be one per resolution, at least one"):
        UNet(1, 1, size=(8, 8), widths=(), depth=1)
    with pytest.raises(UsageError, match="height and width must be at least 1"):
        UNet(1, 1, size=(0, 8), widths=(8,), depth=1)
