"""What an audit works on: the real records of a run, which all families share, and what one made.

All examples are of the Space that measures read.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from likewise.core.rng import fold, generator
from likewise.evaluation.features import FeatureSet
from likewise.evaluation.groups import Group
from likewise.measures.nearest import nearest

ASKED = 1000
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The real records of a run, and what depends on nothing else: worked out once for a run.

    Attributes:
        train: (m, ...) what the families were trained on.
        valid, test: (k, ...) records that they never saw.
        features: the feature nets of the run.
        label: what the families are steered by, and how it is read, or None.
        groups: further columns of the data that are not part of the records themselves.
        seed: of the controls.
        by_place: whether the parts are different places of few long records, such as one text.
    """

    train: Tensor
    valid: Tensor
    test: Tensor
    features: FeatureSet
    label: Group | None = None
    groups: tuple[Group, ...] = ()
    seed: int = 0
    by_place: bool = False
    _known: dict[Hashable, Any] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make` gives, made at the first call with this key."""
        if key not in self._known:
            self._known[key] = make()
        found: Value = self._known[key]
        return found

    @cached_property
    def held_out(self) -> Tensor:
        """Records that were never trained on: valid, then test."""
        return torch.cat([self.valid, self.test])

    @cached_property
    def flat_train(self) -> Tensor:
        """(m, d)."""
        return self.features.space.flat(self.train)

    @cached_property
    def flat_held_out(self) -> Tensor:
        """(k, d)."""
        return self.features.space.flat(self.held_out)

    @cached_property
    def held_out_to_train(self) -> Tensor:
        """The distance from each held-out record to the nearest of train: (k,) float64."""
        return nearest(self.flat_held_out, self.flat_train)[0][:, 0]

    @cached_property
    def held_out_to_held_out(self) -> Tensor:
        """The distance from each held-out record to the nearest other one: (k,) float64."""
        return nearest(self.flat_held_out, self.flat_held_out, exclude_self=True)[0][:, 0]

    @cached_property
    def asked(self) -> Tensor:
        """Rows of train that stand for all of them, in random order: (at most `ASKED`,) int64."""
        order = torch.randperm(len(self.train), generator=self.draw("asked"))
        return order[:ASKED]

    @cached_property
    def asked_to_held_out(self) -> Tensor:
        """The distance from each of the `asked` records to the nearest held-out one, float64."""
        return nearest(self.flat_train[self.asked], self.flat_held_out)[0][:, 0]

    def draw(self, *words: object) -> torch.Generator:
        """A generator for one purpose."""
        return generator(fold(self.seed, "audit", *words))


class Losses(NamedTuple):
    """The log mass (or density) that a model gives to real records, in nats, (n,) each.

    Attributes:
        train: of some of the training records, chosen at random.
        valid, test: of some of those it never saw, with as many noise draws.
    """

    train: Tensor
    valid: Tensor
    test: Tensor


@dataclass(frozen=True, kw_only=True)
class Material:
    """What one family made, beside the real records.

    Attributes:
        samples: (n, ...) what the model made.
        reference: the real records.
        losses: what the model says of real records, or None if it has no density.
    """

    samples: Tensor
    reference: Reference
    losses: Losses | None = None

    @cached_property
    def to_train(self) -> tuple[Tensor, Tensor]:
        """The distance from each sample to the nearest of train, and its row: (n,) each."""
        distances, rows = nearest(self._flat, self.reference.flat_train)
        return distances[:, 0], rows[:, 0]

    @cached_property
    def to_held_out(self) -> Tensor:
        """The distance from each sample to the nearest held-out record: (n,) float64."""
        return nearest(self._flat, self.reference.flat_held_out)[0][:, 0]

    def untrained(self) -> "Material":
        """The test records as if they were samples, judged by the valid ones alone: made once."""
        real = self.reference
        return real.once(
            "untrained",
            lambda: Material(samples=real.test, reference=replace(real, test=real.test[:0])),
        )

    @property
    def _flat(self) -> Tensor:
        return self.reference.features.space.flat(self.samples)
