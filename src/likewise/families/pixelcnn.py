"""Gated PixelCNN: each entry's distribution given all entries before it, in raster order.

van den Oord et al., "Conditional image generation with PixelCNN decoders", 2016. A causal trunk
(`nn/masked.py`) turns all earlier pixels into features; a small network turns these and the
pixel's own earlier channels into the distribution of the next channel. The product over entries
is a log mass that is exact. Many levels are a mixture of logistics over the cells (Salimans et
al., "PixelCNN++", 2017), which knows that levels are ordered; few levels are a softmax.

Sampling keeps what earlier pixels computed (Ramachandran et al., "Fast generation for
convolutional autoregressive models", 2017), and computes in double precision: a sample is a
chain of thresholds, and a rounding error that flips one pixel would change all later ones.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, drop
from likewise.core.config import Optimizer, setting
from likewise.core.contract import Claims, Controls, Family, Loss, Size, Step
from likewise.core.errors import DataError, must
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Space
from likewise.nn.condition import Embed, grid_channels, grids
from likewise.nn.heads import logistic_log_mass
from likewise.nn.masked import GatedStack, Walk

FEW = 32  # up to so many levels, each is coded and predicted on its own


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig:
    """Settings of `PixelCNN`."""

    width: int = setting(48, "channels of the stacks", low=1, high=1024, scale="log")
    blocks: int = setting(5, "gated blocks", low=1, high=64)
    first: int = setting(3, "reach of the first layer, in pixels", low=1, high=15)
    reach: int = setting(1, "reach of each block, in pixels", low=1, high=15)
    hidden: int = setting(128, "width of the head's hidden layer", low=1, high=4096, scale="log")
    head: str = setting(
        "categorical",
        "distribution of an entry: a softmax over levels, or a mixture over ordered cells",
        choices=("categorical", "logistic"),
    )
    components: int = setting(5, "logistics in a mixture", low=1, high=64)
    steering: int = setting(32, "width of the embedded conditions", low=1, high=1024, scale="log")
    dropout: float = setting(0.15, "share of channels dropped in training", low=0.0, high=0.9)
    batch: int = setting(64, "examples a step", low=1, high=4096, scale="log")
    ema: float = setting(0.99, "decay of the parameter average; 0 for none", low=0.0, high=0.99999)
    optimizer: Optimizer = setting(Optimizer(learning_rate=2e-3), "how it is stepped")


@final
class PixelCNN(Family[PixelCNNConfig]):
    """A gated PixelCNN over (channels, height, width), (height, width) or (d,) of classes.

    A vector is a picture of one row; its entries come in their own order.

    Example:
        >>> space = Categorical(shape=(1, 2, 2), categories=2)
        >>> model = PixelCNN(PixelCNN.Config(width=4, blocks=1), space)
        >>> model.sample(3, rng=Draws(0)).shape
        torch.Size([3, 1, 2, 2])
    """

    claims: ClassVar[Claims] = Claims(
        density={Categorical: "exact"},
        conditions=(Labels, Tokens, Grid, Vector),
        completion=True,
        per_example=True,
        controls=frozenset({"temperature", "guidance"}),
    )
    Config = PixelCNNConfig
    codes: Tensor

    def __init__(self, config: PixelCNNConfig, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        assert isinstance(space, Categorical)
        self.channels, self.height, self.width = _picture(space.shape)
        self.register_buffer("codes", _codes(space.categories))
        size, code = config.width, self.codes.shape[1]
        self.embed = Embed(conditions, config.steering)
        self.stack = GatedStack(
            self.channels * code,
            size,
            blocks=config.blocks,
            first=config.first,
            reach=config.reach,
            steering=config.steering if conditions else 0,
            vertical=self.height > 1,
            dropout=config.dropout,
        )
        self.emphasis = nn.Linear(config.steering, size) if conditions else None
        self.rows = nn.Parameter(0.1 * torch.randn(size, self.height, 1))
        self.columns = nn.Parameter(0.1 * torch.randn(size, 1, self.width))
        maps = grid_channels(conditions)
        self.maps = nn.Conv2d(maps, size, 3, padding=1) if maps else None
        self.head: _Softmax | _Logistics = (
            _Logistics(space.categories, config.components)
            if config.head == "logistic"
            else _Softmax(space.categories)
        )
        self.channel_heads = nn.ModuleList(
            _ChannelHead(size + k * code, config.hidden, self.head.start())
            for k in range(self.channels)
        )

    @classmethod
    def refuses(cls, space: Space) -> str | None:
        """Why it cannot learn this Space, in words, or None if it can."""
        reason = super().refuses(space)
        if reason or (1 <= len(space.shape) <= 3 and min(space.shape) >= 1):
            return reason
        return f"it learns (channels, height, width) or (d,) entries, not shape {space.shape}"

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> PixelCNNConfig:
        """A Config sized for this Space: see `Family.preset`."""
        assert isinstance(space, Categorical)
        _, height, width = _picture(space.shape)
        wide, blocks, hidden, batch, ema, rate = {
            "xs": (24, 4, 64, 32, 0.99, 5e-3),
            "s": (48, 7, 128, 32, 0.99, 3e-3),
            "m": (80, 10, 192, 64, 0.999, 2e-3),
            "l": (128, 14, 256, 64, 0.999, 1e-3),
        }[size]
        first = 2 if max(height, width) <= 12 else 3
        whole_row = math.ceil((width - first) / blocks)
        return PixelCNNConfig(
            width=wide,
            blocks=blocks,
            first=first,
            reach=max(1, min(8, whole_row)) if height == 1 else 1,
            hidden=hidden,
            head="categorical" if space.categories <= FEW else "logistic",
            batch=batch,
            ema=ema,
            optimizer=Optimizer(learning_rate=rate),
        )

    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) exact log mass in nats."""
        levels = x.reshape(len(x), self.channels, self.height, self.width)
        codes = self.codes[levels]  # (n, channels, h, w, code)
        e = self.embed(c, len(x), self.device)
        features = self._features(codes, c, e).permute(0, 2, 3, 1)  # (n, h, w, f)
        total = codes.new_zeros(len(x))
        for k, channel_head in enumerate(self.channel_heads):
            before = codes[:, :k].permute(0, 2, 3, 1, 4).flatten(3)  # (n, h, w, k * code)
            out = channel_head(torch.cat([features, before], dim=-1))
            total = total + self.head.log_mass(out, levels[:, k]).flatten(1).sum(dim=1)
        return total

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """Negative log mass, in nats per dimension."""
        c = drop(c, 0.1, step.rng)
        yield Loss("model", -self.log_prob(x, c) / self.space.dimensions)

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, *shape) int64; one uniform number an entry, by the inverse of its distribution."""
        points = self._points(n, rng)
        known = torch.zeros_like(points, dtype=torch.bool)
        return self._walk(known.long(), known, points, c, controls)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, c: Batch | None = None, *, rng: Draws) -> Tensor:
        """x with its unknown entries sampled in raster order, its known ones kept.

        An unknown entry is drawn given the entries before it, known and sampled; what is known
        further on does not inform it, so a completion may fit its later surroundings badly.
        Exact where all that is known comes first.
        """
        if known.shape != x.shape:
            raise DataError(must("known", f"of x's shape {tuple(x.shape)}", tuple(known.shape)))
        shape = (len(x), self.channels, self.height, self.width)
        points = self._points(len(x), rng)
        return self._walk(x.reshape(shape), known.reshape(shape), points, c, Controls())

    def _points(self, n: int, rng: Draws) -> Tensor:
        """(n, channels, h, w) float64 in (0, 1)."""
        return rng.uniform(n, self.channels, self.height, self.width).to(self.device, self._exact)

    @property
    def _exact(self) -> torch.dtype:
        """The finest float that the device has."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def _features(self, codes: Tensor, c: Batch | None, e: Tensor) -> Tensor:
        """codes (n, channels, h, w, code), e (n, steering) -> (n, f, h, w)."""
        flat = codes.permute(0, 2, 3, 1, 4).flatten(3)  # (n, h, w, channels * code)
        flat = flat.permute(0, 3, 1, 2)  # (n, channels * code, h, w), channels last in memory
        e = e.to(codes.dtype)
        return self.stack(flat, self._place(c, e), e)

    def _place(self, c: Batch | None, e: Tensor) -> Tensor:
        """e (n, steering) -> (1 or n, f, h, w): what is known of each place beforehand.

        The conditions say which features of the place matter, so that "a seven" and "top left"
        can meet in the first layer.
        """
        place = (self.rows + self.columns)[None]
        if self.emphasis is not None:
            place = place * (1.0 + self.emphasis(e))[:, :, None, None]
        maps = grids(c, self.conditions, (self.height, self.width), len(e), self.device)
        return place if maps is None or self.maps is None else place + self.maps(maps.to(e))

    def _walk(
        self, x: Tensor, known: Tensor, points: Tensor, c: Batch | None, controls: Controls
    ) -> Tensor:
        """Sample what is not known; x, known, points (n, channels, h, w) -> (n, *shape)."""
        n, dtype, x = len(x), points.dtype, x.clone()
        exact = copy.deepcopy(self).to(dtype).eval()
        e = self.embed(c, n, self.device).to(dtype)
        place = exact._place(c, e).expand(n, -1, -1, -1)
        guided = controls.guidance != 1.0 and bool(self.conditions)
        if guided:  # the second half of the rows is the unconditional model
            without = self.embed(None, n, self.device).to(dtype)
            place = torch.cat([place, exact._place(None, without).expand_as(place)])
            e = torch.cat([e, without])
        walk = Walk(exact.stack, place, e, dtype)
        for i in range(self.height):
            walk.begin()
            for j in range(self.width):
                seen = walk.features(j)
                for k, channel_head in enumerate(exact.channel_heads):
                    masses = self.head.masses(channel_head(seen))
                    if guided:
                        masses = _guide(masses, controls.guidance)
                    chosen = _inverse(masses, points[:, k, i, j], controls.temperature)
                    x[:, k, i, j] = torch.where(known[:, k, i, j], x[:, k, i, j], chosen)
                    code = exact.codes[x[:, k, i, j]]  # (n, code)
                    seen = torch.cat([seen, code.repeat(1 + guided, 1)], dim=1)
                walk.put(j, seen[:, self.config.width :])
        return x.reshape(n, *self.space.shape)

    @torch.no_grad()
    def _sample_naively(self, n: int, c: Batch | None = None, *, rng: Draws) -> Tensor:
        """As `sample`, by the whole network once for every entry: the reference it must equal."""
        points = self._points(n, rng)
        model = copy.deepcopy(self).to(points.dtype).eval()
        e = self.embed(c, n, self.device)
        x = torch.zeros_like(points, dtype=torch.int64)
        for i in range(self.height):
            for j in range(self.width):
                for k, channel_head in enumerate(model.channel_heads):
                    codes = model.codes[x]
                    before = codes[:, :k, i, j].flatten(1)  # (n, k * code)
                    seen = model._features(codes, c, e)[:, :, i, j]
                    masses = model.head.masses(channel_head(torch.cat([seen, before], dim=1)))
                    x[:, k, i, j] = _inverse(masses, points[:, k, i, j], 1.0)
        return x.reshape(n, *self.space.shape)


