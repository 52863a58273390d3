"""Functions with gradients by hand: against their parts one by one, and their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from likewise.nn import fused
from likewise.nn.fused import levelled, rotate, surprisal


def example(*shape):
    seeded = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=seeded, dtype=torch.float64, requires_grad=True)


def angles(places, size):
    angle = torch.arange(places, dtype=torch.float64)[:, None] / torch.arange(1, size // 2 + 1)
    both = torch.cat([-angle, angle], dim=1)[:, None]  # (places, 1, size)
    return both.cos(), both.sin()


def test_levelled_is_an_rms_norm_and_so_is_its_gradient():
    x = example(3, 5, 8).float().detach().requires_grad_()
    y = levelled(x, 1e-3)
    other = F.rms_norm(x, (8,), eps=1e-3)
    assert torch.allclose(y, other, atol=1e-6)
    weight = torch.randn_like(y)
    (mine,) = torch.autograd.grad((y * weight).sum(), x)
    (theirs,) = torch.autograd.grad((other * weight).sum(), x)
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_levelled_keeps_the_type_of_what_it_gets():
    x = example(4, 64).detach().bfloat16()
    y = levelled(x, 1e-6)
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), F.rms_norm(x.float(), (64,), eps=1e-6), atol=0.05)


def test_rotation_turns_pairs_by_their_angles():
    x, (cos, sin) = example(2, 3, 4, 6), angles(3, 6)
    pairs = torch.complex(x[..., :3], x[..., 3:])
    turned = pairs * torch.complex(cos[..., :3], sin[..., 3:])
    assert torch.allclose(rotate(x, cos, sin), torch.cat([turned.real, turned.imag], dim=-1))
    assert gradcheck(lambda x: rotate(x, cos, sin), (x,))


def test_gradients_of_single_rows_go_through():
    x, (cos, sin) = example(2, 3, 1, 4), angles(3, 4)

    def loss(row):
        return (levelled(rotate(row, cos, sin), 1e-6) ** 3).sum()

    each = torch.func.vmap(torch.func.grad(loss))(x)
    assert torch.allclose(each[1], torch.func.grad(loss)(x[1]))


@pytest.mark.parametrize("piece", [1, 20, 2**17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_surprisal_is_cross_entropy_and_so_is_its_gradient(monkeypatch, piece, dtype):
    monkeypatch.setattr(fused, "PIECE", piece)
    logits = example(7, 5).detach().to(dtype).requires_grad_()
    silent = torch.tensor([0.0, 0.0, 0.0, 0.0, -torch.inf], dtype=dtype)
    targets, weight = torch.tensor([0, 1, 2, 3, 0, 1, 2]), torch.arange(7) / 3.0
    mine = surprisal(logits + silent, targets)
    theirs = F.cross_entropy((logits + silent).float(), targets, reduction="none")
    assert mine.dtype == torch.float32
    assert torch.allclose(mine, theirs, atol=1e-6)
    slopes = [torch.autograd.grad((x * weight).sum(), logits)[0] for x in (mine, theirs)]
    assert torch.allclose(*slopes, atol=1e-6 if dtype == torch.float32 else 1e-2)
    assert torch.equal(slopes[0][:, 4], torch.zeros(7, dtype=dtype))
