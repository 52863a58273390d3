"""Two families as one: the codes of the first are the data of the second.

`vae+diffusion` (Rombach et al., "High-resolution image synthesis with latent diffusion models",
2022) and `vqvae+transformer` (van den Oord et al., 2017) are chains. Each stage is trained,
shown and scored on its own; the chain samples with the second and decodes with the first.
"""

from typing import Any

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions
from likewise.core.contract import Claims, Controls, Family, Size, Source
from likewise.core.errors import UsageError
from likewise.core.rng import Draws
from likewise.core.space import Space


class Chain(Family[None]):
    """A first family with codes and a second family over those codes, both trained.

    Args:
        first: claims `latent`; learned the data.
        second: learned `first.code_space`.
    """

    claims = Claims(density={}, latent=True, controls=frozenset(Controls().__dict__))
    Config = type(None)

    def __init__(self, first: Family[Any], second: Family[Any]) -> None:
        super().__init__(None, first.space, second.conditions)
        self.first = first
        self.second = second

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> None:
        """A chain has no Config of its own; its stages have."""
        return

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, ...) examples of the first family's Space."""
        codes = self.second.sample(n, c, rng=rng, controls=controls)
        return self.first.decode(codes, c)

    def encode(self, x: Tensor, c: Batch | None = None) -> Tensor:
        """The first family's codes."""
        return self.first.encode(x, c)

    def decode(self, z: Tensor, c: Batch | None = None) -> Tensor:
        """Examples out of the first family's codes."""
        return self.first.decode(z, c)

    @property
    def code_space(self) -> Space:
        """What the codes are."""
        return self.first.code_space


class Codes:
    """A source of the codes that a trained family gives to the examples of another source."""

    def __init__(self, source: Source, family: Family[Any]) -> None:
        if not family.claims.latent:
            raise UsageError(
                f"{type(family).__name__.lower()} has no codes, so it cannot come first in a "
                f"chain; choose a family with a latent, such as vae."
            )
        self.source = source
        self.family = family
        self.space = family.code_space
        self.conditions = source.conditions

    def __len__(self) -> int:
        return len(self.source)

    @torch.no_grad()
    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        """Codes (b, ...) by number of the example."""
        x, c = self.source.batch(index, rng)
        return self.family.encode(x.to(self.family.device), c), c
