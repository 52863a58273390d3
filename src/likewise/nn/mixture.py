"""Expectation maximisation for a mixture of Gaussians whose components belong to groups.

Dempster, Laird and Rubin, 1977. A row of a group (a label) can come from that group's components
alone; the components of one group stand together.
"""

from collections.abc import Iterable, Iterator
from math import log, pi
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from likewise.core.rng import Draws
from likewise.nn import gaussian
from likewise.nn.gaussian import Statistics
from likewise.nn.kmeans import kmeans
from likewise.nn.quadratic import Quadratic

FEW = 2.0
Rows: TypeAlias = Iterable[tuple[Tensor, Tensor]]
"""Batches of rows (n, d), float64 or float32, and the group (n,) int64 of each."""

WIDEST = 128  # numbers a row, and
FEWEST = 4  # Gaussians, from and to which products of features beat whitening
ROUNDING = 1e-3  # nats a row
PENDING = 2**20  # numbers of a group that wait to be read together


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

    @property
    def shared(self) -> bool:
        """Whether one factor serves all components."""
        return self.factor.dim() == 3 and len(self.factor) == 1

    def part(self, span: slice) -> "Mixture":
        """Some of the components."""
        factor = self.factor if self.shared else self.factor[span]
        return Mixture(self.log_weight[span], self.mean[span], factor, self.group[span])


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
        shared, moved = len(stats.second) == 1, count[:, None] * shift
        left, right = (
            (moved.T[None], shift[None]) if shared else (moved[..., None], shift[:, None])
        )
        scatter = torch.baddbmm(stats.second, left, right, alpha=-1.0)
        factor = _shrunk(scatter, count.sum()[None] if shared else count, prior)
    return Mixture((count / count.sum()).log(), centre + shift, factor, group)


def _shrunk(scatter: Tensor, count: Tensor, prior: Prior) -> Tensor:
    """(k, d, d) factors of covariances out of summed products, which it uses up, of (k,) rows."""
    few = min(FEW, prior.pseudo)
    common = prior.target.diagonal()
    variances = scatter.diagonal(dim1=-2, dim2=-1)
    variances += few * common
    scatter /= (count + few)[:, None, None]
    share = (prior.pseudo / (count + prior.pseudo))[:, None]
    variances.clamp_(min=0)  # below by rounding alone
    ratio = (variances / torch.where(common > 0, common, 1.0)).sqrt()  # (k, d)
    scatter *= 1 - share[..., None]
    scatter.addcmul_(prior.target * (share * ratio)[..., None], ratio[:, None])
    variances += prior.floor
    return torch.linalg.cholesky(scatter)


def log_likelihoods(rows: Rows, mixture: Mixture) -> Tensor:
    """(n,) log density of each row within its group."""
    share, spans, parts = mixture.conditional(), mixture.spans(), []
    for x, group in rows:
        value = mixture.mean.new_empty(len(x))
        for name in group.unique().tolist():
            mine, own = group == name, mixture.part(spans[name])
            joint = gaussian.log_densities(x[mine].to(value), own.mean, own.factor)
            value[mine] = (joint + share[spans[name]]).logsumexp(dim=1)
        parts.append(value)
    return torch.cat(parts)


class Scatter(NamedTuple):
    """Summed products (d, d) of rows about a centre (d,): the same at every pass."""

    centre: Tensor
    products: Tensor


def scatter(rows: Rows, centre: Tensor) -> Scatter:
    """One pass over the rows (n, d)."""
    products = centre.new_zeros(len(centre), len(centre))
    for x, _ in rows:
        gaussian.add_products(x.to(centre) - centre, products)
    return Scatter(centre, products)


def expect(
    rows: Rows, mixture: Mixture, known: Scatter | None = None, *, exact: bool = False
) -> tuple[Statistics, float]:
    """One pass: the statistics of the rows about the means, and the mean log likelihood.

    Args:
        known: what `scatter` made of these rows, where the components share a covariance; made
            here, by one more pass, if it is not given.
        exact: whiten each row, and do not multiply features of it.
    """
    if mixture.shared:
        return _expect_shared(rows, mixture, known or scatter(rows, mixture.mean.mean(dim=0)))
    share, spans, n = mixture.conditional(), mixture.spans(), 0
    readers = {name: _Reader(mixture.part(own), share[own], exact) for name, own in spans.items()}
    for x, group in rows:
        names = group.unique().tolist()
        for name in names:
            readers[name].read(x[group == name] if len(names) > 1 else x)
        n += len(x)
    if n == 0:
        raise ValueError("there must be at least one batch")
    found = [reader.statistics() for reader in readers.values()]
    likelihood = sum(reader.likelihood for reader in readers.values()) / n
    return Statistics(*(torch.cat(parts) for parts in zip(*found, strict=True))), likelihood


def climb(rows: Rows, mixture: Mixture, prior: Prior) -> Iterator[tuple[Mixture, float]]:
    """Passes: the mixture after each, and the mean log likelihood that it began with.

    Where a pass makes Gaussians so much narrower that they are told only by products that were
    rounded too much, it is made again, exactly.
    """
    known = scatter(rows, mixture.mean.mean(dim=0)) if mixture.shared else None
    while True:
        stats, likelihood = expect(rows, mixture, known)
        better = _trusted(stats, mixture, prior)
        if better is None:
            stats, likelihood = expect(rows, mixture, exact=True)
            better = maximise(stats, mixture.mean, mixture.factor, mixture.group, prior)
        mixture = better
        yield mixture, likelihood


