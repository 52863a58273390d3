"""A self-taught feature net: it tells examples apart by themselves, and needs no label.

Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of visual
representations" (SimCLR), 2020. Each example is shown twice, changed at random; of all views in
the batch the net must find the other one of the same example.

What the views change, the features learn to ignore, and what features ignore no distance in them
can see. So pictures are turned, zoomed, moved and cut, but keep their colours and contrast and
are neither blurred nor made noisy: those are what generators get wrong.

Examples of other kinds have no such symmetries. Their views swap entries with other examples
(Bahri, Jiang, Tay and Metzler, "SCARF", 2022), which keeps every column's own distribution.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.condition import Batch
from likewise.core.config import Optimizer
from likewise.core.contract import Loss, Source, Step
from likewise.core.rng import Draws
from likewise.core.space import Continuous, Sequence, Space
from likewise.nn.augment import cut, move
from likewise.nn.features import FeatureNet
from likewise.nn.trunk import is_picture, trunk

TEMPERATURE = 0.2
PROJECTED = 128  # numbers in which views are compared; features are taken before that
SWAPPED = 0.3  # share of the entries of an example that is no picture


class Contrastive(FeatureNet):
    """Features by which an example is told from all others, however it is turned or moved.

    A `Trainable`; its loss compares the examples of a batch, so it is one number for the batch.

    Args:
        space: what it reads.
        width: how many features d.
    """

    def __init__(self, space: Space, width: int = 32) -> None:
        super().__init__(space, width)
        self.trunk = trunk(space, width, channels=16)
        self.head = nn.Sequential(  # without the norm over the batch it learns far slower
            nn.SiLU(),
            nn.Linear(width, PROJECTED),
            nn.BatchNorm1d(PROJECTED, track_running_stats=False),
            nn.ReLU(),
            nn.Linear(PROJECTED, PROJECTED),
        )

    def raw(self, x: Tensor) -> Tensor:
        """(n, width)."""
        return self.trunk(x)

    def prepare(self, source: Source, *, rng: Draws) -> None:
        """Learn the scales of the inputs."""
        self.trunk.prepare(source, rng)

    def parts(self) -> dict[str, nn.Module]:
        """One part."""
        return {"contrastive": self}

    def optimizers(self) -> dict[str, Optimizer]:
        """AdamW with a short warm-up."""
        return {"contrastive": Optimizer(learning_rate=3e-3, weight_decay=0.05, warmup=0.1)}

    def losses(self, x: Tensor, c: Batch, *, step: Step) -> Iterator[Loss]:
        """The normalised cross-entropy of finding each view's twin among 2 n - 1 others, ()."""
        views = torch.cat([view(x, self.space, step.rng), view(x, self.space, step.rng)])
        z = F.normalize(self.head(self.trunk(views)), dim=1)
        likeness = z @ z.T / TEMPERATURE  # (2n, 2n)
        likeness = likeness.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -1e9)
        twin = torch.arange(len(z), device=z.device).roll(len(x))
        found = (likeness.argmax(dim=1) == twin).float().mean()
        yield Loss("contrastive", F.cross_entropy(likeness, twin), {"found": found})


def view(x: Tensor, space: Space, rng: Draws) -> Tensor:
    """Examples changed in ways that leave them what they are, one draw a row."""
    if is_picture(space) and isinstance(space, Continuous):
        u = rng.uniform(len(x), 7)
        return cut(move(warp(x, u[:, 0:3]), u[:, 3:5], 0.15), u[:, 5:7], 0.4)
    return swap(x, space, SWAPPED, rng)


def warp(x: Tensor, u: Tensor, turn: float = 20.0, zoom: float = 1.25) -> Tensor:
    """Turn by up to `turn` degrees, zoom by up to `zoom` and stretch by half as much.

    Args:
        x: (n, channels, h, w).
        u: (n, 3) or more, uniform in (0, 1).
    """
    signed = 2 * u - 1
    angle = signed[:, 0] * math.radians(turn)
    scale = (signed[:, 1] * math.log(zoom)).exp()
    stretch = (signed[:, 2] * math.log(zoom) / 2).exp()
    zero, shape = torch.zeros_like(angle), x.shape[2] / x.shape[3]  # sides count as 2 in a grid
    rows = [
        torch.stack([angle.cos() * scale * stretch, -angle.sin() * scale * shape, zero], dim=1),
        torch.stack([angle.sin() * scale / shape, angle.cos() * scale / stretch, zero], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def swap(x: Tensor, space: Space, share: float, rng: Draws) -> Tensor:
    """Entries put in place of those of another row, at random; each column keeps its values.

    Tokens of a sequence are only swapped where both have one before their end, so that lengths
    stay.

    Args:
        x: (n, ...) examples of `space`.
        share: of the entries that come from elsewhere, in [0, 1].
        rng: one draw a row.
    """
    others = x.roll(1, dims=0)[rng.uniform(len(x), 1)[:, 0].argsort()]
    taken = rng.uniform(*x.shape) < share
    if isinstance(space, Sequence):
        inside = (x != space.end) & space.mask(x)
        taken &= inside & (others != space.end) & space.mask(others)
    return torch.where(taken, others, x)
