"""Expectation maximisation for a mixture of Gaussians whose components belong to groups.

Dempster, Laird and Rubin, 1977. A row of a group (a label) can come from that group's components
alone; the components of one group stand together.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from likewise.core.rng import Draws
from likewise.nn import gaussian
from likewise.nn.gaussian import Statistics
from likewise.nn.kmeans import kmeans

FEW = 2.0
Rows: TypeAlias = Iterable[tuple[Tensor, Tensor]]
"""Batches of rows (n, d) float64 and the group (n,) int64 of each."""


class Mixture(NamedTuple):
    """k Gaussians.

    Attributes:
        log_weight: (k,) log shares of all rows; they sum to 1 over all groups.
        mean: (k, d).
        factor: see `gaussian`.
        group: (k,) int64, rising.
    """

    log_weight: Tensor
    mean: Tensor
    factor: Tensor
    group: Tensor

    def conditional(self) -> Tensor:
        """(k,) log shares within each component's own group."""
        total = torch.zeros_like(self.log_weight).index_add(0, self.group, self.log_weight.exp())
        return self.log_weight - total.log()[self.group]

    def spans(self) -> dict[int, slice]:
        """Where the components of each group stand."""
        found, count = self.group.unique_consecutive(return_counts=True)
        ends = count.cumsum(0).tolist()
        sizes = zip(found.tolist(), count.tolist(), ends, strict=True)
        return {group: slice(end - n, end) for group, n, end in sizes}


class Prior(NamedTuple):
    """What a covariance is drawn towards: as if `pseudo` more rows had shown the target.

    Variances are learned from few rows, correlations from many, so the two are drawn apart: the
    correlations by `pseudo` rows of the target's, the variances by `FEW` rows at most. Without
    pseudo-counts each pass is plain maximum likelihood, under which the likelihood never falls.

    Attributes:
        target: (d, d), or (d,) variances.
        pseudo: how many rows it counts for.
        floor: added to each variance besides, so that every factor exists.
    """

    target: Tensor
    pseudo: float
    floor: float


def maximise(
    stats: Statistics, centre: Tensor, like: Tensor, group: Tensor, prior: Prior
) -> Mixture:
    """The mixture that makes rows with these statistics (about `centre`) most likely.

    Args:
        like: a factor, whose shape says how covariances may vary.
        group: of each component.
    """
    count = stats.weight + 10 * torch.finfo(stats.weight.dtype).eps
    shift = stats.first / count[:, None]
    if like.dim() == 2:
        scatter = stats.second - count[:, None] * shift.square()
        variance = (scatter + prior.pseudo * prior.target) / (count[:, None] + prior.pseudo)
        factor = (variance.clamp(min=0) + prior.floor).sqrt()
    else:
        shared = len(stats.second) == 1
        outer = (count[:, None] * shift)[:, :, None] * shift[:, None]  # (k, d, d)
        scatter = stats.second - (outer.sum(dim=0, keepdim=True) if shared else outer)
        factor = _shrunk(scatter, count.sum()[None] if shared else count, prior)
    return Mixture((count / count.sum()).log(), centre + shift, factor, group)


def _shrunk(scatter: Tensor, count: Tensor, prior: Prior) -> Tensor:
    """(k, d, d) factors of covariances out of summed products (k, d, d) of so many rows (k,)."""
    few = min(FEW, prior.pseudo)
    common = prior.target.diagonal()
    own = (scatter + few * torch.diag(common)) / (count + few)[:, None, None]
    ratio = (
        own.diagonal(dim1=-2, dim2=-1) / torch.where(common > 0, common, 1.0)
    ).sqrt()  # (k, d)
    target = prior.target * ratio[:, :, None] * ratio[:, None]
    share = (prior.pseudo / (count + prior.pseudo))[:, None, None]
    covariance = own + share * (target - own)
    covariance.diagonal(dim1=-2, dim2=-1).add_(prior.floor)
    return torch.linalg.cholesky(covariance)


def log_likelihoods(rows: Rows, mixture: Mixture) -> Tensor:
    """(n,) log density of each row within its group."""
    return torch.cat([_responsibilities(x, group, mixture)[1] for x, group in rows])


def expect(rows: Rows, mixture: Mixture) -> tuple[Statistics, float]:
    """One pass: the statistics of the rows about the means, and the mean log likelihood."""
    total: Statistics | None = None
    likelihood, n = 0.0, 0
    for x, group in rows:
        weight, value = _responsibilities(x, group, mixture)
        stats = _scattered(x, group, weight, mixture)
        total = stats if total is None else total.plus(stats)
        likelihood, n = likelihood + float(value.sum()), n + len(x)
    if total is None:
        raise ValueError("there must be at least one batch")
    return total, likelihood / n


