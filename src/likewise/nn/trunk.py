"""Trunks of feature nets: from examples of any kind of Space to a vector."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.contract import Source
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous, Mixed, Sequence, Space
from likewise.nn.layers import sizes

_EXAMPLES = 4096  # that scales and components are measured on, at most
ENTRIES = 1 << 24  # numbers in memory at once, at most


class Scaled(nn.Module):
    """`space.flat(x)`, with columns that have units of their own at mean 0 and deviation 1.

    Pictures and one-hot columns keep their units: an edge pixel or a rare class is not blown up.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.width = flat_width(space)
        self.own_units = isinstance(space, Mixed) or (
            isinstance(space, Continuous) and len(space.shape) < 3
        )
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("deviation", torch.ones(self.width))

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, d)."""
        return (self.space.flat(x) - self.mean) / self.deviation

    def prepare(self, source: Source, rng: Draws) -> None:
        """Measure each column over the source."""
        if not self.own_units:
            return
        flat = torch.cat([self.space.flat(x) for x in batches(source, rng)]).double()
        flags = ((flat == 0) | (flat == 1)).all(dim=0)
        mean, deviation = flat.mean(dim=0), flat.std(dim=0, correction=0)
        keep = flags | (deviation < 1e-6 * (1 + mean.abs()))
        self.mean.copy_(torch.where(flags, 0.0, mean))
        self.deviation.copy_(torch.where(keep, 1.0, deviation))


class _Rows(nn.Module):
    """A trunk over `space.flat`: a perceptron with two hidden layers."""

    def __init__(self, space: Space, width: int, channels: int) -> None:
        super().__init__()
        self.scaled = Scaled(space)
        hidden = 4 * channels
        self.layers = nn.Sequential(
            nn.Linear(self.scaled.width, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, width),
        )

    def prepare(self, source: Source, rng: Draws) -> None:
        self.scaled.prepare(source, rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.scaled(x))


class _Pictures(nn.Module):
    """A trunk over pictures: convolutions that halve height and width down to 4 pixels or fewer.

    The first one takes steps as large as bring a picture to 16 pixels, since full size is dear.
    Classes of a Categorical picture become channels by a table.
    """

    def __init__(self, space: Continuous | Categorical, width: int, channels: int) -> None:
        super().__init__()
        inputs, height, wide = space.shape
        self.table = nn.Embedding(space.categories, 8) if isinstance(space, Categorical) else None
        inputs *= 8 if self.table else 1
        halvings = max(0, math.ceil(math.log2(max(height, wide) / 4)))
        stride = 2 ** max(0, halvings - 2)
        first = nn.Conv2d(inputs, channels, 2 * stride + 1, stride=stride, padding=stride)
        layers: list[nn.Module] = [first, nn.ReLU()]
        counts = [channels * 2**stage for stage in range(min(halvings, 2) + 1)]
        for before, after in pairwise(counts):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2, ceil_mode=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        last = sizes(height, wide, halvings + 1)[-1]
        self.last = nn.Linear(counts[-1] * last[0] * last[1], width)

    def prepare(self, source: Source, rng: Draws) -> None:
        return

    def forward(self, x: Tensor) -> Tensor:
        if self.table is not None:
            x = self.table(x).permute(0, 1, 4, 2, 3).flatten(1, 2)  # -> (n, channels * 8, h, w)
        return self.last(self.layers(x))


class _Tokens(nn.Module):
    """A trunk over sequences: convolutions, then the mean and the largest over places."""

    def __init__(self, space: Sequence, width: int, channels: int) -> None:
        super().__init__()
        self.space = space
        self.table = nn.Embedding(space.tokens, channels)
        self.first = nn.Conv1d(channels, 2 * channels, 3, padding=1)
        self.second = nn.Conv1d(2 * channels, 2 * channels, 3, padding=1)
        self.last = nn.Linear(4 * channels + 1, width)

    def prepare(self, source: Source, rng: Draws) -> None:
        return

    def forward(self, x: Tensor) -> Tensor:
        mask = self.space.mask(x)[:, None, :].float()  # (n, 1, length)
        h = self.table(x).transpose(1, 2) * mask  # (n, channels, length)
        h = F.relu(self.first(h)) * mask
        h = F.relu(self.second(h)) * mask
        length = mask.sum(dim=2).clamp(min=1)  # a text of nothing but padding has none
        pooled = [h.sum(dim=2) / length, h.amax(dim=2), length / self.space.length]
        return self.last(torch.cat(pooled, dim=1))


Trunk: TypeAlias = _Rows | _Pictures | _Tokens


def is_picture(space: Space) -> TypeGuard[Continuous | Categorical]:
    """Whether examples are (channels, height, width).

    Example:
        >>> is_picture(Continuous(shape=(1, 8, 8))), is_picture(Continuous(shape=(8,)))
        (True, False)
    """
    return isinstance(space, (Continuous, Categorical)) and len(space.shape) == 3


def trunk(space: Space, width: int, channels: int) -> Trunk:
    """A trunk that reads a Space and gives `width` numbers; `channels` sets its size."""
    if isinstance(space, Sequence):
        return _Tokens(space, width, channels)
    if is_picture(space):
        return _Pictures(space, width, channels)
    return _Rows(space, width, channels)


def batches(source: Source, rng: Draws, limit: int = _EXAMPLES) -> Iterator[Tensor]:
    """Examples of a source once each, evenly spread over it, at most `limit` of them."""
    count = min(len(source), limit)
    index = torch.arange(count) * len(source) // count
    start = 0
    for rows in index.split(rows_at_once(source.space)):
        yield source.batch(rows, rng.shifted(start))[0]
        start += len(rows)


def rows_at_once(space: Space) -> int:
    """How many examples go through a net at once."""
    return max(1, min(512, ENTRIES // flat_width(space)))


def flat_width(space: Space) -> int:
    """How many columns `space.flat` has."""
    whole = isinstance(space, (Categorical, Sequence))
    example = torch.zeros(1, *space.shape, dtype=torch.int64 if whole else torch.float32)
    return space.flat(example).shape[1]
