"""Small functions of large tensors, with gradients by hand: few passes over memory, not many.

A processor spends more time on reading and writing what such functions leave behind than on their
arithmetic, and a gradient by formula goes over it fewer times than those of its parts one by one.
"""

from typing import Any

import torch
from torch import Tensor

PIECE = 2**17  # numbers that stay in the cache of a processor


def levelled(x: Tensor, epsilon: float) -> Tensor:
    """x (..., d) over the root of its mean square: an RMS norm without a gain.

    Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Example:
        >>> levelled(torch.tensor([[3.0, 4.0]]), 0.0).square().mean()
        tensor(1.)
    """
    found: Tensor = _Levelled.apply(x, epsilon)[0]
    return found


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + s / 2) of x (..., s) by angles, whose sines take no gradient.

    Su et al., "RoFormer", 2021.

    Args:
        x: (..., s).
        cos, sin: of the angles, each pair's in both of its places, with a minus before the sine
            in the first of them; broadcastable to x.

    Example:
        >>> rotate(torch.tensor([1.0, 0.0]), torch.zeros(2), torch.tensor([-1.0, 1.0]))
        tensor([0., 1.])
    """
    found: Tensor = _Rotated.apply(x, cos.to(x.dtype), sin.to(x.dtype))
    return found


def surprisal(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p of targets (n,) by logits (n, K), in nats and float32: (n,).

    In pieces that stay close to a processor, where large logits would go through memory time and
    again.

    Example:
        >>> surprisal(torch.zeros(2, 4), torch.tensor([0, 3])).exp()
        tensor([4., 4.])
    """
    found: Tensor = _Surprisal.apply(logits, targets)[0]
    return found


class _Levelled(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = (norm.square() / x.shape[-1] + epsilon).rsqrt().to(x.dtype)
        return x * scale, scale

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]
    ) -> None:
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        share = (dy * y).mean(dim=-1, keepdim=True)
        return (dy - y * share) * scale, None


class _Rotated(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return turned(x, cos, sin)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return turned(dy, cos, sin, sign=-1), None, None


def turned(x: Tensor, cos: Tensor, sin: Tensor, sign: int = 1) -> Tensor:
    """`rotate` without a gradient; by the angles below 0 if the sign is -1."""
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat([second, first], dim=-1), sin, value=sign)


class _Surprisal(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        totals = [part.float().logsumexp(dim=1) for part in logits.split(_rows(logits))]
        total = torch.cat(totals)
        return total - logits.gather(1, targets[:, None])[:, 0].float(), total

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]
    ) -> None:
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, weight: Tensor, _: Tensor) -> tuple[Tensor, None]:
        logits, targets, total = ctx.saved_tensors
        slope, rows = torch.empty_like(logits), _rows(logits)
        parts = (x.split(rows) for x in (slope, logits, targets, total, weight))
        for out, x, target, whole, scale in zip(*parts, strict=True):
            masses = (x.float() - whole[:, None]).exp_()
            masses.scatter_add_(1, target[:, None], -torch.ones_like(masses[:, :1]))
            out.copy_(masses.mul_(scale[:, None]))
        return slope, None


def _rows(x: Tensor) -> int:
    """How many rows of x (n, K) are worked on at a time."""
    return max(1, PIECE // x.shape[1]) if x.device.type == "cpu" else max(1, len(x))
