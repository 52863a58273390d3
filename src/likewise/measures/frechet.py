"""The Fréchet distance between Gaussians fitted to two sets of features.

Dowson and Landau, 1982; as a score of generators Heusel et al., "GANs trained by a two time-scale
update rule", 2017 (there in Inception features, and called FID). Here the features are named by
who calls, and it is never called FID.
"""

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
    value = frechet(a, b)
    groups_a, groups_b = deal(len(a)).to(a.device), deal(len(b)).to(b.device)
    replicates = [frechet(a[groups_a != g], b[groups_b != g]) for g in range(GROUPS)]
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
        RefusalError: the features are too large for their covariance to be a number.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]).double()
        >>> round(frechet(x, x + 3.0), 9)
        18.0
    """
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    root = _root(cov_a)
    product = root @ cov_b @ root
    eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2)
    cross = eigenvalues.clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(0.0, float(distance))  # below 0 by rounding alone


def frechet_null(reference: Tensor, n: int) -> float:
    """The distance to expect between two samples of size n of one Gaussian, to first order in 1/n.

    (2 sum_i l_i + sum_ij l_i l_j / (l_i + l_j) + sum_i l_i / 2) / n, with l the eigenvalues of the
    covariance: the mean's part, then the second-order term of the Bures distance between two
    Wishart matrices.

    Args:
        reference: features (m, d) whose covariance is taken.
        n: how many rows each side has.
    """
    _, covariance = _moments(reference.double())
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    values = values[values > 0]
    pairs = values[:, None] * values[None, :] / (values[:, None] + values[None, :])
    return float(2.5 * values.sum() + pairs.sum()) / n


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) with n - 1, of (n, d)."""
    mean = x.mean(dim=0)
    centred = x - mean
    covariance = centred.T @ centred / (len(x) - 1)
    if not torch.isfinite(covariance).all():
        raise RefusalError("the features are so large that their covariance overflows.")
    return mean, covariance


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance, singular or not."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
