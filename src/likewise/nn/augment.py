"""Differentiable augmentation: real and made pictures are recoloured, moved and cut alike.

Zhao, Liu, Lin, Zhu and Han, "Differentiable augmentation for data-efficient GAN training", 2020:
a critic that only ever sees augmented pictures of both kinds cannot learn few real ones by
heart, and gradients pass through to the generator, which still learns the data as it is.

Every function takes x (n, channels, height, width) and uniform draws u (n, k), one row an
example, and works on all rows at once.
"""

import torch
from torch import Tensor

DRAWS = 10


def augment(x: Tensor, u: Tensor, share: float) -> Tensor:
    """Recolour, move and cut, each of them a random share of the rows.

    Args:
        x: (n, channels, height, width), values about in [-1, 1].
        u: (n, `DRAWS`) uniform in (0, 1).
        share: of the rows that each of the three changes, in [0, 1].

    Returns:
        a tensor of x's shape; its gradient flows to x.
    """
    changed = (u[:, 7:10] < share)[:, :, None, None, None]  # (n, 3) -> (n, 3, 1, 1, 1)
    x = torch.where(changed[:, 0], recolour(x, u[:, 0:3]), x)
    x = torch.where(changed[:, 1], move(x, u[:, 3:5]), x)
    return torch.where(changed[:, 2], cut(x, u[:, 5:7]), x)


def recolour(x: Tensor, u: Tensor) -> Tensor:
    """Saturation by a factor in [0, 2], contrast by one in [0.5, 1.5], brightness by +-0.5.

    Args:
        u: (n, 3) for the three, in that order.
    """
    saturation, contrast, brightness = u[:, :, None, None, None].unbind(1)  # (n, 1, 1, 1) each
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (2 * saturation)
    level = x.mean((1, 2, 3), keepdim=True)
    return level + (x - level) * (0.5 + contrast) + (brightness - 0.5)


def move(x: Tensor, u: Tensor, reach: float = 0.125) -> Tensor:
    """Move by whole pixels, at most `reach` of the height and width; edges are repeated.

    Args:
        u: (n, 2) for down and right.
    """
    for axis in (2, 3):
        size = x.shape[axis]
        most = round(size * reach)
        offset = (u[:, axis - 2] * (2 * most + 1)).long() - most  # (n,)
        places = (torch.arange(size, device=x.device) - offset[:, None]).clamp(0, size - 1)
        shape = (len(x), 1, size, 1) if axis == 2 else (len(x), 1, 1, size)
        x = x.gather(axis, places.view(shape).expand_as(x))  # (n, size) -> x's shape
    return x


def cut(x: Tensor, u: Tensor, part: float = 0.5) -> Tensor:
    """Put 0 in a box of `part` of the height and width; it may reach over the edge.

    Args:
        u: (n, 2) for where the box's centre is, down and right.
    """
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for axis in (2, 3):
        size = x.shape[axis]
        centre = (u[:, axis - 2] * size)[:, None]
        places = torch.arange(size, device=x.device) + 0.5
        near = (places - centre).abs() < part * size / 2  # (n, size)
        inside = inside & near.view((len(x), 1, size, 1) if axis == 2 else (len(x), 1, 1, size))
    return x.masked_fill(inside, 0.0)
