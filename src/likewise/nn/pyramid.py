"""Convolutional pyramids: a picture down to a vector, and a vector up to a picture.

Each stage halves height and width (rounded up) until the longer side is `FLOOR` pixels or fewer,
and doubles the channels up to four times the width, so that any picture down to 1 by 1 fits.
Without norms the blocks are those of Zhang, Dauphin and Ma, "Fixup initialization", 2019: the
residual branches start silent and all else keeps variance, so nothing has to be normalised.

Shapes: n examples, c channels, h by w pixels, e the width of the steering vector.
"""

import math
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.contract import Controls, Source
from likewise.core.rng import Draws
from likewise.core.space import Continuous
from likewise.nn.layers import Down, ResBlock, Up, folded, groups, sizes, zeroed

Affine = TypeVar("Affine", nn.Linear, nn.Conv2d)
Step = TypeVar("Step", Down, Up)
FLOOR = 4
FINEST = (16, 16, 32, 64)  # pixels a side, at most, that presets "xs" to "l" work at
SEEN = 4096


def stages(height: int, width: int) -> int:
    """How many stages it takes to halve a picture to at most `FLOOR` pixels a side.

    Example:
        >>> stages(8, 8), stages(28, 28), stages(64, 64), stages(1, 1)
        (2, 4, 5, 1)
    """
    count = 1
    while max(height, width) > FLOOR:
        height, width, count = -(-height // 2), -(-width // 2), count + 1
    return count


def widths(width: int, count: int) -> list[int]:
    """Channels at each stage.

    Example:
        >>> widths(32, 4)
        [32, 64, 128, 128]
    """
    return [width * min(2**stage, 4) for stage in range(count)]


class PlainBlock(nn.Module):
    """SiLU, conv, SiLU, conv; plus skip: a residual block without norms or steering."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = keep_variance(nn.Conv2d(channels, channels, 3, padding=1))
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """(n, channels, h, w) -> the same shape; `e` is not looked at."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Blocks(nn.Module):
    """The residual blocks of one stage, with norms and steering or without either."""

    def __init__(self, channels: int, depth: int, steering: int, norm: bool) -> None:
        super().__init__()
        self.each = nn.ModuleList(
            ResBlock(channels, channels, steering) if norm else PlainBlock(channels)
            for _ in range(depth)
        )

    def forward(self, x: Tensor, e: Tensor | None) -> Tensor:
        """(n, channels, h, w), e (n, steering) -> the same shape as x."""
        for block in self.each:
            x = block(x, e)
        return x


class Encoder(nn.Module):
    """A picture as a vector.

    Args:
        inputs: channels of the picture.
        outputs: numbers in the vector.
        size: height and width of the picture.
        width: channels at the first stage.
        depth: residual blocks a stage.
        patch: side of the squares of pixels that become channels before all else.
        steering: width e of the steering vector; 0 for none. Needs norms.
        norm: whether the blocks have group norms (each example is normalised by itself).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: tuple[int, int],
        width: int,
        depth: int,
        patch: int = 1,
        steering: int = 0,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.patch, size = patch, folded(size, patch)
        count = stages(*size)
        channels = widths(width, count)
        (height, wide) = sizes(*size, count)[-1]
        self.first = keep_variance(nn.Conv2d(inputs * patch**2, width, 3, padding=1))
        self.downs = nn.ModuleList(
            _kept(Down(before, after), norm) for before, after in pairwise(channels)
        )
        self.blocks = nn.ModuleList(Blocks(c, depth, steering, norm) for c in channels)
        self.norm = _norm(channels[-1], norm)
        self.last = nn.Linear(channels[-1] * height * wide, outputs)

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """x (n, inputs, h, w), e (n, steering) -> (n, outputs)."""
        h = self.first(F.pixel_unshuffle(x, self.patch))  # (n, c, h, w) -> (n, c p p, h/p, w/p)
        for stage, blocks in enumerate(self.blocks):
            if stage:
                h = self.downs[stage - 1](h)
            h = blocks(h, e)
        return self.last(F.silu(self.norm(h)).flatten(1))  # (n, c, h, w) -> (n, c * h * w)


class Decoder(nn.Module):
    """A vector as a picture: the mirror of `Encoder`, with the same arguments.

    Args:
        inputs: numbers in the vector.
        outputs: channels of the picture.
        size, width, depth, patch, steering, norm: as in `Encoder`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: tuple[int, int],
        width: int,
        depth: int,
        patch: int = 1,
        steering: int = 0,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.patch, size = patch, folded(size, patch)
        count = stages(*size)
        channels = widths(width, count)[::-1]
        self.sizes = sizes(*size, count)[::-1]
        self.shape = (channels[0], *self.sizes[0])
        (height, wide) = self.sizes[0]
        self.first = keep_variance(nn.Linear(inputs, channels[0] * height * wide))
        self.ups = nn.ModuleList(
            _kept(Up(before, after), norm) for before, after in pairwise(channels)
        )
        self.blocks = nn.ModuleList(Blocks(c, depth, steering, norm) for c in channels)
        self.norm = _norm(channels[-1], norm)
        self.last = keep_variance(nn.Conv2d(channels[-1], outputs * patch**2, 3, padding=1))

    def forward(self, z: Tensor, e: Tensor | None = None) -> Tensor:
        """z (n, inputs), e (n, steering) -> (n, outputs, h, w)."""
        h = self.first(z).unflatten(1, self.shape)  # (n, c * h * w) -> (n, c, h, w)
        for stage, blocks in enumerate(self.blocks):
            if stage:
                h = self.ups[stage - 1](h, self.sizes[stage])
            h = blocks(h, e)
        return F.pixel_shuffle(self.last(F.silu(self.norm(h))), self.patch)


class Units(nn.Module):
    """Between a Space's own units and those that networks like: about -1 to 1.

    A Space that states its range is centred by it; any other by the data, in `prepare`.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, space: Continuous) -> None:
        super().__init__()
        self.known = space.low is not None and space.high is not None
        low, high = space.low or 0.0, space.high or 0.0
        centre, spread = ((low + high) / 2, (high - low) / 2 or 1.0) if self.known else (0.0, 1.0)
        self.register_buffer("centre", torch.full(space.shape, centre))
        self.register_buffer("spread", torch.full(space.shape, spread))

    def prepare(self, source: Source, rng: Draws) -> None:
        """Mean and deviation of the data: of each number, or of each channel of a picture."""
        if self.known:
            return
        x, _ = source.batch(rng.integers(len(source), SEEN).cpu(), rng)
        axes = (0, 2, 3) if x.dim() == 4 else (0,)
        centre = x.mean(axes, keepdim=True)[0]
        spread = x.std(axes, keepdim=True)[0]
        self.centre.copy_(centre.expand_as(self.centre))
        # What does not vary but for rounding is left at its own scale.
        varies = spread > 1e-6 * (1.0 + centre.abs())
        self.spread.copy_(torch.where(varies, spread, 1.0).expand_as(self.spread))

    def inward(self, x: Tensor) -> Tensor:
        """(n, *shape) in the Space's units -> the same in the network's."""
        return (x - self.centre) / self.spread

    def outward(self, y: Tensor) -> Tensor:
        """(n, *shape) in the network's units -> the same in the Space's."""
        return self.centre + self.spread * y


def latent_draws(n: int, size: int, rng: Draws, controls: Controls) -> Tensor:
    """What a decoder starts from: normal draws, truncated and scaled as the controls say.

    A truncated normal is drawn by the inverse of its distribution function, so one draw a number
    is enough and no draw is redone.

    Returns:
        (n, size), within truncation * temperature of 0.
    """
    if controls.truncation is None:
        return rng.normal(n, size) * controls.temperature
    inside = math.erf(controls.truncation / math.sqrt(2.0))
    point = (2.0 * rng.uniform(n, size) - 1.0) * inside
    return torch.erfinv(point) * (math.sqrt(2.0) * controls.temperature)


def keep_variance(layer: Affine) -> Affine:
    """The layer with weights of variance 1 / inputs and no bias: its output is as large as x."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _kept(step: Step, norm: bool) -> Step:
    """A step up or down that keeps variance where no norm will restore it."""
    if not norm:
        keep_variance(step.conv)
    return step


def _norm(channels: int, norm: bool) -> nn.Module:
    return nn.GroupNorm(groups(channels), channels) if norm else nn.Identity()
