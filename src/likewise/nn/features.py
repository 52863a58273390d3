"""Feature nets: what measures look through, for every kind of Space.

A distance between samples and data is a distance of their features, so there are three kinds of
them and a claim should hold in more than one: `Classifier`, the layer before the last of a small
net that tells the classes apart (LeCun et al., 1998, as feature net after Heusel et al., 2017);
`RandomNet`, the same trunk with random weights, which knows no label (suggested off ImageNet by
Naeem et al., 2020); `Pca`, the principal components, which is linear and hides nothing.

All are small, trained on the training split only, and shifted and scaled by one number so that an
average feature has mean 0 and variance 1 there: distances of different nets are then of one size.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Labels
from likewise.core.config import Optimizer
from likewise.core.contract import Loss, Source, Step
from likewise.core.errors import DataError, UsageError, must
from likewise.core.rng import Draws, fold, generator
from likewise.core.space import Categorical, Continuous, Mixed, Sequence, Space
from likewise.nn.layers import sizes

_EXAMPLES = 4096  # that scales and components are measured on, at most
_ENTRIES = 1 << 24  # numbers in memory at once, at most
_COMPONENTS = 1024  # rows or columns of the largest matrix that Pca takes apart


def width_for(n: int) -> int:
    """How many features to measure n examples with: 8 examples a feature, 32 at most.

    Example:
        >>> width_for(40), width_for(270), width_for(10_000)
        (5, 32, 32)
    """
    return max(1, min(32, n // 8))


class FeatureNet(nn.Module, ABC):
    """A map from a Space to `width` numbers, fixed once it is calibrated.

    Args:
        space: what it reads.
        width: how many features d.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, space: Space, width: int) -> None:
        super().__init__()
        if width < 1:
            raise UsageError(must("width", "at least 1", width))
        self.space = space
        self.width = width
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))

    @abstractmethod
    def raw(self, x: Tensor) -> Tensor:
        """(n, width) features as the net makes them."""

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """What must be known of the training data first; nothing unless a net says so."""
        return

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """(n, width) float32 features of examples of the Space, the same at any n."""
        self.eval()
        parts = [self.raw(part.to(self.shift.device)) for part in x.split(_rows(self.space))]
        return (torch.cat(parts) - self.shift) / self.scale

    @torch.no_grad()
    def calibrate(self, source: Source, *, rng: Draws) -> None:
        """Shift to mean 0 and scale to a mean variance of 1 on the source."""
        self.shift.zero_()
        self.scale.fill_(1.0)
        values = torch.cat([self.features(x) for x in _batches(source, rng)]).double()
        mean, variance = values.mean(dim=0), values.var(dim=0, correction=0).mean()
        self.shift.copy_(mean)
        self.scale.copy_(variance.sqrt() if variance > 1e-12 else torch.ones(()))


class Classifier(FeatureNet):
    """Tells the classes of a Labels condition apart; its features are the layer before the last.

    A `Trainable`: cross-entropy with smoothed labels, per example; an example without a label
    has no loss.

    Args:
        space: what it reads.
        labels: with at least 2 names.
        width: how many features d.
    """

    def __init__(self, space: Space, labels: Labels, width: int = 32) -> None:
        super().__init__(space, width)
        if len(labels.names) < 2:
            raise UsageError(must("the number of classes", "at least 2", len(labels.names)))
        self.labels = labels
        self.trunk = _trunk(space, width, channels=16)
        self.last = nn.Linear(width, len(labels.names))

    def raw(self, x: Tensor) -> Tensor:
        """(n, width), before the last nonlinearity."""
        return self.trunk(x)

    def logits(self, x: Tensor) -> Tensor:
        """(n, classes)."""
        return self.last(F.silu(self.raw(x)))

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """(n, classes) float32, rows that sum to 1."""
        self.eval()
        parts = [self.logits(part.to(self.shift.device)) for part in x.split(_rows(self.space))]
        return torch.cat(parts).softmax(dim=1)

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Learn the scales of the inputs."""
        self.trunk.prepare(source, rng)

    def parts(self) -> dict[str, nn.Module]:
        """One part."""
        return {"classifier": self}

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW with a short warm-up; the weight decay is what keeps it from overfitting."""
        settings = Optimizer(learning_rate=3e-3, weight_decay=0.05, warmup=0.1)
        return {"classifier": settings}

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """Cross-entropy with label smoothing 0.1 (Szegedy et al., 2016), (n,)."""
        if self.labels.name not in c:
            raise DataError(f"the batches must carry the condition {self.labels.name!r}.")
        target, present = c[self.labels.name]
        logits = self.logits(x)
        value = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)
        right = (logits.argmax(dim=1) == target)[present].float()
        accuracy = right.mean() if len(right) else torch.ones(())
        yield Loss("classifier", value * present, {"accuracy": accuracy})


