"""A Parzen window on the training records: the control that copies, and must be caught.

Parzen, "On estimation of a probability density function and mode", 1962, with a window so narrow
that nearly every sample is a training record. Each entry goes through a small noise channel of
its own, whose exact mass or density is known:

* a number moves by a normal of `bandwidth` column deviations, cut off at the range; where it is
  counted in steps, the same over the cells, so that it stays or moves by a level or two;
* a class, a token, or whether a value is missing is drawn anew with chance `noise`;
* so is the length of a sequence; places that its record does not have are uniform.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, cast, final

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels
from likewise.core.config import setting
from likewise.core.contract import Batches, Claims, Controls, Family, Size
from likewise.core.errors import DataError, UsageError, must
from likewise.core.rng import Draws
from likewise.core.space import Categorical, Continuous, Mixed, Sequence, Space
from likewise.nn.columns import Columns, Moments
from likewise.nn.labels import codes, distinct, matches
from likewise.nn.stored import Stored
from likewise.nn.windows import ColumnWindow, SequenceWindow

ROWS = 4096  # scored at once
NUMBERS = 2**22  # of records or of pairs, held in memory at once


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `Copier`."""

    bandwidth: float = setting(
        0.01, "of the window, in deviations of a number", low=1e-6, high=10.0, scale="log"
    )
    noise: float = setting(
        1e-3, "chance that a class is drawn anew", low=1e-6, high=0.99, scale="log"
    )


Settings: TypeAlias = Config  # the class below has an attribute of that name