def climb(rows: Rows, mixture: Mixture, prior: Prior) -> Iterator[tuple[Mixture, float]]:
    """Passes: the mixture after each, and the mean log likelihood that it began with."""
    while True:
        stats, likelihood = expect(rows, mixture)
        mixture = maximise(stats, mixture.mean, mixture.factor, mixture.group, prior)
        yield mixture, likelihood


def _responsibilities(x: Tensor, group: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """(n, k) chances that each component made each row, and (n,) log densities."""
    weight, value = x.new_zeros(len(x), len(mixture.mean)), x.new_empty(len(x))
    share, spans = mixture.conditional(), mixture.spans()
    for name in group.unique().tolist():
        mine, span = group == name, spans[name]
        factor = mixture.factor if _shared(mixture) else mixture.factor[span]
        joint = gaussian.log_densities(x[mine], mixture.mean[span], factor) + share[span]
        total = joint.logsumexp(dim=1)
        value[mine] = total
        weight[mine, span] = (joint - total[:, None]).exp()
    return weight, value


def _scattered(x: Tensor, group: Tensor, weight: Tensor, mixture: Mixture) -> Statistics:
    """Statistics of all components; each reads the rows of its own group alone."""
    if _shared(mixture):
        return gaussian.gather(x, weight, mixture.mean, mixture.factor)
    total = Statistics(
        x.new_zeros(len(mixture.mean)),
        torch.zeros_like(mixture.mean),
        torch.zeros_like(mixture.factor),
    )
    for name in group.unique().tolist():
        mine, span = group == name, mixture.spans()[name]
        part = gaussian.gather(
            x[mine], weight[mine, span], mixture.mean[span], mixture.factor[span]
        )
        for whole, piece in zip(total, part, strict=True):
            whole[span] = piece
    return total


def _shared(mixture: Mixture) -> bool:
    return mixture.factor.dim() == 3 and len(mixture.factor) == 1


def begin(
    x: Tensor, group: Tensor, k: int, like: Tensor, *, prior: Prior, rng: Draws, least: int = 4
) -> tuple[Mixture, Prior]:
    """A start by k-means in each group, and the prior with its target put in.

    The target is the covariance within clusters, its correlations shrunk (see `gaussian.shrink`).

    Args:
        x: (n, d) float64; group: (n,) int64, each of 0 .. max present.
        k: components for each group; a group of fewer than `least * k` rows gets fewer.
        like: a factor's shape in small: (0, d), (1, 0, 0) for a shared one or (0, 0, 0).
        prior: its `pseudo` and `floor`.
    """
    spread = x.std(dim=0, correction=0)
    scaled = x / torch.where(spread > 0, spread, 1.0)
    cluster, owner = torch.empty_like(group), list[int]()
    for name in range(int(group.max()) + 1):
        mine = group == name
        wanted = max(1, min(k, int(mine.sum()) // least))
        _, inner = kmeans(scaled[mine], wanted, rng=rng).unique(return_inverse=True)
        cluster[mine] = inner + len(owner)
        owner += [name] * (int(inner.max()) + 1)
    count = torch.bincount(cluster, minlength=len(owner)).to(x)
    mean = x.new_zeros(len(owner), x.shape[1]).index_add_(0, cluster, x) / count[:, None]
    within = x - mean[cluster]
    target = within.square().mean(dim=0) if like.dim() == 2 else gaussian.shrink(within)[0]
    prior = prior._replace(target=target)
    mixture = _first(within, cluster, mean, like, torch.tensor(owner).to(group), prior)
    return mixture, prior


def _first(
    within: Tensor, cluster: Tensor, mean: Tensor, like: Tensor, group: Tensor, prior: Prior
) -> Mixture:
    """The mixture of hard clusters."""
    k, d = mean.shape
    count = torch.bincount(cluster, minlength=k).to(mean)
    if like.dim() == 2:
        second = torch.zeros_like(mean).index_add_(0, cluster, within.square())
    elif len(like) == 1:
        second = (within.T @ within)[None]
    else:
        second = mean.new_empty(k, d, d)
        for j in range(k):
            rows = within[cluster == j]
            second[j] = rows.T @ rows
    return maximise(Statistics(count, torch.zeros_like(mean), second), mean, second, group, prior)
