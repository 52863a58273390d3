"""The kernel distance: the squared maximum mean discrepancy under a cubic polynomial kernel.

Gretton et al., "A kernel two-sample test", 2012; with this kernel, as a score of generators,
Binkowski et al., "Demystifying MMD GANs", 2018 (there in Inception features, and called KID).
"""

import torch
from torch import Tensor

from likewise.measures.intervals import GROUPS, deal, jackknife
from likewise.measures.measure import Estimate, measure


@measure(
    unit="squared kernel units", better="lower", kind="features", minimum=lambda d: 2 * GROUPS
)
def kernel_distance(samples: Tensor, reference: Tensor) -> Estimate:
    """E k(x, x') + E k(y, y') - 2 E k(x, y) over distinct pairs, k(x, y) = (x.y / d + 1)^3.

    Rewards samples that share the reference's first three moments. Unbiased, so 0 is expected of
    real against real and values below 0 are legal: it is never clamped. Cannot see copying, nor
    what a cubic kernel is blind to; it moves with the scale of the features.

    The interval is a jackknife that leaves out disjoint blocks of both sides together.

    Args:
        samples: generated features (n, d).
        reference: held-out features (m, d).
    """
    x, y = samples.double(), reference.double()
    groups_x, groups_y = deal(len(x)).to(x.device), deal(len(y)).to(y.device)
    tables = (
        _block_sums(x, x, groups_x, groups_x, same=True),
        _block_sums(y, y, groups_y, groups_y, same=True),
        _block_sums(x, y, groups_x, groups_y),
    )
    sizes = groups_x.bincount(minlength=GROUPS), groups_y.bincount(minlength=GROUPS)
    every = torch.ones(GROUPS, dtype=torch.bool, device=x.device)
    value = _unbiased(tables, sizes, every)
    replicates = []
    for group in range(GROUPS):
        kept = every.clone()
        kept[group] = False
        replicates.append(_unbiased(tables, sizes, kept))
    how = f"unbiased, so real data may fall below 0; jackknife over {GROUPS} blocks of both sides"
    return Estimate(value, jackknife(value, replicates), how)


def _block_sums(
    a: Tensor, b: Tensor, groups_a: Tensor, groups_b: Tensor, *, same: bool = False
) -> Tensor:
    """(groups, groups) sums of the kernel over pairs, a row with itself left out if `same`."""
    membership = torch.nn.functional.one_hot(groups_b, GROUPS).double()  # (m, groups)
    rows = []
    for group in range(GROUPS):
        block = a[groups_a == group]
        kernel = (block @ b.T / a.shape[1] + 1) ** 3  # (block, m)
        sums = (kernel @ membership).sum(dim=0)
        if same:
            sums[group] -= ((block.square().sum(dim=1) / a.shape[1] + 1) ** 3).sum()
        rows.append(sums)
    return torch.stack(rows)


def _unbiased(
    tables: tuple[Tensor, Tensor, Tensor], sizes: tuple[Tensor, Tensor], kept: Tensor
) -> float:
    """The estimate from the kept groups alone."""
    xx, yy, xy = (float(table[kept][:, kept].sum()) for table in tables)
    n, m = (int(size[kept].sum()) for size in sizes)
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)