@final
class Copier(Family[Config]):
    """Training records with a little noise, over every Space.

    With Labels it copies a record of that label; a label never met stands for any.

    Example:
        >>> model = Copier(Config(), Categorical(shape=(2,), categories=3))
        >>> passes = list(model.learn([(torch.tensor([[0, 2]]), {})], rng=Draws(0)))
        >>> model.sample(2, rng=Draws(0)).tolist()
        [[0, 2], [0, 2]]
    """

    claims: ClassVar[Claims] = Claims(
        density=dict.fromkeys((Continuous, Categorical, Sequence, Mixed), "exact"),
        conditions=(Labels,),
        role="control",
        learning="counting",
    )
    Config = Config

    def __init__(self, config: Settings, space: Space, conditions: Conditions = ()) -> None:
        super().__init__(config, space, conditions)
        labels = sum(isinstance(condition, Labels) for condition in conditions)
        self.learned = Stored(
            records=torch.zeros(0, space.dimensions, dtype=_storage(space)),
            labels=torch.zeros(0, labels, dtype=torch.int64),
            mean=torch.zeros(0, dtype=torch.float64),
            deviation=torch.zeros(0, dtype=torch.float64),
        )
        self.columns = None if isinstance(space, Sequence) else Columns(space)

    @classmethod
    def preset(cls, size: Size, space: Space, conditions: Conditions) -> Settings:
        """The same at every size."""
        return Config()

    def learn(self, batches: Batches, *, rng: Draws) -> Iterator[float]:
        """Stores the records in one pass; yields -log(1/n times a record's own window), averaged.

        Raises:
            DataError: there is no record.
        """
        records, labels = [], []
        for x, c in batches:
            records.append(self._pack(x.to(self.device)))
            labels.append(codes(c, self.conditions, len(x), self.device))
        if not records:
            raise DataError(must("the number of training examples", "at least 1", 0))
        self.learned.put(records=torch.cat(records), labels=torch.cat(labels))
        if self.columns is not None:
            mean, deviation = self._moments(self.columns)
            self.learned.put(mean=mean, deviation=deviation)
        yield math.log(len(self.learned["records"])) - self._own()

    @torch.no_grad()
    def sample(
        self, n: int, c: Batch | None = None, *, rng: Draws, controls: Controls = Controls()
    ) -> Tensor:
        """(n, ...) of the Space: a record of the label each, and its noise."""
        window = self._window()
        fits, which = self._fits(c, n)
        point, record = rng.uniform(n).to(self.device).double(), torch.zeros_like(which)
        for i, fit in enumerate(fits):
            candidates, mine = torch.nonzero(fit)[:, 0], which == i
            record[mine] = candidates[(point[mine] * len(candidates)).long()]
        return window.draw(self._unpack(self.learned["records"][record]), rng)

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, c: Batch | None = None, *, rng: Draws | None = None, draws: int = 1
    ) -> Tensor:
        """(n,) nats, exact: the mean of all windows (of the label's records)."""
        fits, which = self._fits(c, len(x))
        parts = zip(x.split(ROWS), which.split(ROWS), strict=True)
        return torch.cat([self._scored(part.to(self.device), fits[i]) for part, i in parts])

    def _scored(self, x: Tensor, fits: Tensor) -> Tensor:
        """(n,) for rows x that may come from the records `fits` (n, m) says."""
        window, records = self._window(), self.learned["records"]
        size = max(1, NUMBERS // max(len(x), records.shape[1]))
        total = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=self.device)
        for part, fit in zip(records.split(size), fits.split(size, dim=1), strict=True):
            pairs = torch.where(fit, window.log_pairs(x, self._unpack(part)), -torch.inf)
            total = torch.logaddexp(total, pairs.logsumexp(dim=1))
        return (total - fits.sum(dim=1).log()).float()

    def _fits(self, c: Batch | None, n: int) -> tuple[Tensor, Tensor]:
        """(u, m) bool: which records each question asks for, and (n,) which question is whose."""
        asked, which = distinct(codes(c, self.conditions, n, self.device))
        return matches(asked, self.learned["labels"]), which

    def _window(self) -> ColumnWindow | SequenceWindow:
        records = self.learned["records"]
        if len(records) == 0:
            raise UsageError(
                "this copier has learned nothing yet; call learn, or load its weights."
            )
        if isinstance(self.space, Sequence):
            return SequenceWindow(self.space, self._unpack(records), self.config.noise)
        mean, deviation = self.learned["mean"], self.learned["deviation"]
        columns = cast(Columns, self.columns)
        return ColumnWindow(
            columns, mean, deviation, noise=self.config.noise, bandwidth=self.config.bandwidth
        )

    def _moments(self, columns: Columns) -> tuple[Tensor, Tensor]:
        moments = Moments()
        for part in self._chunks():
            kind, value = columns.split(part)
            moments.add(columns.free(kind), value)
        return moments.result(columns)

    def _own(self) -> float:
        """The mean log window of a record at itself."""
        window = self._window()
        own = [
            window.log_pairs(x, x).diagonal() for part in self._chunks() for x in part.split(32)
        ]
        return float(torch.cat(own).mean())

    def _chunks(self) -> Iterator[Tensor]:
        records = self.learned["records"]
        for part in records.split(max(1, NUMBERS // records.shape[1])):
            yield self._unpack(part)

    def _pack(self, x: Tensor) -> Tensor:
        """(n, d) in the smallest type that holds every value of the Space."""
        space, flat = self.space, x.reshape(len(x), -1)  # (n, *shape) -> (n, d)
        if isinstance(space, Continuous) and not _storage(space).is_floating_point:
            flat = ((flat - (space.low or 0.0)) / (space.step or 1.0)).round()
        return flat.to(_storage(space))

    def _unpack(self, records: Tensor) -> Tensor:
        """(n, *shape) of the Space; the inverse of `_pack`."""
        space, whole = self.space, not _storage(self.space).is_floating_point
        if isinstance(space, Continuous):
            if whole:
                records = records.float() * (space.step or 1.0) + (space.low or 0.0)
            return space.quantise(records.reshape(-1, *space.shape))
        return (records.long() if whole else records).reshape(-1, *space.shape)


def _storage(space: Space) -> torch.dtype:
    """The type of stored records: bytes for pictures of 8 bits."""
    if isinstance(space, Mixed):
        return torch.float32
    if isinstance(space, Continuous):
        count, other = space.levels or 2**31, torch.float32
    else:
        count = space.tokens if isinstance(space, Sequence) else space.categories
        other = torch.int64
    return torch.uint8 if count <= 2**8 else torch.int16 if count <= 2**15 else other
