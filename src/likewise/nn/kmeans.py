"""k-means with a k-means++ start.

Lloyd, "Least squares quantization in PCM", 1982; Arthur and Vassilvitskii, "k-means++: the
advantages of careful seeding", 2007.
"""

import torch
from torch import Tensor

from likewise.core.rng import Draws


def spread(x: Tensor, k: int, *, rng: Draws) -> Tensor:
    """k rows of x, each drawn with chances in proportion to its squared distance from the rest.

    Args:
        x: (n, d).
        k: how many; more than there are distinct rows gives repeated ones.
    """
    uniform = rng.uniform(k).tolist()
    chosen = [x[min(int(uniform[0] * len(x)), len(x) - 1)]]
    nearest = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    for point in uniform[1:]:
        nearest = torch.minimum(nearest, (x - chosen[-1]).square().sum(dim=1))
        cumulative = nearest.cumsum(0)
        index = torch.searchsorted(cumulative, cumulative[-1:] * point)
        chosen.append(x[min(int(index), len(x) - 1)])
    return torch.stack(chosen)


def assign(x: Tensor, centres: Tensor, rows: int = 4096) -> tuple[Tensor, Tensor]:
    """The nearest centre of each row, (n,) int64, and the squared distance to it, (n,)."""
    pairs = [
        torch.cdist(part, centres).square().min(dim=1)  # (rows, k) -> (rows,)
        for part in x.split(rows)
    ]
    return torch.cat([p.indices for p in pairs]), torch.cat([p.values for p in pairs])


def kmeans(x: Tensor, k: int, *, rng: Draws, passes: int = 20, starts: int = 3) -> Tensor:
    """(n,) int64 clusters of the best of several starts; a cluster may be empty.

    Args:
        x: (n, d).
        k: how many clusters.
        passes: the most that each start makes.
        starts: how many.
    """
    best, least = torch.zeros(len(x), dtype=torch.int64, device=x.device), torch.inf
    for _ in range(starts if k > 1 else 0):
        centres = spread(x, k, rng=rng)
        cluster, distance = assign(x, centres)
        for _ in range(passes):
            centres = _means(x, cluster, centres)
            previous = cluster
            cluster, distance = assign(x, centres)
            if torch.equal(previous, cluster):
                break
        if float(distance.sum()) < least:
            best, least = cluster, float(distance.sum())
    return best


def _means(x: Tensor, cluster: Tensor, centres: Tensor) -> Tensor:
    """The mean of each cluster; an empty one keeps its centre."""
    total = torch.zeros_like(centres).index_add_(0, cluster, x)
    count = torch.bincount(cluster, minlength=len(centres))[:, None]
    return torch.where(count > 0, total / count.clamp(min=1), centres)
