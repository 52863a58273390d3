"""Bricks that several families share: residual blocks steered by a vector, up and down steps.

Shapes: n examples, c channels, h by w pixels, d numbers, e the width of the steering vector.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.errors import UsageError, must


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with its parameters at zero, so that a residual branch starts silent."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def groups(channels: int) -> int:
    """How many groups a GroupNorm of so many channels has: about 8 channels each."""
    return next(g for g in (8, 4, 2, 1) if channels % g == 0 and (channels // g >= 4 or g == 1))


class ResBlock(nn.Module):
    """norm, SiLU, conv, norm scaled and shifted by the steering vector, SiLU, conv; plus skip.

    Args:
        inputs, outputs: channels.
        steering: width e of the steering vector; 0 for none.
        dropout: share of activations dropped before the second convolution.
    """

    def __init__(self, inputs: int, outputs: int, steering: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups(outputs), outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.steer = nn.Linear(steering, 2 * outputs) if steering else None
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """x (n, inputs, h, w), e (n, steering) -> (n, outputs, h, w)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.steer is not None and e is not None:
            scale, shift = self.steer(e)[:, :, None, None].chunk(2, dim=1)  # (n, c, 1, 1) each
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))


class MLP(nn.Module):
    """A residual multilayer perceptron steered by a vector.

    Args:
        inputs, outputs: numbers per example.
        width: of the hidden layers.
        depth: how many residual blocks.
        steering: width e of the steering vector; 0 for none.
        zero: whether the last layer starts at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        steering: int = 0,
        zero: bool = False,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(_Block(width, steering) for _ in range(depth))
        last = nn.Linear(width, outputs)
        self.last = nn.Sequential(nn.LayerNorm(width), zeroed(last) if zero else last)

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """x (n, inputs), e (n, steering) -> (n, outputs)."""
        h = self.first(x)
        for block in self.blocks:
            h = block(h, e)
        return self.last(h)


class _Block(nn.Module):
    def __init__(self, width: int, steering: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = zeroed(nn.Linear(2 * width, width))
        self.steer = nn.Linear(steering, 2 * width) if steering else None

    def forward(self, x: Tensor, e: Tensor | None) -> Tensor:
        h = self.norm(x)
        if self.steer is not None and e is not None:
            scale, shift = self.steer(e).chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return x + self.down(F.silu(self.up(h)))


class Down(nn.Module):
    """Halves height and width (rounded up): a strided convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, ceil(h / 2), ceil(w / 2))."""
        return self.conv(x)


class Up(nn.Module):
    """Grows to a size: nearest neighbours, then a convolution (no checkerboard)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, *size)."""
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


def patch_for(shape: tuple[int, ...], finest: int) -> int:
    """The side of the squares of pixels that become channels, so that a network works at most
    at `finest` pixels a side: the smallest power of two that does it and divides both sides.

    Full size is dear and has little to say: one network of the same cost learns more at half of
    it (Hoogeboom, Heek and Salimans, "Simple diffusion", 2023).

    Example:
        >>> patch_for((1, 28, 28), 16), patch_for((3, 64, 48), 16), patch_for((1, 27, 27), 16)
        (2, 4, 1)
    """
    height, width = shape[-2:]
    patch = 1
    while (
        max(height, width) > finest * patch
        and height % (2 * patch) == 0
        and width % (2 * patch) == 0
    ):
        patch *= 2
    return patch


def folded(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Height and width of a picture whose squares of pixels have become channels.

    Raises:
        UsageError: the squares do not fit in.
    """
    if size[0] % patch or size[1] % patch:
        raise UsageError(must("patch", f"a divisor of height and width {size}", patch))
    return size[0] // patch, size[1] // patch


def sizes(height: int, width: int, stages: int) -> list[tuple[int, int]]:
    """Height and width at each stage of a pyramid, halved and rounded up each time.

    Example:
        >>> sizes(28, 28, 3)
        [(28, 28), (14, 14), (7, 7)]
    """
    result = [(height, width)]
    for _ in range(stages - 1):
        height, width = -(-height // 2), -(-width // 2)
        result.append((height, width))
    return result
