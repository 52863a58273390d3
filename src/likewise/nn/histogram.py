"""Histograms with edges at quantiles, one a column, with exact cells and draws.

Shapes: n rows, d columns, b bins: edges (d, b + 1) rising, mass (d, b) summing to 1. Unused bins
at the end have no width and no mass. All float64.
"""

import torch
from torch import Tensor

RESOLUTION = 1024  # no bin is narrower than this part of the range, so densities stay bounded


def build(value: Tensor, bins: int, step: float, high: float) -> tuple[Tensor, Tensor]:
    """Edges (2 * bins + 3,) and masses (2 * bins + 2,) for the values (n,) of one column.

    Where values are counted in steps, edges stand between cells, and each quantile has a cell of
    its own: a value that is often met keeps its mass. No value may be above `high`.
    """
    n, slots = len(value), 2 * bins + 2
    if n == 0:
        return value.new_zeros(slots + 1), value.new_zeros(slots)
    points = torch.linspace(0, 1, max(1, min(bins, round(n**0.5))) + 1).to(value)
    quantiles = value.sort().values[(points * (n - 1)).round().long()]
    least, width = float(quantiles[0]), float(quantiles[-1] - quantiles[0])
    if step:
        grid, least = step, least - step / 2
        edges = torch.cat([quantiles - step / 2, quantiles + step / 2])
    elif width:
        grid, edges = width / RESOLUTION, quantiles
    else:  # one value: a narrow bin beside it, within the range
        grid = max(1.0, abs(least)) / RESOLUTION
        least = min(least, high - grid)
        edges = value.new_tensor([least, least + grid])
    edges = ((edges - least) / grid).round().unique() * grid + least
    mass = torch.bincount(
        torch.bucketize(value, edges[1:-1], right=True), minlength=len(edges) - 1
    )
    edges = torch.cat([edges, edges[-1:].expand(slots + 1 - len(edges))])
    return edges, torch.cat([mass / n, value.new_zeros(slots - len(mass))])


def log_cell(x: Tensor, edges: Tensor, mass: Tensor, step: Tensor) -> Tensor:
    """(n, d): log mass of x's cell, or log density where step (d,) is 0; -inf outside."""
    half = step / 2
    inside = _cumulated(x + half, edges, mass) - _cumulated(x - half, edges, mass)
    last = (mass > 0).long().cumsum(dim=1).argmax(dim=1)  # (d,)
    i = torch.searchsorted(edges, x.T.contiguous(), right=True) - 1
    i = torch.where(edges[:, -1:] == x.T, last[:, None], i)  # the last bin has both its ends
    within = (i >= 0) & (i < mass.shape[1])
    i = i.clamp(0, mass.shape[1] - 1)
    width = (edges[:, 1:] - edges[:, :-1]).gather(1, i)
    density = torch.where(within & (width > 0), mass.gather(1, i) / width, 0.0).T
    return torch.where(step > 0, inside, density).clamp(min=0).log()


def draw(uniform: Tensor, edges: Tensor, mass: Tensor) -> Tensor:
    """(n, d) draws, before they are put on a grid; uniform (n, d) in (0, 1)."""
    upper = mass.cumsum(dim=1)
    point = uniform.T.contiguous() * upper[:, -1:]
    i = torch.searchsorted(upper, point).clamp(max=mass.shape[1] - 1)  # (d, n)
    chosen = mass.gather(1, i)
    part = (point - upper.gather(1, i) + chosen) / torch.where(chosen > 0, chosen, 1.0)
    left = edges[:, :-1].gather(1, i)
    return (left + part * (edges[:, 1:].gather(1, i) - left)).T


def _cumulated(x: Tensor, edges: Tensor, mass: Tensor) -> Tensor:
    """(n, d): the mass below x."""
    below = torch.cat([mass.new_zeros(len(mass), 1), mass.cumsum(dim=1)], dim=1)
    i = torch.searchsorted(edges, x.T.contiguous(), right=True).clamp(1, mass.shape[1]) - 1
    left, right = edges.gather(1, i), edges.gather(1, i + 1)
    width = torch.where(right > left, right - left, 1.0)
    part = ((x.T - left) / width).clamp(0, 1)
    return (below.gather(1, i) + part * mass.gather(1, i)).T
