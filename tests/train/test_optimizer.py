"""Muon against torch's own, and who steps which parameter."""

import pytest
import torch
from torch import nn

from likewise.core.config import Optimizer
from likewise.nn.heads import Head
from likewise.train.optimizer import Muon, optimizers, orthogonal, set_rate


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 8)
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 8, bias=False)
        self.head = Head(8, 5)


def test_muon_takes_the_matrices_between_layers_and_nothing_else():
    net = Net()
    rest, muon = optimizers(net, Optimizer(matrices=0.02))
    stepped = {id(p) for p in muon.param_groups[0]["params"]}
    assert stepped == {id(net.first.weight), id(net.second.weight)}
    others = {id(p) for p in rest.param_groups[0]["params"]}
    assert others == {id(p) for p in net.parameters()} - stepped
    assert len(optimizers(net, Optimizer())) == 1


def test_muon_keeps_its_proportion_to_the_other_rate():
    settings = Optimizer(learning_rate=1e-3, matrices=0.02)
    rest, muon = optimizers(Net(), settings)
    set_rate(rest, settings, 5e-4)
    set_rate(muon, settings, 5e-4)
    assert rest.param_groups[0]["lr"] == 5e-4
    assert muon.param_groups[0]["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize("shape", [(6, 6), (4, 12), (12, 4)])
def test_a_step_is_nearly_orthogonal(shape):
    torch.manual_seed(0)
    x = torch.randn(3, *shape)
    values = torch.linalg.svdvals(orthogonal(x))
    assert bool(((values > 0.5) & (values < 1.4)).all())
    left, _, right = torch.linalg.svd(x, full_matrices=False)
    aligned = torch.linalg.matrix_norm(orthogonal(x) - left @ right) / min(shape) ** 0.5
    assert bool((aligned < 0.45).all())


def test_it_steps_as_torchs_own_does():
    torch.manual_seed(0)
    start = torch.randn(12, 6)
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    muon = Muon([mine], weight_decay=0.1)
    muon.param_groups[0]["lr"] = 0.02
    peer = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95)
    for _ in range(3):
        gradient = torch.randn(12, 6)
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        peer.step()
    moved = (mine - theirs).detach().norm() / (mine - start).detach().norm()
    assert float(moved) < 0.08  # both work in bfloat16, in another order
