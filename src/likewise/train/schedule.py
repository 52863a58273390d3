"""Step sizes over a plan, as a function of progress in [0, 1]."""

import math

from likewise.core.config import Optimizer


def rate(optimizer: Optimizer, progress: float) -> float:
    """The step size at `progress`: linear warm-up, then the schedule, down to `floor`.

    Args:
        optimizer: peak, schedule, warm-up share and floor.
        progress: of the plan, in [0, 1].

    Example:
        >>> cosine = Optimizer(learning_rate=1.0, schedule="cosine", warmup=0.0)
        >>> [round(rate(cosine, p), 2) for p in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]
    """
    if progress < optimizer.warmup:
        return optimizer.learning_rate * max(progress, 1e-3) / optimizer.warmup
    rest = (progress - optimizer.warmup) / max(1.0 - optimizer.warmup, 1e-9)
    falls = {
        "constant": 1.0,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * rest)),
        "linear": 1.0 - rest,
        "exponential": 0.01**rest,
        "step": 1.0 if rest < 0.5 else 0.1 if rest < 0.75 else 0.01,
    }
    share = optimizer.floor + (1.0 - optimizer.floor) * falls[optimizer.schedule]
    return optimizer.learning_rate * share
