"""Fidelity and variety by balls around points: precision, recall, density, coverage.

Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019;
Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020. A point's ball
reaches to its k-th nearest neighbour on its own side; a point at that very distance is outside.

None of the four sees copying. Precision and recall of real against real depend on the width of the
features and on n, so they are read beside the real-against-real row; density expects 1 there and
coverage 1 - 2^-k.
"""

from functools import cached_property

from torch import Tensor

from likewise.measures.intervals import Interval, mean_interval, wilson
from likewise.measures.measure import Estimate, measure
from likewise.measures.nearest import inside, radii

K = 5
_MINIMUM = 4 * K


class Balls:
    """What the four measures of one pair of sides have in common, made once where it is asked for.

    Each measure makes its own if it is given none; `precision(a, b, balls=balls)` and so on share.

    Args:
        samples: generated features (n, d).
        reference: held-out features (m, d).
    """

    def __init__(self, samples: Tensor, reference: Tensor) -> None:
        self.samples, self.reference = samples, reference

    @cached_property
    def real(self) -> tuple[Tensor, Tensor]:
        """How many reference balls hold each sample (n,), and how many samples each holds (m,)."""
        return inside(self.samples, self.reference, radii(self.reference, K))

    @cached_property
    def made(self) -> tuple[Tensor, Tensor]:
        """How many samples' balls hold each reference point (m,), and what each holds (n,)."""
        return inside(self.reference, self.samples, radii(self.samples, K))


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def precision(samples: Tensor, reference: Tensor, *, balls: "Balls | None" = None) -> Estimate:
    """The share of generated points that fall inside any reference point's ball.

    Rewards samples that look like something real. Cannot see what is missing; an outlier of the
    reference has a large ball that flatters.
    """
    return _share((balls or Balls(samples, reference)).real[0] > 0, "generated")


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def recall(samples: Tensor, reference: Tensor, *, balls: "Balls | None" = None) -> Estimate:
    """The share of reference points that fall inside any generated point's ball.

    Rewards variety. Cannot see quality: scattered samples have large balls that cover all.
    """
    return _share((balls or Balls(samples, reference)).made[0] > 0, "reference")


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def density(samples: Tensor, reference: Tensor, *, balls: "Balls | None" = None) -> Estimate:
    """In how many reference balls a generated point falls on average, divided by k.

    Rewards samples near the modes of the data; 1 for real against real, and above 1 for samples
    that crowd the modes, so more is not always better. Cannot see what is missing.
    """
    values = (balls or Balls(samples, reference)).real[0].double() / K
    how = f"k = {K}; Student interval over generated points, given the reference"
    low, high = mean_interval(values)
    return Estimate(float(values.mean()), Interval(max(0.0, low), high), how)


@measure(unit="1", better="higher", kind="features", minimum=lambda d: _MINIMUM)
def coverage(samples: Tensor, reference: Tensor, *, balls: "Balls | None" = None) -> Estimate:
    """The share of reference points whose ball holds at least one generated point.

    Rewards variety, robustly: balls belong to real points only. 1 - 2^-k for real against real at
    equal n. Cannot see how many samples are bad so long as enough are good.
    """
    return _share((balls or Balls(samples, reference)).real[1] > 0, "reference")


def _share(hits: Tensor, whose: str) -> Estimate:
    count, n = int(hits.sum()), len(hits)
    how = f"k = {K}; Wilson interval over {whose} points, given the other side"
    return Estimate(count / n, wilson(count, n), how)
