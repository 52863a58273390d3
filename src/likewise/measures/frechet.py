"""The Fréchet distance between Gaussians fitted to two sets of features.

Dowson and Landau, 1982; as a score of generators Heusel et al., "GANs trained by a two time-scale
update rule", 2017 (there in Inception features, and called FID). Here the features are named by
who calls, and it is never called FID.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from likewise.measures.intervals import GROUPS, Interval, deal, jackknife
from likewise.measures.measure import Estimate, RefusalError, measure


@measure(
    unit="squared feature units",
    better="lower",
    kind="features",
    minimum=lambda d: max(2 * d, GROUPS),
)
def frechet_distance(samples: Tensor, reference: Tensor) -> Estimate:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2)), in float64.

    Rewards samples whose features have the mean and the covariance of the reference's. Cannot see
    anything beyond those two moments, nor copying: the training records themselves score best.
    Biased upwards: two halves of one data set are `frechet_null` apart, so it is only comparable
    at equal n, and beside the distance of real from real.

    The interval is a delete-group jackknife over both sides together, about the biased value, cut
    at 0.

    Args:
        samples: generated features (n, d), n at least 2 d.
        reference: held-out features (m, d), m at least 2 d.
    """
    a, b = samples.double(), reference.double()
    whole = Moments.of(a, a.mean(dim=0)), Moments.of(b, b.mean(dim=0))
    value = _distance(*whole)
    groups = deal(len(a)).to(a.device), deal(len(b)).to(b.device)
    replicates = []
    for group in range(GROUPS):
        kept = (
            side.without(x[numbers == group])
            for side, x, numbers in zip(whole, (a, b), groups, strict=True)
        )
        replicates.append(_distance(*kept))
    low, high = jackknife(value, replicates)
    null = frechet_null(b, min(len(a), len(b)))
    how = (
        f"jackknife over {GROUPS} groups of both sides; biased upwards, two equal Gaussians "
        f"would be about {null:.3g} apart at this n"
    )
    return Estimate(value, Interval(max(0.0, low), high), how)


def frechet(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance of features (n, d) and (m, d), each of 2 rows or more.

    Raises:
        RefusalError: a feature is no number, or too large for a covariance that is one.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]).double()
        >>> round(frechet(x, x + 3.0), 9)
        18.0
    """
    return _distance(Moments.of(a, a.mean(dim=0)), Moments.of(b, b.mean(dim=0)))


def frechet_null(reference: Tensor, n: int) -> float:
    """The distance to expect between two samples of size n of one Gaussian, to first order in 1/n.

    (2 sum_i l_i + sum_ij l_i l_j / (l_i + l_j) + sum_i l_i / 2) / n, with l the eigenvalues of the
    covariance: the mean's part, then the second-order term of the Bures distance between two
    Wishart matrices.

    Args:
        reference: features (m, d) whose covariance is taken.
        n: how many rows each side has.
    """
    x = reference.double()
    covariance = Moments.of(x, x.mean(dim=0)).covariance()
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    values = values[values > 0]
    pairs = values[:, None] * values[None, :] / (values[:, None] + values[None, :])
    return float(2.5 * values.sum() + pairs.sum()) / n


class Moments(NamedTuple):
    """Sums over rows, from which those of some of the rows can be taken away.

    Attributes:
        n: how many rows.
        centre: (d,), near the rows.
        first: (d,) the sum of x minus centre.
        second: (d, d) the sum of the products of x minus centre.
    """

    n: int
    centre: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, x: Tensor, centre: Tensor) -> "Moments":
        """Of rows (n, d) float64."""
        away = x - centre
        second = _product(away.T, away)
        if not torch.isfinite(second.sum()):
            bad = int((~torch.isfinite(x)).any(dim=1).sum())
            if bad:
                raise RefusalError(f"the features of {bad} of {len(x)} rows are no numbers.")
            raise RefusalError("the features are so large that their covariance overflows.")
        return cls(len(x), centre, away.sum(dim=0), second)

    def without(self, x: Tensor) -> "Moments":
        """Of the rows that are left when some (m, d) of them are taken away."""
        part = Moments.of(x, self.centre)
        first, second = self.first - part.first, self.second - part.second
        return Moments(self.n - part.n, self.centre, first, second)

    def mean(self) -> Tensor:
        return self.centre + self.first / self.n

    def covariance(self) -> Tensor:
        """(d, d), with n - 1."""
        about_mean = torch.addr(self.second, self.first, self.first, alpha=-1.0 / self.n)
        return about_mean.div_(self.n - 1)


def _distance(a: Moments, b: Moments) -> float:
    """With S1 = F F^T, S1^(1/2) S2 S1^(1/2) and F^T S2 F have the same eigenvalues."""
    one, two = a.covariance(), b.covariance()
    factor, failed = torch.linalg.cholesky_ex(one)
    if failed:  # Q R of the symmetric root: R^T R is its square, too
        factor = torch.linalg.qr(_root(one), mode="r").R.T
    eigenvalues = torch.linalg.eigvalsh(_congruent(factor, two))
    cross = eigenvalues.clamp(min=0).sqrt().sum()
    distance = (a.mean() - b.mean()).square().sum() + one.trace() + two.trace() - 2 * cross
    return max(0.0, float(distance))  # below 0 by rounding alone


def _congruent(factor: Tensor, x: Tensor, block: int = 256) -> Tensor:
    """The lower half of F^T X F, and a little more: F is lower triangular, X symmetric."""
    product = torch.zeros_like(x)
    for start in range(0, len(x), block):
        columns = slice(start, start + block)
        half = _product(x[start:, start:], factor[start:, columns])
        product[start:, columns] = _product(factor[start:, start:].T, half)
    return product


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b. On a processor by NumPy, whose library does not care who made it.

    Torch's works on some processors in half of their width in float64. Factorisations are left to
    it all the same: on a busy machine NumPy's take many times as long.
    """
    if a.device.type != "cpu":
        return a @ b
    with np.errstate(over="ignore", invalid="ignore"):  # who asks looks for what overflows
        return torch.from_numpy(a.numpy() @ b.numpy())


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance, singular or not."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