class RandomNet(FeatureNet):
    """A trunk with random weights: what the data looks like to a net that was taught nothing.

    Args:
        space: what it reads.
        width: how many features d.
        seed: of the weights.
    """

    def __init__(self, space: Space, width: int = 32, seed: int = 0) -> None:
        super().__init__(space, width)
        self.trunk = _trunk(space, width, channels=32)
        draw = generator(fold(seed, "random features"))
        for parameter in self.trunk.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, generator=draw)
            else:
                nn.init.normal_(parameter, std=0.1, generator=draw)
            parameter.requires_grad_(False)

    def raw(self, x: Tensor) -> Tensor:
        """(n, width)."""
        return self.trunk(x)

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Learn the scales of the inputs."""
        self.trunk.prepare(source, rng)


class Pca(FeatureNet):
    """The leading principal components of `space.flat(x)` on the training data (Hotelling, 1933).

    Args:
        space: what it reads.
        width: how many components; directions that the data does not have are 0.
    """

    centre: Tensor
    basis: Tensor

    def __init__(self, space: Space, width: int = 32) -> None:
        super().__init__(space, width)
        self.scaled = _Scaled(space)
        self.register_buffer("centre", torch.zeros(self.scaled.width))
        self.register_buffer("basis", torch.zeros(self.scaled.width, width))

    def raw(self, x: Tensor) -> Tensor:
        """(n, width)."""
        return (self.scaled(x) - self.centre) @ self.basis

    @torch.no_grad()
    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Learn the scales of the inputs and the components."""
        self.scaled.prepare(source, rng)
        if self.scaled.width <= _COMPONENTS:
            mean, vectors = self._from_covariance(source, rng)
        else:
            mean, vectors = self._from_rows(source, rng)
        self.centre.copy_(mean)
        self.basis.zero_()
        vectors = vectors[:, : self.width]
        # An eigenvector's sign is arbitrary: its largest entry is made positive.
        largest = vectors.abs().argmax(dim=0, keepdim=True)
        self.basis[:, : vectors.shape[1]] = vectors * vectors.gather(0, largest).sign()

    def _from_covariance(self, source: Source, rng: Draws) -> tuple[Tensor, Tensor]:
        """Mean (d,) and eigenvectors (d, rank), largest first."""
        flat = torch.cat([self.scaled(x) for x in _batches(source, rng)]).double()
        mean = flat.mean(dim=0)
        values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
        return mean, vectors.flip(1)[:, _real(values)]

    def _from_rows(self, source: Source, rng: Draws) -> tuple[Tensor, Tensor]:
        """The same by the inner products of rows, where there are more columns than rows."""
        limit = min(_COMPONENTS, max(2 * self.width, _ENTRIES // self.scaled.width))
        flat = torch.cat([self.scaled(x) for x in _batches(source, rng, limit)]).double()
        mean = flat.mean(dim=0)
        values, rows = torch.linalg.eigh((flat - mean) @ (flat - mean).T / len(flat))
        vectors = (flat - mean).T @ rows.flip(1)[:, _real(values)]  # (d, rows) @ (rows, rank)
        return mean, F.normalize(vectors, dim=0)


class _Scaled(nn.Module):
    """`space.flat(x)`, with columns that have units of their own at mean 0 and deviation 1.

    Pictures and one-hot columns keep their units: an edge pixel or a rare class is not blown up.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.width = _flat_width(space)
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
        flat = torch.cat([self.space.flat(x) for x in _batches(source, rng)]).double()
        flags = ((flat == 0) | (flat == 1)).all(dim=0)
        mean, deviation = flat.mean(dim=0), flat.std(dim=0, correction=0)
        keep = flags | (deviation < 1e-6 * (1 + mean.abs()))
        self.mean.copy_(torch.where(flags, 0.0, mean))
        self.deviation.copy_(torch.where(keep, 1.0, deviation))


class _Rows(nn.Module):
    """A trunk over `space.flat`: a perceptron with two hidden layers."""

    def __init__(self, space: Space, width: int, channels: int) -> None:
        super().__init__()
        self.scaled = _Scaled(space)
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
        length = mask.sum(dim=2)
        pooled = [h.sum(dim=2) / length, h.amax(dim=2), length / self.space.length]
        return self.last(torch.cat(pooled, dim=1))


def _trunk(space: Space, width: int, channels: int) -> "_Rows | _Pictures | _Tokens":
    if isinstance(space, Sequence):
        return _Tokens(space, width, channels)
    if isinstance(space, (Continuous, Categorical)) and len(space.shape) == 3:
        return _Pictures(space, width, channels)
    return _Rows(space, width, channels)


def _batches(source: Source, rng: Draws, limit: int = _EXAMPLES) -> Iterator[Tensor]:
    """Examples of a source once each, evenly spread over it, at most `limit` of them."""
    count = min(len(source), limit)
    index = torch.arange(count) * len(source) // count
    start = 0
    for rows in index.split(_rows(source.space)):
        yield source.batch(rows, rng.shifted(start))[0]
        start += len(rows)


def _rows(space: Space) -> int:
    """How many examples go through a net at once."""
    return max(1, min(512, _ENTRIES // _flat_width(space)))


def _flat_width(space: Space) -> int:
    """How many columns `space.flat` has."""
    whole = isinstance(space, (Categorical, Sequence))
    example = torch.zeros(1, *space.shape, dtype=torch.int64 if whole else torch.float32)
    return space.flat(example).shape[1]


def _real(values: Tensor) -> Tensor:
    """Which of the ascending eigenvalues, largest first, are more than rounding."""
    return values.flip(0) > 1e-9 * values[-1].clamp(min=1e-12)