class _ChannelHead(nn.Module):
    """Features of a pixel and its earlier channels (n, ..., inputs) -> (n, ..., outputs)."""

    def __init__(self, inputs: int, hidden: int, start: Tensor) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.last = nn.Linear(hidden, len(start))
        with torch.no_grad():
            self.last.bias.copy_(start)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.silu(self.first(x)))


class _Softmax:
    """K classes on their own: K numbers, their softmax."""

    def __init__(self, categories: int) -> None:
        self.categories = categories

    def start(self) -> Tensor:
        """The bias that the head starts with."""
        return torch.zeros(self.categories)

    def log_mass(self, out: Tensor, x: Tensor) -> Tensor:
        """out (n, h, w, K), x (n, h, w) -> (n, h, w)."""
        losses = F.cross_entropy(out.flatten(0, -2), x.flatten(), reduction="none")
        return -losses.view(x.shape)

    def masses(self, out: Tensor) -> Tensor:
        """(n, K) -> (n, K) probabilities."""
        return out.softmax(dim=-1)


class _Logistics:
    """K ordered levels: a mixture of logistics over [-1, 1], the end cells reaching to infinity.

    An output is (n, ..., 3 M): log weights, means and log scales.
    """

    def __init__(self, categories: int, components: int) -> None:
        self.categories, self.components = categories, components
        self.step = 2.0 / max(1, categories - 1)

    def start(self) -> Tensor:
        """The bias that the head starts with: even weights, means spread over the range."""
        means = torch.linspace(-1.0, 1.0, 2 * self.components + 1)[1::2]
        return torch.cat([torch.zeros_like(means), means, torch.full_like(means, -2.0)])

    def _split(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, means, log_scales = out.chunk(3, dim=-1)
        return weights.log_softmax(dim=-1), means, log_scales.clamp(min=-7.0)

    def log_mass(self, out: Tensor, x: Tensor) -> Tensor:
        """out (n, h, w, 3 M), x (n, h, w) -> (n, h, w)."""
        weights, means, log_scales = self._split(out)
        value = (x.to(out.dtype) * self.step - 1.0)[..., None]  # (n, h, w, 1)
        each = logistic_log_mass(value, means, log_scales, low=-1.0, high=1.0, step=self.step)
        return (weights + each).logsumexp(dim=-1)

    def masses(self, out: Tensor) -> Tensor:
        """(n, 3 M) -> (n, K) probabilities."""
        weights, means, log_scales = self._split(out)
        edges = torch.arange(self.categories - 1, device=out.device, dtype=out.dtype)
        edges = (edges + 0.5) * self.step - 1.0  # (K - 1,)
        below = torch.sigmoid((edges[:, None] - means[:, None]) * (-log_scales)[:, None].exp())
        below = (below @ weights.exp()[..., None])[..., 0]  # (n, K - 1, M) -> (n, K - 1)
        ends = torch.ones_like(below[:, :1])
        return torch.cat([below, ends], dim=1).diff(dim=1, prepend=torch.zeros_like(ends))


def _inverse(masses: Tensor, points: Tensor, temperature: float) -> Tensor:
    """masses (n, K), points (n,) in (0, 1) -> (n,) classes by the inverse distribution."""
    if temperature != 1.0:
        masses = (masses / masses.amax(dim=1, keepdim=True)).pow(1.0 / max(temperature, 1e-6))
    cumulative = masses.cumsum(dim=1)
    return torch.searchsorted(cumulative, points[:, None] * cumulative[:, -1:])[:, 0]


def _guide(masses: Tensor, strength: float) -> Tensor:
    """(2 n, K), conditional then unconditional -> (n, K): p(x | c) (p(x | c) / p(x))^(s - 1)."""
    with_c, without = masses.clamp(min=1e-30).log().chunk(2)
    return (strength * with_c + (1.0 - strength) * without).softmax(dim=1)


def _picture(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, height, width) of a Space's shape; one column is one row, in the same order."""
    channels, height, width = (1,) * (3 - len(shape)) + tuple(shape)
    return (channels, 1, height) if width == 1 else (channels, height, width)


def _codes(categories: int) -> Tensor:
    """(categories, code): each level as numbers, itself on [-1, 1] first.

    Few levels are coded one by one as well, many by waves of the level, which tell neighbours
    apart and yet keep them close.
    """
    level = torch.linspace(-1.0, 1.0, categories)[:, None]
    if categories <= FEW:
        return torch.cat([level, torch.eye(categories)], dim=1)
    waves = math.pi * level * 2.0 ** torch.arange(4)
    return torch.cat([level, waves.cos(), waves.sin()], dim=1)
