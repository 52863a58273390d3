"""The Inception Score, from the class probabilities of any classifier.

Salimans et al., "Improved techniques for training GANs", 2016.
"""

import math

from torch import Tensor

from likewise.measures.intervals import GROUPS, Interval, deal, jackknife
from likewise.measures.measure import Estimate, measure


@measure(
    unit="classes", better="higher", kind="probabilities", minimum=lambda k: max(2 * k, GROUPS)
)
def inception_score(probabilities: Tensor) -> Estimate:
    """exp E_x KL(p(y | x) || p(y)): from 1 to the number of classes.

    Rewards samples that the classifier is sure of, spread evenly over its classes. Cannot see the
    reference at all, nor variety within a class, nor anything outside the classes; where the data
    is uneven over classes, real data does not score best. Biased in n, and all n are one split
    here, so compare at equal n and beside real data.

    The interval is a delete-group jackknife of the logarithm.

    Args:
        probabilities: (n, classes), rows that sum to 1.
    """
    p = probabilities.double()
    groups = deal(len(p)).to(p.device)
    value = _mutual_information(p)
    replicates = [_mutual_information(p[groups != g]) for g in range(GROUPS)]
    low, high = jackknife(value, replicates)
    interval = Interval(math.exp(max(0.0, low)), min(p.shape[1], math.exp(high)))
    how = f"all examples as one split; jackknife over {GROUPS} groups"
    return Estimate(math.exp(value), interval, how)


def _mutual_information(p: Tensor) -> float:
    """E_x KL(p(y | x) || p(y)) in nats, with 0 log 0 = 0."""
    inside = p.xlogy(p).sum(dim=1).mean()
    marginal = p.mean(dim=0)
    return max(0.0, float(inside - marginal.xlogy(marginal).sum()))
