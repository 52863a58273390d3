"""Bricks of flows: bijections whose log-determinant is cheap and whose inverse is exact.

Each is a module with `forward(x, e) -> (y, log_det)` and `inverse(y, e) -> x`. Couplings are due
to Dinh, Krueger and Bengio, "NICE", 2014, and Dinh, Sohl-Dickstein and Bengio, "Density
estimation using Real NVP", 2017; ActNorm and learned mixing to Kingma and Dhariwal, "Glow", 2018.

Shapes: n examples, c channels, h by w places (1 by 1 for plain vectors), e the width of the
steering vector; log-determinants are (n,).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nn.layers import MLP, ResBlock, groups, zeroed
from likewise.nn.spline import inverse_spline, parameters, spline

BOUND = 4.0  # splines bend within this many deviations
REACH = 2.0  # the largest size of a log scale that a network can ask for
ROUNDING = 1e-6  # of a deviation, as a share of the mean
FURTHEST = 1e-6  # the ends of the unit interval that a logit sees
BLOCK = 64  # channels that a rotation mixes


def squeeze(x: Tensor, factors: tuple[int, int]) -> Tensor:
    """(n, c, h, w) -> (n, c * a * b, h / a, w / b): blocks of a by b places become channels."""
    (n, c, h, w), (a, b) = x.shape, factors
    blocks = x.reshape(n, c, h // a, a, w // b, b)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, c * a * b, h // a, w // b)


def unsqueeze(x: Tensor, factors: tuple[int, int]) -> Tensor:
    """(n, c * a * b, h, w) -> (n, c, h * a, w * b): undoes `squeeze`."""
    (n, c, h, w), (a, b) = x.shape, factors
    blocks = x.reshape(n, c // (a * b), a, b, h, w)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(n, c // (a * b), h * a, w * b)


def limited(log_scale: Tensor) -> Tensor:
    """The same near 0, but never beyond +-REACH: no network can make a scale overflow."""
    return REACH * torch.tanh(log_scale / REACH)


class ActNorm(nn.Module):
    """Shifts and scales each channel, from a start at which the data have mean 0, deviation 1.

    Args:
        channels: c.
        steering: width e of the vector that adds to shift and log scale; 0 for none.
    """

    def __init__(self, channels: int, steering: int = 0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.steer = zeroed(nn.Linear(steering, 2 * channels)) if steering else None

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Start from the mean and deviation of each channel of x (n, c, h, w).

        A channel that is constant up to rounding keeps its scale.
        """
        mean = x.mean(dim=(0, 2, 3))
        deviation = x.std(dim=(0, 2, 3), correction=0)
        deviation = torch.where(deviation > ROUNDING * mean.abs(), deviation, 1.0)
        self.shift.copy_(mean[:, None, None])
        self.log_scale.copy_(-deviation.log()[:, None, None])

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, c, h, w), e (n, steering) -> y, log_det."""
        shift, log_scale = self._at(e)
        log_det = log_scale.sum(dim=(-3, -2, -1)) * (x.shape[2] * x.shape[3])
        return (x - shift) * log_scale.exp(), log_det.expand(len(x))

    def inverse(self, y: Tensor, e: Tensor) -> Tensor:
        """y (n, c, h, w), e (n, steering) -> x."""
        shift, log_scale = self._at(e)
        return y * (-log_scale).exp() + shift

    def _at(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and log scale, (c, 1, 1), or (n, c, 1, 1) if steered."""
        if self.steer is None:
            return self.shift, self.log_scale
        more, log_more = self.steer(e)[:, :, None, None].chunk(2, dim=1)  # (n, c, 1, 1) each
        return self.shift + more, self.log_scale + limited(log_more)


