"""A U-Net steered by a vector: a pyramid down, a pyramid up, and skips between equal sizes.

Ronneberger, Fischer and Brox, "U-Net", 2015; with residual blocks steered by time and condition
and with attention at the lowest resolution, as in Ho, Jain and Abbeel, "Denoising diffusion
probabilistic models", 2020. Any height and width of at least 1 will do: sizes are halved and
rounded up on the way down and restored exactly on the way up.

Shapes: n examples, c channels, h by w pixels, e the width of the steering vector.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.errors import UsageError, must
from likewise.nn.layers import Down, ResBlock, Up, groups, sizes, zeroed


class Attention(nn.Module):
    """Every pixel looks at every pixel (Vaswani et al., 2017), added to what was there.

    Args:
        channels: c; heads have up to 32 channels each.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(k for k in range(-(-channels // 32), channels + 1) if channels % k == 0)
        self.norm = nn.GroupNorm(groups(channels), channels)
        self.inwards = nn.Conv2d(channels, 3 * channels, 1)
        self.outwards = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w)."""
        n, c, h, w = x.shape
        split = self.inwards(self.norm(x.float())).reshape(
            n, 3, self.heads, c // self.heads, h * w
        )
        query, key, value = split.transpose(3, 4).unbind(dim=1)  # (n, heads, h w, c / heads) each
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.outwards(mixed.transpose(2, 3).reshape(n, c, h, w))


class UNet(nn.Module):
    """A function of pictures, equal in size, steered by a vector.

    Args:
        inputs, outputs: channels in and out.
        size: height and width of the pictures, each at least 1.
        widths: channels at each resolution, the highest first.
        depth: residual blocks at each resolution, on the way down and again on the way up.
        steering: width e of the steering vector; 0 for none.
        attention: whether there is attention at the lowest resolution.
        dropout: share of activations dropped in each residual block.

    Raises:
        UsageError: there is no width, or a size below 1.

    Example:
        >>> net = UNet(1, 2, size=(5, 7), widths=(8, 16), depth=1, steering=4)
        >>> net(torch.zeros(3, 1, 5, 7), torch.zeros(3, 4)).shape
        torch.Size([3, 2, 5, 7])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: tuple[int, int],
        widths: tuple[int, ...],
        depth: int,
        steering: int = 0,
        attention: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths:
            raise UsageError(must("a U-Net's widths", "one per resolution, at least one", widths))
        if min(size) < 1:
            raise UsageError(must("a picture's height and width", "at least 1", size))
        self.sizes = sizes(*size, len(widths))

        def blocks(first: int, width: int) -> nn.ModuleList:
            into = [first] + [width] * (depth - 1)
            return nn.ModuleList(ResBlock(c, width, steering, dropout) for c in into)

        lowest = widths[-1]
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(blocks(width, width) for width in widths)
        self.shrink = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.middle = Attention(lowest) if attention else nn.Identity()
        self.bottom = blocks(lowest, lowest)
        self.grow = nn.ModuleList(Up(b, a) for a, b in pairwise(widths))
        self.up = nn.ModuleList(blocks(2 * width, width) for width in widths[:-1])
        self.norm = nn.GroupNorm(groups(widths[0]), widths[0])
        self.last = zeroed(nn.Conv2d(widths[0], outputs, 3, padding=1))

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """x (n, inputs, h, w), e (n, steering) -> (n, outputs, h, w)."""
        h = self.first(x)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, e)
            if level < len(self.shrink):
                skips.append(h)
                h = self.shrink[level](h)
        h = self.middle(h)
        for block in self.bottom:
            h = block(h, e)
        for level in reversed(range(len(self.grow))):
            h = torch.cat([self.grow[level](h, self.sizes[level]), skips[level]], dim=1)
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h, e)
        return self.last(F.silu(self.norm(h.float())))
