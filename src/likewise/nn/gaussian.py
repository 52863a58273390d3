"""Many Gaussians at once: densities, draws, conditioning and sufficient statistics.

Shapes: n rows of d numbers, k Gaussians. A `factor` says how they vary, by its shape:
(k, d) standard deviations, (1, d, d) one lower Cholesky factor for all, (k, d, d) one for each.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


def whiten(x: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """(k, n, d): each row as each Gaussian sees it, with zero mean and unit covariance."""
    if factor.dim() == 2:
        return (x[None] - mean[:, None]) / factor[:, None]
    if len(factor) == 1:  # one factor: solve for rows and means, not for every pair of them
        both = torch.linalg.solve_triangular(factor[0], torch.cat([x, mean]).T, upper=False).T
        return both[None, : len(x)] - both[len(x) :, None]
    centred = (x[None] - mean[:, None]).mT  # (k, d, n)
    return torch.linalg.solve_triangular(factor, centred, upper=False).mT


def log_volume(factor: Tensor) -> Tensor:
    """(k,) or (1,): half the log determinant of each covariance."""
    scales = factor if factor.dim() == 2 else factor.diagonal(dim1=-2, dim2=-1)
    return scales.log().sum(dim=-1)


def log_densities(x: Tensor, mean: Tensor, factor: Tensor, numbers: int = 2**23) -> Tensor:
    """(n, k) log densities of rows x (n, d) under k Gaussians.

    Args:
        numbers: how many may be held in memory at once.
    """
    rows = max(1, numbers // max(1, mean.numel()))
    constant = 0.5 * x.shape[1] * math.log(2 * math.pi) + log_volume(factor)
    parts = [whiten(part, mean, factor).square().sum(dim=-1).T for part in x.split(rows)]
    return -0.5 * torch.cat(parts) - constant


def place(noise: Tensor, which: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """(n, d) draws: row i of the standard normal `noise` as a draw of Gaussian `which[i]`."""
    if factor.dim() == 2:
        return mean[which] + factor[which] * noise
    if len(factor) == 1:
        return mean[which] + noise @ factor[0].T
    x = torch.empty_like(noise)
    for k in which.unique().tolist():
        rows = which == k
        x[rows] = mean[k] + noise[rows] @ factor[k].T
    return x


def marginal(mean: Tensor, factor: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and factor of the Gaussians over some places (a bool (d,)) alone."""
    if factor.dim() == 2:
        return mean[:, places], factor[:, places]
    rows = factor[:, places]  # (k, known, d)
    return mean[:, places], torch.linalg.cholesky(rows @ rows.mT)


def condition(draw: Tensor, x: Tensor, places: Tensor, factor: Tensor) -> Tensor:
    """Draws moved so that they agree with x at some places: draws of the exact conditional.

    Matheron's rule: if (a, b) is a joint draw, a + Cov(a, b) Cov(b)^-1 (b' - b) is one of a
    given b = b'.

    Args:
        draw: (n, d), of one Gaussian.
        x: (n, d), read only at `places`.
        places: (d,) bool.
        factor: that Gaussian's, (d,) or (d, d).
    """
    if factor.dim() == 1:
        return torch.where(places, x, draw)
    covariance = factor @ factor[places].T  # (d, known)
    root = torch.linalg.cholesky(covariance[places])
    gain = torch.cholesky_solve((x - draw)[:, places].T, root)  # (known, n)
    return torch.where(places, x, draw + (covariance @ gain).T)


class Statistics(NamedTuple):
    """Sufficient statistics of rows about given centres, with a weight for each Gaussian.

    Attributes:
        weight: (k,) sums of weights.
        first: (k, d) weighted sums of x minus its centre.
        second: of (x minus centre) squared, (k, d); or of its products, (k, d, d), or (1, d, d)
            where the Gaussians share a covariance.
        rounding: (k,) how coarse the products are, as a share of their size, that were not taken
            about the centres themselves; 0 where all were.
    """

    weight: Tensor
    first: Tensor
    second: Tensor
    rounding: Tensor

    def plus(self, other: "Statistics") -> "Statistics":
        """Of both sets of rows."""
        return Statistics(
            self.weight + other.weight,
            self.first + other.first,
            self.second + other.second,
            torch.maximum(self.rounding, other.rounding),
        )


def gather(x: Tensor, weight: Tensor, centre: Tensor, into: Statistics) -> None:
    """Adds the statistics of rows x (n, d) with weights (n, k), about centres (k, d).

    A row whose weight is below the rounding of a sum of one is passed over: among many numbers
    a row mostly belongs to one Gaussian alone.
    """
    into.weight.add_(weight.sum(dim=0))
    for k in range(len(centre)):
        counts = weight[:, k] > torch.finfo(weight.dtype).eps ** 2
        share, away = weight[counts, k], x[counts] - centre[k]
        into.first[k].addmv_(away.T, share)
        if into.second.dim() == 2:
            into.second[k].addmv_(away.square().T, share)
        else:
            add_products(away * share.sqrt()[:, None], into.second[k])


def add_products(x: Tensor, into: Tensor, block: int = 256) -> None:
    """Adds x.T @ x of rows (n, d) to a symmetric (d, d); only half of it is multiplied out."""
    for start in range(0, x.shape[1], block):
        stop = min(start + block, x.shape[1])
        into[start:stop, start:].addmm_(x[:, start:stop].T, x[:, start:])
        into[stop:, start:stop] = into[start:stop, stop:].T


def shrink(x: Tensor) -> tuple[Tensor, float]:
    """The covariance of centred rows, its correlations shrunk by the intensity that is best.

    Schäfer and Strimmer, "A shrinkage approach to large-scale covariance matrix estimation",
    2005 (target D): the variances stay, and the covariances are scaled by 1 - intensity, where
    the intensity is their summed sampling variance over their summed squares.

    Args:
        x: (n, d), centred.

    Returns:
        (d, d) and the intensity in [0, 1].
    """
    n, squares = len(x), x.square()
    covariance = x.new_zeros(x.shape[1], x.shape[1])
    add_products(x, covariance)
    covariance /= n
    variances = covariance.diagonal().clone()
    covariance.diagonal().zero_()
    size = float(covariance.square().sum())
    fourth = float((squares.sum(dim=1).square() - squares.square().sum(dim=1)).mean())
    noise = (fourth - size) / max(1, n - 1)  # of all products of two different numbers
    share = min(1.0, max(0.0, noise / size)) if size > 0 else 1.0
    covariance *= 1 - share
    covariance.diagonal().copy_(variances)
    return covariance, share