class Rotation(nn.Module):
    """Reorders the channels, then mixes blocks of up to 64 of them by a learned rotation.

    A rotation is the exponential of a skew matrix: its log-determinant is 0 and its inverse its
    transpose, so it can never become singular. It starts at the identity, because the axes of
    data mean something: a value that is spread over its cell fills a box along the axes.

    Args:
        channels: c.
        swap: whether the halves change places (each shuffled), so that two couplings in a row
            change every channel; else the order is a random one.
    """

    def __init__(self, channels: int, *, swap: bool) -> None:
        super().__init__()
        half = channels // 2
        order = torch.randperm(channels)
        if swap:
            order = torch.cat([half + torch.randperm(channels - half), torch.randperm(half)])
        self.order: Tensor
        self.back: Tensor
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())
        block = max(k for k in range(1, min(channels, BLOCK) + 1) if channels % k == 0)
        blocks = channels // block if block > 1 else 0
        self.skew = nn.Parameter(torch.zeros(blocks, block, block)) if blocks else None

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, c, h, w) -> y, log_det = 0."""
        return self._turn(x[:, self.order], 1.0), x.new_zeros(len(x))

    def inverse(self, y: Tensor, e: Tensor) -> Tensor:
        """y (n, c, h, w) -> x."""
        return self._turn(y, -1.0)[:, self.back]

    def _turn(self, x: Tensor, sign: float) -> Tensor:
        if self.skew is None:
            return x
        with torch.autocast(x.device.type, enabled=False):  # an inverse needs every digit
            matrix = torch.matrix_exp(sign * (self.skew - self.skew.mT))
            blocks = x.reshape(len(x), *matrix.shape[:2], -1)  # (n, c / b, b, h w)
            return (matrix @ blocks).reshape(x.shape)


class Logit(nn.Module):
    """Takes the values between `low` and `high` to the whole line.

    Args:
        low, high: the range.
        edge: the share of the unit interval that stays free at each end, so that the ends of the
            range stay near. It stands for values a little beyond the range; what is still
            further out is taken for the furthest value.
    """

    def __init__(self, low: float, high: float, edge: float) -> None:
        super().__init__()
        self.low, self.high, self.edge = low, high, edge

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, ...) -> y, log_det."""
        share = (1 - 2 * self.edge) / (self.high - self.low)
        unit = (self.edge + share * (x - self.low)).clamp(FURTHEST, 1 - FURTHEST)
        log_slope = math.log(share) - unit.log() - torch.log1p(-unit)
        return torch.logit(unit), log_slope.flatten(1).sum(dim=1)

    def inverse(self, y: Tensor, e: Tensor) -> Tensor:
        """y (n, ...) -> x."""
        share = (1 - 2 * self.edge) / (self.high - self.low)
        return self.low + (torch.sigmoid(y) - self.edge) / share


class Net(nn.Module):
    """What a coupling asks: convolutions with a learned value for each place, steered by e.

    At one place it is an MLP. It starts at zero, so that each coupling starts as the identity.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: tuple[int, int],
        width: int,
        depth: int,
        steering: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.size = size
        if size == (1, 1):
            self.mlp = MLP(
                max(1, inputs), outputs, width=width, depth=depth, steering=steering, zero=True
            )
            return
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.place = nn.Parameter(0.1 * torch.randn(width, *size))
        self.blocks = nn.ModuleList(
            ResBlock(width, width, steering, dropout) for _ in range(depth)
        )
        self.norm = nn.GroupNorm(groups(width), width)
        self.last = zeroed(nn.Conv2d(width, outputs, 1))

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (n, inputs, h, w), e (n, steering) -> (n, outputs, h, w)."""
        if self.size == (1, 1):
            seen = x.flatten(1) if x.shape[1] else x.new_ones(len(x), 1)
            return self.mlp(seen, e)[:, :, None, None]
        h = self.first(x) + self.place
        for block in self.blocks:
            h = block(h, e)
        return self.last(F.silu(self.norm(h)))


class Coupling(nn.Module):
    """The first half of the channels moves, scales and bends the second: affine, then a spline.

    Args:
        channels: c; a single channel is steered by e alone.
        bins: of the spline; 0 for an affine coupling.
        size, width, depth, steering, dropout: of `Net`.
    """

    def __init__(
        self,
        channels: int,
        *,
        bins: int,
        size: tuple[int, int],
        width: int,
        depth: int,
        steering: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.kept = channels // 2
        self.changed = channels - self.kept
        self.each = 2 + (parameters(bins) if bins else 0)
        self.net = Net(
            self.kept,
            self.changed * self.each,
            size=size,
            width=width,
            depth=depth,
            steering=steering,
            dropout=dropout,
        )

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, c, h, w), e (n, steering) -> y, log_det."""
        kept, changed = x.split([self.kept, self.changed], dim=1)
        shift, log_scale, raw = self._ask(kept, e)
        y = changed.flatten(2) * log_scale.exp() + shift  # (n, c / 2, h w)
        log_slope = log_scale
        if raw.shape[2]:
            y, bent = spline(y, raw, bound=BOUND)
            log_slope = log_scale + bent
        return torch.cat([kept, y.reshape(changed.shape)], dim=1), log_slope.sum(dim=(1, 2))

    def inverse(self, y: Tensor, e: Tensor) -> Tensor:
        """y (n, c, h, w), e (n, steering) -> x."""
        kept, changed = y.split([self.kept, self.changed], dim=1)
        shift, log_scale, raw = self._ask(kept, e)
        x = changed.flatten(2)  # (n, c / 2, h w)
        if raw.shape[2]:
            x = inverse_spline(x, raw, bound=BOUND)
        x = (x - shift) * (-log_scale).exp()
        return torch.cat([kept, x.reshape(changed.shape)], dim=1)

    def _ask(self, kept: Tensor, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shift, log scale, (n, c / 2, h w) each; spline parameters, (n, c / 2, 3 K - 1, h w)."""
        answer = self.net(kept, e).to(kept.dtype)
        answer = answer.reshape(len(kept), self.changed, self.each, -1)
        return answer[:, :, 0], limited(answer[:, :, 1]), answer[:, :, 2:]
