"""Fidelity and variety by balls around points: precision, recall, density, coverage.

Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019;
Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020. A point's ball
reaches to its k-th nearest neighbour on its own side; a point at that very distance is outside.

None of the four sees copying. Precision and recall of real against real depend on the width of the
features and on n, so they are read beside the real-against-real row; density expects 1 there and
coverage 1 - 2^-k.
"""

import torch
from torch import Tensor

from likewise.measures.intervals import Interval, mean_interval, wilson
from likewise.measures.measure import Estimate, measure
from likewise.measures.nearest import distance_blocks, radii

K = 5
_MINIMUM = 4 * K


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def precision(samples: Tensor, reference: Tensor) -> Estimate:
    """The share of generated points that fall inside any reference point's ball.

    Rewards samples that look like something real. Cannot see what is missing; an outlier of the
    reference has a large ball that flatters.
    """
    return _share(_balls_around(samples, reference) > 0, "generated")


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def recall(samples: Tensor, reference: Tensor) -> Estimate:
    """The share of reference points that fall inside any generated point's ball.

    Rewards variety. Cannot see quality: scattered samples have large balls that cover all.
    """
    return _share(_balls_around(reference, samples) > 0, "reference")


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def density(samples: Tensor, reference: Tensor) -> Estimate:
    """In how many reference balls a generated point falls on average, divided by k.

    Rewards samples near the modes of the data; 1 for real against real, and above 1 for samples
    that crowd the modes, so more is not always better. Cannot see what is missing.
    """
    values = _balls_around(samples, reference).double() / K
    how = f"k = {K}; Student interval over generated points, given the reference"
    low, high = mean_interval(values)
    return Estimate(float(values.mean()), Interval(max(0.0, low), high), how)


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def coverage(samples: Tensor, reference: Tensor) -> Estimate:
    """The share of reference points whose ball holds at least one generated point.

    Rewards variety, robustly: balls belong to real points only. 1 - 2^-k for real against real at
    equal n. Cannot see how many samples are bad so long as enough are good.
    """
    nearest = torch.full((len(reference),), torch.inf, dtype=torch.float64)
    nearest = nearest.to(reference.device)
    for _, distances in distance_blocks(samples, reference):
        nearest = torch.minimum(nearest, distances.amin(dim=0))
    return _share(nearest < radii(reference, K), "reference")


def _balls_around(points: Tensor, centres: Tensor) -> Tensor:
    """How many of the centres' balls hold each point: (n,) int64."""
    radius = radii(centres, K)
    counts = [(block < radius).sum(dim=1) for _, block in distance_blocks(points, centres)]
    return torch.cat(counts)


def _share(hits: Tensor, whose: str) -> Estimate:
    count, n = int(hits.sum()), len(hits)
    how = f"k = {K}; Wilson interval over {whose} points, given the other side"
    return Estimate(count / n, wilson(count, n), how)
