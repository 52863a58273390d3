"""Parzen windows: a record with a little noise, and the exact log mass of every outcome.

Parzen, "On estimation of a probability density function and mode", 1962. Shapes: n rows x, m
records r, d columns (or places).
"""

import math

import torch
from torch import Tensor

from likewise.core.rng import Draws
from likewise.core.space import Sequence
from likewise.nn.cells import draw_normal, log_interval, log_normal_cell, on_grid
from likewise.nn.columns import Columns

STEPS = (0.3, 8.0)  # least and most bandwidth, in steps where there are any
REACH = 6.0  # bandwidths, beyond which a draw of 23 bits never falls


class ColumnWindow:
    """Each column on its own: kinds are drawn anew with chance `noise`, numbers move a little.

    A number moves by a normal of `bandwidth` deviations, cut off at the range; where it is
    counted in steps, by whole steps whose masses are in proportion to that normal. Where a record
    has no number, one is drawn from the normal of its column.

    Args:
        columns: of the Space.
        mean, deviation: (d,) of each column's numbers.
        noise: chance that a kind is drawn anew, evenly among all.
        bandwidth: in deviations, but at least and at most `STEPS` of a step.
    """

    def __init__(
        self, columns: Columns, mean: Tensor, deviation: Tensor, *, noise: float, bandwidth: float
    ) -> None:
        self.columns, self.mean, self.deviation, self.noise = columns, mean, deviation, noise
        self.low, self.high, self.step, self.origin = columns.ranges(mean.device)
        least, most = (bound * self.step for bound in STEPS)
        within = torch.minimum(torch.maximum(bandwidth * deviation, least), most)
        self.scale = torch.where(self.step > 0, within, bandwidth * deviation)
        reach = (REACH * self.scale / self.step).nan_to_num(posinf=0.0).max()
        self.reach = math.ceil(float(reach))

    def log_pairs(self, x: Tensor, r: Tensor) -> Tensor:
        """(n, m) log mass (or density) of each x in the window of each r."""
        kind, value = self.columns.split(x)
        known, place = self.columns.split(r)
        total = self._log_kinds(kind, known)
        if self.columns.number.any():
            free, there = self.columns.free(kind).double(), self.columns.free(known).double()
            total = total + self._log_numbers(value, free, place, there)
        return total

    def draw(self, r: Tensor, rng: Draws) -> Tensor:
        """One outcome for each record."""
        known, place = self.columns.split(r)
        kinds, kind = self.columns.kinds.to(known.device), known
        if bool((kinds > 1).any()):
            anew = rng.uniform(*known.shape).to(known.device) < self.noise
            other = (rng.uniform(*known.shape).to(known.device).double() * kinds).long()
            kind = torch.where(anew, other, known)
        value = torch.zeros_like(place)
        if self.columns.number.any():
            uniform = rng.uniform(*known.shape).to(place)
            value = torch.where(
                self.columns.free(known), self._near(place, uniform), self._fresh(uniform)
            )
        return self.columns.join(kind, torch.where(self.columns.free(kind), value, 0.0))

    def _log_kinds(self, kind: Tensor, known: Tensor) -> Tensor:
        total = torch.zeros(len(kind), len(known), dtype=torch.float64, device=kind.device)
        for kinds in self.columns.kinds.unique().tolist():
            if kinds > 1:
                mine = (self.columns.kinds == kinds).to(kind.device)
                # cdist with p = 0 counts the places that differ
                other = torch.cdist(kind[:, mine].float(), known[:, mine].float(), p=0).double()
                changed = math.log(self.noise / kinds)
                kept = math.log(1 - self.noise + self.noise / kinds)
                total += other * changed + (int(mine.sum()) - other) * kept
        return total

    def _log_numbers(self, value: Tensor, free: Tensor, place: Tensor, there: Tensor) -> Tensor:
        """(n, m): sums over columns as products of matrices; `free`, `there` are 0 or 1."""
        a = free * (value - self.mean) / self.scale
        b = there * (place - self.mean) / self.scale
        squares = a.square() @ there.T - 2 * a @ b.T + free @ b.square().T
        near = -0.5 * squares.clamp(min=0) - free @ (there * self._log_size(place)).T
        if bool(there.all()):
            return near
        fresh = log_normal_cell(value, self.mean, self.deviation, self.low, self.high, self.step)
        return near + (free * fresh) @ (1 - there).T

    def _log_size(self, place: Tensor) -> Tensor:
        """(m, d) log of the window's sum over all outcomes, or of its integral."""
        size = torch.zeros_like(place)
        for offset in range(-self.reach, self.reach + 1):
            size = size + self._outcome(place, offset)
        inside = log_interval((self.low - place) / self.scale, (self.high - place) / self.scale)
        whole = self.scale.log() + 0.5 * math.log(2 * math.pi) + inside
        return torch.where(self.step > 0, size.log(), whole)

    def _outcome(self, place: Tensor, offset: int) -> Tensor:
        """(m, d) the window's value so many steps off, 0 outside the range."""
        away = offset * self.step
        slack = self.step / 4
        there = (place + away > self.low - slack) & (place + away < self.high + slack)
        return torch.exp(-0.5 * (away / self.scale).square()) * there

    def _near(self, place: Tensor, uniform: Tensor) -> Tensor:
        """Numbers moved within their window, by the inverse of its distribution."""
        target = uniform * self._log_size(place).exp()
        passed, below = torch.zeros_like(place), torch.zeros_like(place)
        for offset in range(-self.reach, self.reach + 1):
            below = below + self._outcome(place, offset)
            passed += below < target
        steps = on_grid(
            place + (passed - self.reach) * self.step, self.low, self.high, self.step, self.origin
        )
        smooth = draw_normal(uniform, place, self.scale, self.low, self.high, self.step)
        return torch.where(self.step > 0, steps, smooth)

    def _fresh(self, uniform: Tensor) -> Tensor:
        """Numbers from the normal of each column."""
        value = draw_normal(uniform, self.mean, self.deviation, self.low, self.high, self.step)
        return on_grid(value, self.low, self.high, self.step, self.origin)


