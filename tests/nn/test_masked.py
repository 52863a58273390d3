"""Causal convolutions: nothing later is seen, everything earlier is, and a walk equals a pass."""

import pytest
import torch

from likewise.core.errors import UsageError
from likewise.nn.masked import Above, GatedStack, Left, Walk


def _stack(*, blocks=4, vertical=True, reach=1, dropout=0.0) -> GatedStack:
    torch.manual_seed(0)
    stack = GatedStack(
        2, 6, blocks=blocks, first=2, reach=reach, steering=3, vertical=vertical, dropout=dropout
    )
    return stack.double().eval()


def _influence(run, x: torch.Tensor) -> torch.Tensor:
    """(h * w, h * w) bool: whether the output at the row's place depends on the column's."""
    height, width = x.shape[2:]
    jacobian = torch.autograd.functional.jacobian(lambda x: run(x).sum(dim=(0, 1)), x)
    return (jacobian.abs().sum(dim=(2, 3)) > 0).reshape(height * width, height * width)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("reach", [1, 2])
def test_above_sees_its_window_of_rows(reach, strict):
    torch.manual_seed(0)
    conv = Above(1, 1, reach, strict=strict).double()
    seen = _influence(conv, torch.randn(1, 1, 5, 4, dtype=torch.float64)).view(5, 4, 5, 4)
    for i, j, a, b in torch.cartesian_prod(*map(torch.arange, (5, 4, 5, 4))).tolist():
        expected = strict <= i - a <= reach and abs(j - b) <= reach
        assert bool(seen[i, j, a, b]) == expected


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("reach", [1, 3])
def test_left_sees_its_window_of_columns(reach, strict):
    torch.manual_seed(0)
    conv = Left(1, 1, reach, strict=strict).double()
    seen = _influence(conv, torch.randn(1, 1, 3, 5, dtype=torch.float64)).view(3, 5, 3, 5)
    for i, j, a, b in torch.cartesian_prod(*map(torch.arange, (3, 5, 3, 5))).tolist():
        assert bool(seen[i, j, a, b]) == (i == a and strict <= j - b <= reach)


def test_a_stack_sees_every_earlier_place_and_no_other():
    stack, e = _stack(), torch.randn(1, 3, dtype=torch.float64)
    place = torch.zeros(1, 6, 5, 5, dtype=torch.float64)
    seen = _influence(lambda x: stack(x, place, e), torch.randn(1, 2, 5, 5).double())
    assert torch.equal(seen, torch.ones(25, 25).tril(-1).bool())


def test_a_single_row_sees_all_to_its_left():
    stack, e = _stack(vertical=False), torch.randn(1, 3, dtype=torch.float64)
    place = torch.zeros(1, 6, 1, 6, dtype=torch.float64)
    seen = _influence(lambda x: stack(x, place, e), torch.randn(1, 2, 1, 6).double())
    assert torch.equal(seen, torch.ones(6, 6).tril(-1).bool())


@pytest.mark.parametrize(("size", "reach"), [((5, 4), 1), ((3, 6), 2), ((1, 7), 2), ((4, 1), 1)])
@torch.no_grad()
def test_a_walk_equals_a_pass(size, reach):
    stack = _stack(vertical=size[0] > 1, reach=reach)
    x = torch.randn(3, 2, *size, dtype=torch.float64)
    place = torch.randn(3, 6, *size, dtype=torch.float64)
    e = torch.randn(3, 3, dtype=torch.float64)
    whole = stack(x, place, e)
    walk = Walk(stack, place, e, torch.float64)
    for i in range(size[0]):
        walk.begin()
        for j in range(size[1]):
            torch.testing.assert_close(walk.features(j), whole[:, :, i, j], rtol=0, atol=1e-12)
            walk.put(j, x[:, :, i, j])


def test_the_steering_vector_and_the_place_reach_every_output():
    stack = _stack()
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64)
    place = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    e = torch.randn(2, 3, dtype=torch.float64)
    base = stack(x, place, e)
    assert ((stack(x, place, e + 1) - base).abs().sum(dim=1) > 1e-6).all()
    assert ((stack(x, place + 1, e) - base).abs().sum(dim=1) > 1e-6).all()


def test_every_parameter_has_a_gradient():
    stack = _stack(dropout=0.1).train()
    place, e = torch.randn(4, 6, 4, 4), torch.randn(4, 3)
    stack.float()(torch.randn(4, 2, 4, 4), place, e).square().sum().backward()
    idle = [name for name, p in stack.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_reach_of_nothing_is_refused():
    with pytest.raises(
        UsageError, match="reach of a causal convolution must be at least 1; got 0"
    ):
        Left(1, 1, 0, strict=True)
