"""Pictures as training batches: bytes in memory or in a file, tensors a batch at a time."""

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions
from likewise.core.errors import DataError, must
from likewise.core.records import Picked
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous, Space
from likewise.domains.images.augment import augment
from likewise.domains.images.pictures import Pixels, rescale

View = Continuous | Categorical


def to_space(levels: Tensor, space: View) -> Tensor:
    """Levels (n, c, h, w) uint8 as values of a Space; `from_space` takes them back exactly."""
    if isinstance(space, Categorical):
        return levels.long()
    return levels.float().mul_(space.step or 1.0).add_(space.low or 0.0)


def from_space(x: Tensor, space: View) -> Tensor:
    """Values of a Space (n, c, h, w) as the nearest levels, uint8.

    Raises:
        DataError: x is of another shape, or not finite.
    """
    if tuple(x.shape[1:]) != space.shape:
        raise DataError(must("a picture", f"of shape {space.shape}", tuple(x.shape[1:])))
    x = x.detach().cpu()
    if isinstance(space, Categorical):
        return x.clamp(0, space.categories - 1).to(torch.uint8)
    if not torch.isfinite(x).all():
        raise DataError(must("a picture's values", "finite", "NaN or infinity"))
    levels = ((x.float() - (space.low or 0.0)) / (space.step or 1.0)).round_()
    return levels.clamp_(0, (space.levels or 256) - 1).to(torch.uint8)


class ImageSource:
    """A `Source` over pictures.

    Args:
        pictures: (n, h, w, c) uint8 levels, an array or rows of one in a file; never copied whole.
        levels: how many values they may have; batches are brought to those of `space`.
        labels: (n,) int64 the number of each label, -1 where it is unknown or missing.
        space: what the batches are of.
        conditions: what they carry: one Labels or nothing.
        kinds: of augmentation; empty for none.
    """

    def __init__(
        self,
        pictures: Pixels | Picked,
        labels: Tensor,
        *,
        levels: int,
        space: View,
        conditions: Conditions,
        kinds: Collection[str] = (),
    ) -> None:
        self.pictures = pictures
        self.levels = levels
        self.labels = labels
        self.space: Space = space
        self._view = space
        self.conditions = conditions
        self.kinds = tuple(kinds)

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        """x (b, c, h, w) and conditions of the pictures numbered `index` (b,) int64."""
        pictures = rescale(self.pictures[index.numpy()], self.levels - 1, self._top)
        channels_first = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))  # (b, c, h, w)
        levels = torch.from_numpy(channels_first)
        if self.kinds:
            levels = augment(levels, self._top, self.kinds, rng)
        numbers = self.labels[index]
        c = {one.name: (numbers.clamp(min=0), numbers >= 0) for one in self.conditions}
        return to_space(levels, self._view), c

    @property
    def _top(self) -> int:
        view = self._view
        return (view.categories if isinstance(view, Categorical) else view.levels or 256) - 1
