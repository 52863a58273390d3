"""Spaces: the kind and shape of the tensors a domain presents and a family learns.

| Space | tensor | a family's `log_prob` is |
|---|---|---|
| `Continuous` | (n, *shape) float32 | log density, or log mass of a cell where `step` is stated |
| `Categorical` | (n, *shape) int64 in [0, categories) | log mass |
| `Sequence` | (n, length) int64: tokens, `end`, `pad` | log mass with `end`, without padding |
| `Mixed` | (n, columns) float32, NaN where a value is missing | log mass of the row's cell |
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.errors import DataError, must

MOST_ONE_HOT = 4096  # numbers, up to which a sequence is one-hot as numbers
BUCKETS, RUN, HASH = 1024, 3, 0x9E3779B1  # of longer ones: Knuth's multiplicative hash


@dataclass(frozen=True, kw_only=True)
class Continuous:
    """Real tensors of one shape.

    Args:
        shape: of one example; pictures are (channels, height, width).
        low, high: the range of the values, or None where there is none.
        step: the width of a cell where the values are counted in steps (8-bit levels: 2/255 on
            [-1, 1]); values then stand at `low + k * step`, and `log_prob` is a log mass.
    """

    kind: ClassVar[str] = "continuous"
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    step: float | None = None

    @property
    def dimensions(self) -> int:
        """How many numbers one example has."""
        return math.prod(self.shape)

    @property
    def levels(self) -> int | None:
        """How many values a number may have, where the Space is counted in steps."""
        if self.step is None or self.low is None or self.high is None:
            return None
        return round((self.high - self.low) / self.step) + 1

    def check(self, x: Tensor) -> None:
        """Raise DataError unless x is of this Space."""
        _check(x, self.shape, torch.float32)
        if not torch.isfinite(x).all():
            raise DataError(must("a continuous example", "finite", "NaN or infinity"))
        if self.low is not None and bool((x < self.low - 1e-6).any()):
            raise DataError(must("values", f"at least {self.low:g}", float(x.min())))
        if self.high is not None and bool((x > self.high + 1e-6).any()):
            raise DataError(must("values", f"at most {self.high:g}", float(x.max())))

    def quantise(self, x: Tensor) -> Tensor:
        """The nearest value of this Space: clamped to the range, on the grid of steps if any."""
        if self.low is not None or self.high is not None:
            x = x.clamp(self.low, self.high)
        if self.step is not None:
            origin = self.low or 0.0
            x = ((x - origin) / self.step).round_().mul_(self.step).add_(origin)
        return x

    def flat(self, x: Tensor) -> Tensor:
        """(n, d) float32 features that any classical method can read."""
        return x.reshape(x.shape[0], -1).float()  # (n, *shape) -> (n, d)


@dataclass(frozen=True, kw_only=True)
class Categorical:
    """Tensors of one shape whose entries are classes, such as pixel levels."""

    kind: ClassVar[str] = "categorical"
    shape: tuple[int, ...]
    categories: int

    @property
    def dimensions(self) -> int:
        """How many entries one example has."""
        return math.prod(self.shape)

    def check(self, x: Tensor) -> None:
        """Raise DataError unless x is of this Space."""
        _check(x, self.shape, torch.int64)
        _check_range(x, self.categories)

    def flat(self, x: Tensor) -> Tensor:
        """(n, d * categories) float32, one-hot."""
        return F.one_hot(x.reshape(x.shape[0], -1), self.categories).flatten(1).float()


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Sequences of tokens up to a length, closed by `end` and filled with `pad`.

    Args:
        length: the most tokens of one example; those of a long text may end without `end`.
        tokens: how many there are, `end` and `pad` among them.
        end, pad: their numbers.
        packed: whether a row to train on may hold several sequences after one another, each
            closed by `end`: a window of a stream. Rows to judge hold one all the same.
        unknown: the token for what has no token of its own, or None. It is read, and scored as
            any other, so it takes its share of a likelihood; but it is never drawn: at each place
            the other tokens are drawn as if it could not be. Spaces that differ in it alone are
            equal, for they hold the same rows.
        over: tokens besides `end` with which a row that is drawn from left to right is over: in
            dialogues, those of who speaks next. Spaces that differ in them alone are equal.
        closes: whether nothing behind an `end` knows of what stands before it, as in texts that
            are packed here. In a checkpoint from elsewhere it may part the turns of one text.
    """

    kind: ClassVar[str] = "sequence"
    length: int
    tokens: int
    end: int
    pad: int
    packed: bool = False
    unknown: int | None = field(default=None, compare=False)
    over: tuple[int, ...] = field(default=(), compare=False)
    closes: bool = field(default=True, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (self.length,)

    @property
    def dimensions(self) -> int:
        """How many places one example has."""
        return self.length

    def check(self, x: Tensor) -> None:
        """Raise DataError unless x is of this Space: nothing but padding after the end."""
        _check(x, self.shape, torch.int64)
        _check_range(x, self.tokens)
        if bool((~self.mask(x) & (x != self.pad)).any()):
            raise DataError("a sequence must hold nothing but padding after its end token.")

    def mask(self, x: Tensor) -> Tensor:
        """(n, length) bool: the places that count, the end token among them."""
        if self.packed:
            return x != self.pad
        over = (x == self.end) | (x == self.pad)
        overs = over.long().cumsum(dim=1)
        return (overs == 0) | ((overs == 1) & (x == self.end))

    def flat(self, x: Tensor) -> Tensor:
        """(n, d) float32: one-hot where that is small, else which runs of tokens there are.

        Long texts are alike if they hold the same runs, wherever these stand: the square roots of
        the counts of runs of 1 to 3 tokens, hashed into `BUCKETS` (Weinberger et al., 2009), as
        vectors of length 1.
        """
        if self.length * self.tokens <= MOST_ONE_HOT:
            return F.one_hot(x, self.tokens).flatten(1).float()
        counted = self.mask(x)
        counts = x.new_zeros(len(x), BUCKETS, dtype=torch.float32)
        key, ones = x, counted
        for order in range(RUN):
            if order:
                key = key[:, :-1] * HASH + x[:, order:] + order
                ones = ones[:, :-1] & counted[:, order:]
            bucket = (key * HASH >> 20) % BUCKETS
            counts.scatter_add_(1, bucket, ones.float())
        return F.normalize(counts.sqrt(), dim=1)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Args:
        name: as the user knows it.
        kind: "number", "category" or "date" (a date is centred and scaled to a number).
        categories: how many, for a category; its values are 0 .. categories - 1.
        low, high, step: range and cell width of a number, where known.
        atoms: values that a number takes with positive probability (0 in "hours overtime").
        missing: whether values may be missing (NaN).
    """

    name: str
    kind: Literal["number", "category", "date"] = "number"
    categories: int | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    atoms: tuple[float, ...] = ()
    missing: bool = False


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Rows of a table: numbers, categories and dates side by side, NaN where missing."""

    kind: ClassVar[str] = "mixed"
    columns: tuple[Column, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return (len(self.columns),)

    @property
    def dimensions(self) -> int:
        """How many columns a row has."""
        return len(self.columns)

    def check(self, x: Tensor) -> None:
        """Raise DataError, naming the column, unless x is of this Space."""
        _check(x, self.shape, torch.float32)
        for column, values in zip(self.columns, x.unbind(dim=1), strict=True):
            known = values[~values.isnan()]
            if not column.missing and len(known) < len(values):
                raise DataError(must(f"column {column.name!r}", "complete", "a missing value"))
            if not torch.isfinite(known).all():
                raise DataError(must(f"column {column.name!r}", "finite", "infinity"))
            if column.kind == "category":
                if bool((known != known.round()).any()):
                    raise DataError(must(f"column {column.name!r}", "whole codes", known))
                _check_range(known.long(), column.categories or 0, f"column {column.name!r}")

    def flat(self, x: Tensor) -> Tensor:
        """(n, d) float32: numbers as they are, categories one-hot, a flag where missing."""
        parts = []
        for column, values in zip(self.columns, x.unbind(dim=1), strict=True):
            gap = values.isnan()
            filled = values.nan_to_num(0.0)
            if column.kind == "category":
                one_hot = F.one_hot(filled.long(), column.categories or 1)
                parts.append(one_hot.float() * ~gap[:, None])
            else:
                parts.append(filled[:, None])
            if column.missing:
                parts.append(gap.float()[:, None])
        return torch.cat(parts, dim=1)


Space: TypeAlias = Continuous | Categorical | Sequence | Mixed
KINDS: dict[str, type[Space]] = {
    space.kind: space for space in (Continuous, Categorical, Sequence, Mixed)
}


def space_to_json(space: Space) -> dict[str, Any]:
    """A Space as plain data."""
    return {"kind": space.kind, **asdict(space)}


def space_from_json(data: dict[str, Any]) -> Space:
    """A Space out of plain data.

    Example:
        >>> space = Continuous(shape=(1, 8, 8), low=-1.0, high=1.0, step=0.125)
        >>> space_from_json(space_to_json(space)) == space
        True
    """
    values = {key: value for key, value in data.items() if key != "kind"}
    if data["kind"] == "mixed":
        columns = [{**c, "atoms": tuple(c["atoms"])} for c in values["columns"]]
        return Mixed(columns=tuple(Column(**c) for c in columns))
    for name in ("shape", "over"):
        if name in values:
            values[name] = tuple(values[name])
    return KINDS[data["kind"]](**values)


def _check(x: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(x.shape[1:]) != shape:
        raise DataError(must("an example", f"of shape {shape}", tuple(x.shape[1:])))
    if x.dtype != dtype:
        raise DataError(must("the examples", f"{dtype}", x.dtype))


def _check_range(x: Tensor, count: int, what: str = "a class") -> None:
    if x.numel() and (int(x.min()) < 0 or int(x.max()) >= count):
        raise DataError(must(what, f"in 0..{count - 1}", (int(x.min()), int(x.max()))))