class SequenceWindow:
    """Tokens and the length are drawn anew with chance `noise`; longer than the record is uniform.

    So is whether a sequence is closed by its end, if some record shorter than t is not.

    Args:
        space: of t places.
        records: all of them (m, t), to see whether one is left open.
        noise: chance that a token, the length or the closing is drawn anew.
    """

    def __init__(self, space: Sequence, records: Tensor, noise: float) -> None:
        self.space, self.noise = space, noise
        tokens = torch.arange(space.tokens, device=records.device)
        self.free = tokens[(tokens != space.end) & (tokens != space.pad)]
        self.unknown = -1 if space.unknown is None else space.unknown  # scored, and never drawn
        self.drawn = self.free[self.free != self.unknown]
        short = self._length(records) < space.length
        self.open = bool((short & ~self._closed(records)).any())

    def log_pairs(self, x: Tensor, r: Tensor) -> Tensor:
        """(n, m) log mass of each x in the window of each r."""
        places, count = self.space.length, max(1, len(self.free))
        # cdist with p = 0 counts the places that differ; the fillings never agree
        body, known = self._body(x, -1), self._body(r, -2)
        same = places - torch.cdist(body.float(), known.float(), p=0).double()
        mine, other = self._length(x)[:, None], self._length(r)[None]
        anew = math.log(self.noise / count)
        kept = math.log(1 - self.noise + self.noise / count)
        tokens = same * kept + (torch.minimum(mine, other) - same) * anew
        tokens = tokens - (mine - other).clamp(min=0) * math.log(count)
        lengths = torch.where(
            mine == other,
            math.log(1 - self.noise + self.noise / (places + 1)),
            math.log(self.noise / (places + 1)),
        )
        possible = torch.isin(body, torch.cat([self.free, self.free.new_tensor([-1])])).all(dim=1)
        known = torch.where(possible[:, None], tokens + lengths, -torch.inf)
        return known + torch.where(mine < places, self._log_closing(x, r), 0.0)

    def _log_closing(self, x: Tensor, r: Tensor) -> Tensor:
        """(n, m) log chance that x is closed, or left open, as it is."""
        mine = self._closed(x)[:, None]
        if not self.open:
            return torch.where(mine, 0.0, -torch.inf).double()
        same = mine == self._closed(r)[None]
        return torch.where(same, math.log(1 - self.noise / 2), math.log(self.noise / 2)).double()

    def draw(self, r: Tensor, rng: Draws) -> Tensor:
        """One outcome for each record."""
        n, places = r.shape
        length = self._length(r)
        choice = rng.uniform(n, 2).to(r.device).double()
        other = (choice[:, 1] * (places + 1)).long()
        length_now = torch.where(choice[:, 0] < self.noise, other, length)
        anew = (rng.uniform(n, places).to(r.device) < self.noise) | (r == self.unknown)
        point = rng.uniform(n, places).to(r.device).double()
        token = self.drawn[(point * len(self.drawn)).long()]
        at = torch.arange(places, device=r.device)
        x = torch.where(anew | (at >= length[:, None]), token, r)
        closed = torch.ones_like(length, dtype=torch.bool)
        if self.open:  # a record of full length says nothing of an end
            other = rng.uniform(n).to(r.device) < self.noise / 2
            closed = self._closed(r) ^ other
        last = torch.where(closed, self.space.end, self.space.pad)
        x = torch.where(at == length_now[:, None], last[:, None], x)
        return torch.where(at > length_now[:, None], self.space.pad, x)

    def _length(self, x: Tensor) -> Tensor:
        """(n,) how many tokens stand before the end, or before the padding."""
        return self._before(x).sum(dim=1)

    def _closed(self, x: Tensor) -> Tensor:
        """(n,) bool: whether there is an end."""
        return (x == self.space.end).any(dim=1)

    def _before(self, x: Tensor) -> Tensor:
        """(n, t) bool: the places before the end or the padding."""
        over = (x == self.space.end) | (x == self.space.pad)
        return over.long().cumsum(dim=1) == 0

    def _body(self, x: Tensor, filling: int) -> Tensor:
        """(n, t): x with a filling from its end on."""
        return torch.where(self._before(x), x, filling)
