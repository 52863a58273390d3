"""Feature nets: what measures look through, for every kind of Space.

A distance between samples and data is a distance of their features, so there are three kinds of
them and a claim should hold in more than one: `Classifier`, the layer before the last of a small
net that tells the classes apart (LeCun et al., 1998, as feature net after Heusel et al., 2017);
`RandomNet`, the same trunk with random weights, which knows no label (suggested off ImageNet by
Naeem et al., 2020); `Pca`, the principal components, which is linear and hides nothing.

All are small, trained on the training split only, and shifted and scaled by one number so that an
average feature has mean 0 and variance 1 there: distances of different nets are then of one size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch, Labels
from likewise.core.config import Optimizer
from likewise.core.contract import Loss, Source, Step
from likewise.core.errors import DataError, UsageError, must
from likewise.core.rng import Draws, fold, generator
from likewise.core.space import Space
from likewise.nn.trunk import ENTRIES, Scaled, batches, rows_at_once, trunk

_COMPONENTS = 1024  # rows or columns of the largest matrix that Pca takes apart


def width_for(n: int) -> int:
    """How many features to measure n examples with: n / 8 up to 32, then n / 32 up to 64.

    Wider nets see more, but the bias of a Fréchet distance grows with the width over n.

    Example:
        >>> width_for(40), width_for(270), width_for(1000), width_for(10_000)
        (5, 32, 32, 64)
    """
    return max(1, min(32, n // 8), min(64, n // 32))


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
        rows = x.split(rows_at_once(self.space))
        parts = [self.raw(part.to(self.shift.device)) for part in rows]
        return (torch.cat(parts) - self.shift) / self.scale

    @torch.no_grad()
    def calibrate(self, source: Source, *, rng: Draws) -> None:
        """Shift to mean 0 and scale to a mean variance of 1 on the source."""
        self.shift.zero_()
        self.scale.fill_(1.0)
        values = torch.cat([self.features(x) for x in batches(source, rng)]).double()
        mean, variance = values.mean(dim=0), values.var(dim=0, correction=0).mean()
        self.shift.copy_(mean)
        self.scale.copy_(variance.sqrt() if variance > 1e-12 else torch.ones(()))


class Classifier(FeatureNet):
    """Tells the classes of a Labels condition apart; its features are the layer before the last.

    A `Trainable`: cross-entropy per example; an example without a label
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
        self.trunk = trunk(space, width, channels=16)
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
        rows = x.split(rows_at_once(self.space))
        parts = [self.logits(part.to(self.shift.device)) for part in rows]
        return torch.cat(parts).softmax(dim=1)

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Learn the scales of the inputs."""
        self.trunk.prepare(source, rng)

    def parts(self) -> dict[str, nn.Module]:
        """One part."""
        return {"classifier": self}

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW with a short warm-up; the weight decay is what keeps it from overfitting."""
        settings = Optimizer(learning_rate=5e-3, weight_decay=0.05, warmup=0.1)
        return {"classifier": settings}

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """Cross-entropy, (n,); labels are not smoothed: that would flatten `probabilities`."""
        if self.labels.name not in c:
            raise DataError(f"the batches must carry the condition {self.labels.name!r}.")
        target, present = c[self.labels.name]
        logits = self.logits(x)
        value = F.cross_entropy(logits, target, reduction="none")
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
        self.trunk = trunk(space, width, channels=32)
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
        self.scaled = Scaled(space)
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
        flat = torch.cat([self.scaled(x) for x in batches(source, rng)]).double()
        mean = flat.mean(dim=0)
        values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
        return mean, vectors.flip(1)[:, _real(values)]

    def _from_rows(self, source: Source, rng: Draws) -> tuple[Tensor, Tensor]:
        """The same by the inner products of rows, where there are more columns than rows."""
        limit = min(_COMPONENTS, max(2 * self.width, ENTRIES // self.scaled.width))
        flat = torch.cat([self.scaled(x) for x in batches(source, rng, limit)]).double()
        mean = flat.mean(dim=0)
        values, rows = torch.linalg.eigh((flat - mean) @ (flat - mean).T / len(flat))
        vectors = (flat - mean).T @ rows.flip(1)[:, _real(values)]  # (d, rows) @ (rows, rank)
        return mean, F.normalize(vectors, dim=0)


def _real(values: Tensor) -> Tensor:
    """Which of the ascending eigenvalues, largest first, are more than rounding."""
    return values.flip(0) > 1e-9 * values[-1].clamp(min=1e-12)
