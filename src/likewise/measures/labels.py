"""Whether samples are what they were asked to be, in the eyes of a classifier.

As a score of conditional generators: Shmelkov et al., "How good is my GAN?", 2018.
"""

from torch import Tensor

from likewise.measures.intervals import wilson
from likewise.measures.measure import Estimate, RefusalError, measure


@measure(unit="1", better="higher", kind="probabilities", minimum=lambda k: 20)
def label_accuracy(probabilities: Tensor, *, labels: Tensor) -> Estimate:
    """The share of samples that the classifier takes for the class that was asked for.

    Rewards samples typical of their class. Cannot see variety within a class, nor a sample that
    only this classifier is fooled by; the classifier's own accuracy on held-out examples is what
    real data would score.

    The interval is Wilson's over samples.

    Args:
        probabilities: (n, classes) of the samples.
        labels: (n,) int64, the classes asked for.
    """
    if len(labels) != len(probabilities):
        sizes = f"{len(labels)} labels for {len(probabilities)} samples"
        raise RefusalError(f"it needs one label a sample; got {sizes}.")
    n = len(labels)
    right = int((probabilities.argmax(dim=1) == labels.to(probabilities.device)).sum())
    return Estimate(right / n, wilson(right, n), "Wilson interval over samples")
