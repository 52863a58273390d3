"""Many Gaussians by two matrix products: all log densities, and all sums that EM needs.

A Gaussian's log density is linear in the features of a row, x_a x_b for a <= b, then x_a, then 1;
and weighted sums of these features are its sufficient statistics. So (k, p) coefficients times
(p, n) features are the log densities of n rows under k Gaussians, and (k, n) weights times (n, p)
features are the sums, with p = d (d + 1) / 2 + d + 1 (or 2 d + 1 without correlations). Each pair
is counted once, which is half the arithmetic of whitening a row by each Gaussian.

What it costs is rounding, which grows with the square of how much wider the rows are than a
Gaussian is. `rounding` tells it beforehand (rounding errors as random: Higham and Mary, "A new
approach to probabilistic rounding error analysis", 2019), so that a caller can do otherwise.
"""

import math

import torch
from torch import Tensor

from likewise.nn.gaussian import Statistics, log_volume

CACHE = 2**20
"""Bytes of features that are held at once, so that both products find them in cache."""


class Quadratic:
    """k Gaussians as coefficients, and the sums of features that are weighed by them.

    Args:
        mean: (k, d) float64.
        factor: (k, d) deviations or (k, d, d) lower Cholesky factors.
        log_share: (k,), added to the log densities.
    """

    def __init__(self, mean: Tensor, factor: Tensor, log_share: Tensor) -> None:
        d = mean.shape[1]
        self.factor, self.diagonal = factor, factor.dim() == 2
        self.log_share = log_share
        self.centre = log_share.softmax(dim=0) @ mean
        self.mean = mean - self.centre
        if self.diagonal:
            self.pairs = torch.arange(d, device=mean.device).repeat(2, 1)
        else:
            self.pairs = torch.triu_indices(d, d, device=mean.device)
        self.coefficients = self._coefficients()
        self.sums = torch.zeros_like(self.coefficients)
        self.coarsest = 0.0

    def rounding(self, x: Tensor | None = None) -> Tensor:
        """(k,) nats by which log densities are off, for each unit that 1 is rounded by.

        Args:
            x: (n, d), rows like those to be read; without them, the mixture's own draws.
        """
        if x is None:
            own = self.factor.square() if self.diagonal else self.factor.square().sum(dim=2)
            square = self.log_share.softmax(dim=0) @ (own + self.mean.square())
        else:
            parts = x.split(max(1, CACHE // (8 * x.shape[1])))
            sums = [(part - self.centre).square().sum(dim=0) for part in parts]
            square = torch.stack(sums).sum(dim=0) / len(x)
        terms = self.coefficients * self.features(square.sqrt()[:, None]).T  # (k, p)
        return terms.norm(dim=1)

    def features(self, columns: Tensor) -> Tensor:
        """(p, n) of rows that are given as columns (d, n), minus the centre."""
        d, squares = len(columns), self.pairs.shape[1]
        found = columns.new_empty(squares + d + 1, columns.shape[1])
        torch.index_select(columns, 0, self.pairs[0], out=found[:squares])
        found[:squares].mul_(columns.index_select(0, self.pairs[1]))
        found[squares:-1], found[-1] = columns, 1.0
        return found

    def read(self, x: Tensor, dtype: torch.dtype) -> float:
        """The summed log density of rows (n, d) under the mixture; their sums are added."""
        coefficients, total = self.coefficients.to(dtype), 0.0
        self.coarsest = max(self.coarsest, torch.finfo(dtype).eps)
        least = 0.5 * math.log(torch.finfo(dtype).tiny)  # no subnormals: they are slow
        for part in x.split(max(1, CACHE // (coefficients.shape[1] * dtype.itemsize))):
            columns = part.new_empty(part.shape[1], len(part), dtype=dtype)
            found = self.features(torch.sub(part.T, self.centre[:, None], out=columns))
            joint = coefficients @ found  # (k, n)
            most = joint.amax(dim=0)
            weight = joint.sub_(most).clamp_(min=least).exp_()
            shares = weight.sum(dim=0)
            weight /= shares
            self.sums += weight @ found.T
            total += float((most.double() + shares.log()).sum())
        return total

    def statistics(self) -> Statistics:
        """Of all rows that were read, about the means."""
        count, d = self.sums[:, -1], self.mean.shape[1]
        rounding = torch.full_like(count, self.coarsest)
        squares, first = self.sums[:, : -d - 1], self.sums[:, -d - 1 : -1]
        moved = first - count[:, None] * self.mean
        if self.diagonal:
            second = squares - self.mean * (first + moved)
            return Statistics(count, moved, second, rounding)
        second = squares.new_empty(len(count), d, d)
        second[:, self.pairs[0], self.pairs[1]] = squares
        second[:, self.pairs[1], self.pairs[0]] = squares
        second -= first[:, :, None] * self.mean[:, None]
        second -= self.mean[:, :, None] * moved[:, None]
        return Statistics(count, moved, second, rounding)

    def _coefficients(self) -> Tensor:
        """(k, p): of each product of two coordinates, of each coordinate, and of 1."""
        if self.diagonal:
            products = self.factor.square().reciprocal()
            lines = products * self.mean
        else:
            precision = torch.cholesky_inverse(self.factor)
            lines = (precision @ self.mean[:, :, None]).squeeze(2)
            products = precision[:, self.pairs[0], self.pairs[1]]
        twice = (self.pairs[0] != self.pairs[1]).to(products) + 1
        normaliser = log_volume(self.factor) + 0.5 * self.mean.shape[1] * math.log(2 * math.pi)
        constant = self.log_share - normaliser - 0.5 * (lines * self.mean).sum(dim=1)
        return torch.cat([-0.5 * twice * products, lines, constant[:, None]], dim=1)
