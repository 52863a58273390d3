"""Every Space but `Sequence` as columns: what kind an entry is, and its number where it has one.

A class is a kind without a number. A number is of kind 0; its atoms and "missing" are kinds of
their own. So a density over columns is a mass of kinds times a density of the numbers.
Where a number is counted in steps its cells have mass as they are, and atoms need no kinds.
"""

import math

import torch
from torch import Tensor

from likewise.core.space import Categorical, Column, Continuous, Mixed

NARROWEST = 1e-3


class Columns:
    """The columns of a Space.

    Args:
        space: of d columns.
        few: numbers of `Continuous` that have at most so many levels count as classes.

    Attributes:
        kinds: (d,) int64: how many kinds each column has.
        number: (d,) bool: whether kind 0 has a number.
        low, high, step, origin: (d,) float64, of the numbers; see `cells`. A step of 0 is none.

    Example:
        >>> age = Column(name="age", low=0.0, high=99.0, step=1.0, missing=True)
        >>> columns = Columns(Mixed(columns=(age,)))
        >>> kind, value = columns.split(torch.tensor([[7.0], [math.nan]]))
        >>> kind.tolist(), value.tolist()
        ([[0], [1]], [[7.0], [0.0]])
    """

    def __init__(self, space: Continuous | Categorical | Mixed, few: int = 0) -> None:
        self.space = space
        self.levels = isinstance(space, Continuous) and 0 < (space.levels or 0) <= few
        described = list(self._described())
        self.kinds = torch.tensor([kinds for kinds, *_ in described])
        self.number = torch.tensor([number for _, number, _ in described])
        ranges = torch.tensor([r for *_, r in described], dtype=torch.float64)
        self.low, self.high, self.step, self.origin = ranges.reshape(-1, 4).unbind(dim=1)

    def ranges(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """low, high, step, origin on a device."""
        low, high, step, origin = (
            t.to(device) for t in (self.low, self.high, self.step, self.origin)
        )
        return low, high, step, origin

    def free(self, kind: Tensor) -> Tensor:
        """(n, d) bool: where kinds (n, d) leave a number."""
        return (kind == 0) & self.number.to(kind.device)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (n, *shape) -> kinds (n, d) int64 and numbers (n, d) float64, 0 where none."""
        flat = x.reshape(len(x), -1)  # (n, *shape) -> (n, d)
        if isinstance(self.space, Categorical):
            return flat, torch.zeros(flat.shape, dtype=torch.float64, device=x.device)
        if isinstance(self.space, Mixed):
            pairs = [_split(c, v) for c, v in zip(self.space.columns, flat.T, strict=True)]
            return torch.stack([k for k, _ in pairs], 1), torch.stack([v for _, v in pairs], 1)
        if self.levels:
            level = (flat - (self.space.low or 0.0)) / (self.space.step or 1.0)
            return level.round().long(), torch.zeros_like(flat, dtype=torch.float64)
        return torch.zeros_like(flat, dtype=torch.int64), flat.double()

    def join(self, kind: Tensor, value: Tensor) -> Tensor:
        """Kinds and numbers (n, d) -> (n, *shape) of the Space; the inverse of `split`."""
        if isinstance(self.space, Categorical):
            return kind.reshape(-1, *self.space.shape)
        if isinstance(self.space, Mixed):
            pairs = zip(self.space.columns, kind.T, value.T, strict=True)
            return torch.stack([_join(c, k, v) for c, k, v in pairs], dim=1).float()
        if self.levels:
            value = kind * (self.space.step or 1.0) + (self.space.low or 0.0)
        return self.space.quantise(value.float().reshape(-1, *self.space.shape))

    def _described(self) -> list[tuple[int, bool, tuple[float, float, float, float]]]:
        space = self.space
        if isinstance(space, Mixed):
            return [
                (_kinds(c), c.kind != "category", _range(c.low, c.high, c.step))
                for c in space.columns
            ]
        if isinstance(space, Categorical):
            one = (space.categories, False, _range(None, None, None))
        elif self.levels:
            one = (space.levels or 1, False, _range(None, None, None))
        else:
            one = (1, True, _range(space.low, space.high, space.step))
        return [one] * space.dimensions


class Moments:
    """Means and deviations of the numbers of each column, a batch at a time."""

    def __init__(self) -> None:
        self.origin: Tensor | None = None  # numbers are summed from here, for precision
        self.sums: Tensor | None = None

    def add(self, free: Tensor, value: Tensor) -> None:
        """Numbers (n, d) float64 where `free` (n, d) bool says that there is one."""
        if self.origin is None or self.sums is None:
            self.origin = torch.where(free[0], value[0], 0.0)
            self.sums = value.new_zeros(3, value.shape[1])
        away = torch.where(free, value - self.origin, 0.0)
        self.sums += torch.stack([free.sum(0), away.sum(0), away.square().sum(0)])

    def result(self, columns: Columns) -> tuple[Tensor, Tensor]:
        """(d,) means and (d,) deviations, none of them below what the data can tell apart.

        That is a quarter of a step; else, of a column of a table a thousandth of its size, and
        of a vector or picture a thousandth of the widest deviation.
        """
        if self.origin is None or self.sums is None:
            raise ValueError("there must be at least one batch")
        n, first, second = self.sums
        away = first / n.clamp(min=1)
        deviation = (second / n.clamp(min=1) - away.square()).clamp(min=0).sqrt()
        mean, step = self.origin + away, columns.step.to(deviation)
        least = torch.full_like(deviation, NARROWEST * (float(deviation.max()) or 1.0))
        if isinstance(columns.space, Mixed):
            least = NARROWEST * mean.abs().clamp(min=1.0)
        return mean, torch.maximum(deviation, torch.where(step > 0, step / 4, least))


def _range(
    low: float | None, high: float | None, step: float | None
) -> tuple[float, float, float, float]:
    return (
        -math.inf if low is None else low,
        math.inf if high is None else high,
        step or 0.0,
        low or 0.0,
    )


def _atoms(column: Column) -> tuple[float, ...]:
    return () if column.step or column.kind == "category" else column.atoms


def _kinds(column: Column) -> int:
    known = (column.categories or 1) if column.kind == "category" else 1 + len(_atoms(column))
    return known + column.missing


def _split(column: Column, x: Tensor) -> tuple[Tensor, Tensor]:
    gap, filled = x.isnan(), x.nan_to_num(0.0)
    if column.kind == "category":
        kind, value = filled.long(), torch.zeros_like(filled)
    else:
        kind, value = torch.zeros_like(filled, dtype=torch.int64), filled
        for i, atom in enumerate(_atoms(column)):
            kind = torch.where(filled == torch.tensor(atom).to(filled), i + 1, kind)
        value = torch.where(kind == 0, value, 0.0)
    return torch.where(gap, _kinds(column) - 1, kind), value.double()


def _join(column: Column, kind: Tensor, value: Tensor) -> Tensor:
    if column.kind == "category":
        value = kind.to(value)
    for i, atom in enumerate(_atoms(column)):
        value = torch.where(kind == i + 1, atom, value)
    missing = kind == _kinds(column) - 1 if column.missing else torch.zeros_like(kind).bool()
    return torch.where(missing, math.nan, value)