def _trusted(stats: Statistics, mixture: Mixture, prior: Prior) -> Mixture | None:
    """The mixture that these statistics make likeliest, unless their rounding may have a part."""
    rounded = bool(stats.rounding.any())
    try:
        better = maximise(stats, mixture.mean, mixture.factor, mixture.group, prior)
    except torch.linalg.LinAlgError:
        if rounded:
            return None
        raise
    share = better.conditional() if rounded else better.log_weight
    for span in better.spans().values() if rounded else ():
        part = better.part(span)
        nats = Quadratic(part.mean, part.factor, share[span]).rounding() * stats.rounding[span]
        if float(nats.max()) > 10 * ROUNDING:
            return None
    return better


class _Reader:
    """Reads rows of one group: as features where that is faster and exact enough.

    Rows in float32 are multiplied in float32 while it costs less than `ROUNDING` nats a row, and
    in float64 beyond that; every sum over rows is kept in float64.
    """

    def __init__(self, mixture: Mixture, share: Tensor, exact: bool) -> None:
        self.mixture, self.share = mixture, share
        self.pending: list[Tensor] = []
        self.waiting = 0  # numbers in them
        self.likelihood = 0.0  # summed over rows
        k, d = mixture.mean.shape
        self.products: Quadratic | None = None
        if not exact and (mixture.factor.dim() == 2 or (d <= WIDEST and k >= FEWEST)):
            self.products = Quadratic(mixture.mean, mixture.factor, share)
        self.sums = Statistics(
            torch.zeros_like(share),
            torch.zeros_like(mixture.mean),
            torch.zeros_like(mixture.factor),
            torch.zeros_like(share),
        )

    def read(self, x: Tensor) -> None:
        """Rows (n, d), kept until there are enough of them to be multiplied well."""
        self.pending.append(x)
        self.waiting += x.numel()
        if self.waiting >= PENDING:
            self._flush()

    def _flush(self) -> None:
        x, self.pending, self.waiting = torch.cat(self.pending), [], 0
        if self.products:
            nats = float(self.products.rounding(x).max())
            for dtype in (x.dtype, torch.float64):
                if nats * torch.finfo(dtype).eps <= ROUNDING:
                    self.likelihood += self.products.read(x, dtype)
                    return
        for part in x.split(max(1, PENDING // x.shape[1])):
            self._whiten(part.double())

    def _whiten(self, x: Tensor) -> None:
        joint = gaussian.log_densities(x, self.mixture.mean, self.mixture.factor) + self.share
        total = joint.logsumexp(dim=1)
        gaussian.gather(x, (joint - total[:, None]).exp(), self.mixture.mean, self.sums)
        self.likelihood += float(total.sum())

    def statistics(self) -> Statistics:
        """Of all rows that were read, about the means."""
        if self.pending:
            self._flush()
        return self.products.statistics().plus(self.sums) if self.products else self.sums


def _expect_shared(rows: Rows, mixture: Mixture, known: Scatter) -> tuple[Statistics, float]:
    """As `expect`, for one covariance for all.

    What is quadratic in a row is the same under every component, so that it decides no weight:
    its sum over all rows comes out of their scatter, and a pass multiplies rows by k lines alone.
    """
    factor, (k, d) = mixture.factor[0], mixture.mean.shape
    mean, precision = mixture.mean - known.centre, torch.cholesky_inverse(factor)
    lines = mean @ precision
    constant = mixture.conditional() - 0.5 * (lines * mean).sum(dim=1)
    count, first, value, n = mean.new_zeros(k), torch.zeros_like(mean), 0.0, 0
    for x, group in rows:
        away = x.to(mean) - known.centre
        joint = away @ lines.T + constant
        joint = torch.where(mixture.group == group[:, None], joint, -torch.inf)
        total = joint.logsumexp(dim=1)
        weight = (joint - total[:, None]).exp_()
        count, first = count + weight.sum(dim=0), first + weight.T @ away
        value, n = value + float(total.sum()), n + len(x)
    if n == 0:
        raise ValueError("there must be at least one batch")
    moved = first - count[:, None] * mean
    within = torch.addmm(known.products, mean.T, moved, alpha=-1.0)
    within.addmm_(first.T, mean, alpha=-1.0)
    spread = float(precision.flatten() @ known.products.flatten()) / n
    normaliser = float(gaussian.log_volume(mixture.factor)) + 0.5 * d * log(2 * pi)
    stats = Statistics(count, moved, within[None], torch.zeros_like(count))
    return stats, value / n - 0.5 * spread - normaliser


def begin(
    x: Tensor, group: Tensor, k: int, like: Tensor, *, prior: Prior, rng: Draws, least: int = 4
) -> tuple[Mixture, Prior]:
    """A start by k-means in each group, and the prior with its target put in.

    The target is the covariance within clusters, its correlations shrunk (see `gaussian.shrink`).

    Args:
        x: (n, d); group: (n,) int64, each of 0 .. max present.
        k: components for each group; a group of fewer than `least * k` rows gets fewer.
        like: a factor's shape in small: (0, d), (1, 0, 0) for a shared one or (0, 0, 0).
        prior: its `pseudo` and `floor`.
    """
    x = x.double()
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
        second = mean.new_zeros(1, d, d)
        gaussian.add_products(within, second[0])
    else:
        second = mean.new_zeros(k, d, d)
        for j in range(k):
            gaussian.add_products(within[cluster == j], second[j])
    stats = Statistics(count, torch.zeros_like(mean), second, torch.zeros_like(count))
    return maximise(stats, mean, second, group, prior)
