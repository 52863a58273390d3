"""Conditions: what generation can be steered by.

A batch carries `c = {name: (tensor, present)}`: the values (n, ...) and a bool (n,) that says for
which examples the condition is known. Absent is a value of its own, so one model learns both
p(x | c) and p(x), and guidance can compare them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from likewise.core.errors import UsageError, nearest
from likewise.core.rng import Draws

Batch: TypeAlias = Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """One of a few names: (n,) int64."""

    kind: ClassVar[str] = "labels"
    name: str = "label"
    names: tuple[str, ...] = ()

    def empty(self, n: int) -> Tensor:
        """Values that stand in where the condition is absent."""
        return torch.zeros(n, dtype=torch.int64)

    def index(self, value: object) -> int:
        """The number of a label given by name or number; UsageError names the nearest."""
        if str(value) not in self.names:
            raise UsageError(
                f"{self.name} {value!r} is not in the training data; "
                f"{nearest(str(value), self.names)}."
            )
        return self.names.index(str(value))


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A text, as tokens: (n, up to length) int64, filled up with `pad` where one is given.

    A family of sequences takes it as what stands before x.
    """

    kind: ClassVar[str] = "tokens"
    name: str = "text"
    length: int
    tokens: int
    pad: int | None = None

    def empty(self, n: int) -> Tensor:
        """Values that stand in where the condition is absent."""
        return torch.zeros(n, self.length, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A map or a small image: (n, channels, height, width) float32."""

    kind: ClassVar[str] = "grid"
    name: str = "map"
    shape: tuple[int, int, int]

    def empty(self, n: int) -> Tensor:
        """Values that stand in where the condition is absent."""
        return torch.zeros(n, *self.shape)


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A few numbers, such as properties: (n, size) float32."""

    kind: ClassVar[str] = "vector"
    name: str = "properties"
    names: tuple[str, ...] = ()

    def empty(self, n: int) -> Tensor:
        """Values that stand in where the condition is absent."""
        return torch.zeros(n, len(self.names))


Condition: TypeAlias = Labels | Tokens | Grid | Vector
Conditions: TypeAlias = tuple[Condition, ...]
KINDS: dict[str, type[Condition]] = {c.kind: c for c in (Labels, Tokens, Grid, Vector)}


def condition_to_json(condition: Condition) -> dict[str, Any]:
    """A Condition as plain data."""
    return {"kind": condition.kind, **asdict(condition)}


def condition_from_json(data: dict[str, Any]) -> Condition:
    """A Condition out of plain data.

    Example:
        >>> condition_from_json(condition_to_json(Labels(names=("a", "b"))))
        Labels(name='label', names=('a', 'b'))
    """
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
        if key != "kind"
    }
    return KINDS[data["kind"]](**values)


def complete_batch(
    c: Batch | None, conditions: Conditions, n: int, device: torch.device
) -> dict[str, tuple[Tensor, Tensor]]:
    """Every condition of `conditions`, absent where `c` does not have it.

    A family calls this first, so that the rest of its code has no special cases.
    """
    full = {}
    for condition in conditions:
        if c and condition.name in c:
            values, present = c[condition.name]
        else:
            values, present = condition.empty(n), torch.zeros(n, dtype=torch.bool)
        full[condition.name] = (values.to(device), present.to(device))
    return full


def take(c: Batch, rows: Tensor | slice) -> dict[str, tuple[Tensor, Tensor]]:
    """Some rows of a batch of conditions."""
    return {name: (values[rows], present[rows]) for name, (values, present) in c.items()}


def drop(c: Batch, share: float, rng: Draws) -> dict[str, tuple[Tensor, Tensor]]:
    """Make conditions absent for a random share of the rows (classifier-free guidance).

    Ho and Salimans, "Classifier-free diffusion guidance", 2022: one model learns p(x | c), p(x).
    """
    dropped = {}
    for name, (values, present) in c.items():
        keep = rng.uniform(len(present)).to(present.device) >= share
        dropped[name] = (values, present & keep)
    return dropped
