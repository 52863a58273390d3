"""Conditions as vectors and maps that any trunk can take in."""

import torch
from torch import Tensor, nn

from likewise.core.condition import Batch, Conditions, Grid, Labels, Tokens, Vector, complete_batch


class Embed(nn.Module):
    """Turns a batch of conditions into one vector per example: (n, width).

    Labels and tokens are looked up, vectors and grids are projected; an absent condition
    contributes a learned vector of its own. With no conditions the result is zero.

    Args:
        conditions: what the family is steered by.
        width: of the vector.
    """

    def __init__(self, conditions: Conditions, width: int) -> None:
        super().__init__()
        self.conditions = conditions
        self.width = width
        self.inner = nn.ModuleDict()
        self.absent = nn.ParameterDict()
        for condition in conditions:
            self.absent[condition.name] = nn.Parameter(torch.zeros(width))
            if isinstance(condition, Labels):
                self.inner[condition.name] = nn.Embedding(max(1, len(condition.names)), width)
            elif isinstance(condition, Tokens):
                self.inner[condition.name] = nn.EmbeddingBag(condition.tokens, width)
            elif isinstance(condition, Vector):
                self.inner[condition.name] = nn.Linear(len(condition.names), width)
            elif isinstance(condition, Grid):
                self.inner[condition.name] = nn.Sequential(
                    nn.Conv2d(condition.shape[0], width, 3, padding=1),
                    nn.SiLU(),
                    nn.AdaptiveAvgPool2d(2),
                    nn.Flatten(),
                    nn.Linear(4 * width, width),
                )

    def forward(self, c: Batch | None, n: int, device: torch.device) -> Tensor:
        """(n, width) for n examples; `c` may lack any condition."""
        total = torch.zeros(n, self.width, device=device)
        for name, (values, present) in complete_batch(c, self.conditions, n, device).items():
            known = self.inner[name](values)
            total = total + torch.where(present[:, None], known, self.absent[name])
        return total


def grids(
    c: Batch | None, conditions: Conditions, size: tuple[int, int], n: int, device: torch.device
) -> Tensor | None:
    """Every Grid condition resized to `size` and a channel of presence each, or None.

    Returns:
        (n, channels, height, width), to be joined to a picture's channels.
    """
    maps = [condition for condition in conditions if isinstance(condition, Grid)]
    if not maps:
        return None
    full = complete_batch(c, tuple(maps), n, device)
    parts = []
    for values, present in full.values():
        mask = present[:, None, None, None].to(values.dtype)
        resized = nn.functional.interpolate(values, size=size, mode="nearest")
        parts += [resized * mask, mask.expand(n, 1, *size)]
    return torch.cat(parts, dim=1)


def grid_channels(conditions: Conditions) -> int:
    """How many channels `grids` returns."""
    return sum(c.shape[0] + 1 for c in conditions if isinstance(c, Grid))
