"""Likelihood of held-out records: bits or nats per dimension."""

import math

import torch
from torch import Tensor

from likewise.measures.intervals import Interval, student_quantile
from likewise.measures.measure import Estimate, RefusalError, measure


@measure(unit="bits/dim", better="lower", kind="log_probs", minimum=lambda _: 2)
def bits_per_dim(log_masses: Tensor, *, dimensions: int | Tensor) -> Estimate:
    """-sum log2 p(x) / sum of dimensions: the length of a code for held-out records.

    Rewards giving held-out records probability; nothing generated is looked at, so it cannot see
    how samples look, nor copying. Masses only: an unbounded density is no code length (Theis et
    al., "A note on the evaluation of generative models", 2016).

    The interval is Student's over examples (of the ratio, linearised, where dimensions differ).

    Args:
        log_masses: (n,) in nats.
        dimensions: of one example, or (n,) where examples differ, such as lengths with the end.
    """
    return _per_dimension(log_masses / math.log(2), dimensions)


@measure(unit="nats/dim", better="lower", kind="log_probs", minimum=lambda _: 2)
def nats_per_dim(log_densities: Tensor, *, dimensions: int | Tensor) -> Estimate:
    """-sum log p(x) / sum of dimensions, of densities: it moves with the units of the data.

    Comparable between models of one Space only, and unbounded below where values repeat: a model
    that puts spikes on repeated values wins (Theis et al., 2016).

    Args:
        log_densities: (n,) in nats.
        dimensions: of one example, or (n,) where examples differ.
    """
    return _per_dimension(log_densities, dimensions)


@measure(unit="bits/byte", better="lower", kind="log_probs", minimum=lambda _: 2)
def bits_per_byte(log_masses: Tensor, *, dimensions: int | Tensor) -> Estimate:
    """-sum log2 p(x) / sum of bytes, the rate of a compressor.

    Comparable between tokenisers, which divide a text into more or fewer tokens but not bytes.

    Args:
        log_masses: (n,) of texts, in nats.
        dimensions: (n,) bytes of each text, its end counted as one.
    """
    return _per_dimension(log_masses / math.log(2), dimensions)


@measure(unit="bits/char", better="lower", kind="log_probs", minimum=lambda _: 2)
def bits_per_character(log_masses: Tensor, *, dimensions: int | Tensor) -> Estimate:
    """-sum log2 p(x) / sum of characters, the unit of most papers on models of characters.

    Comparable between tokenisers; not between alphabets, whose characters say more or less.

    Args:
        log_masses: (n,) of texts, in nats.
        dimensions: (n,) characters of each text, its end counted as one.
    """
    return _per_dimension(log_masses / math.log(2), dimensions)


@measure(unit="per token", better="lower", kind="log_probs", minimum=lambda _: 2)
def perplexity(log_masses: Tensor, *, dimensions: int | Tensor) -> Estimate:
    """exp of the nats a token: how many equally likely tokens would be as hard to guess.

    Comparable between models of one tokeniser only: coarser tokens are harder to guess.

    Args:
        log_masses: (n,) of texts, in nats.
        dimensions: (n,) tokens of each text, with the end.
    """
    rate, interval, how, _ = _per_dimension(log_masses, dimensions)
    ends = Interval(*map(math.exp, interval)) if interval else None
    return Estimate(math.exp(rate), ends, how)


def log_mean_exp(values: Tensor, dim: int = 0) -> Tensor:
    """log of the mean of exp along `dim`, without overflow: a bound averaged over noise draws.

    Example:
        >>> round(float(log_mean_exp(torch.tensor([1000.0, 1000.0]))), 3)
        1000.0
    """
    return torch.logsumexp(values, dim=dim) - math.log(values.shape[dim])


def _per_dimension(log_probs: Tensor, dimensions: int | Tensor) -> Estimate:
    values = log_probs.double()
    impossible = int(values.isneginf().sum())
    if impossible:
        raise RefusalError(f"{impossible} of {len(values)} held-out examples have probability 0.")
    sizes = torch.as_tensor(dimensions, dtype=torch.float64, device=values.device)
    sizes = sizes.expand(len(values))  # () or (n,) -> (n,)
    if not bool((sizes > 0).all()):
        raise RefusalError("every example must have at least one dimension.")
    ratio = float(-values.sum() / sizes.sum())
    # The linearised ratio: how far each example lies from what its size lets expect.
    residual = (-values - ratio * sizes) / sizes.mean()
    error = float(residual.square().sum() / (len(values) - 1)) ** 0.5 / math.sqrt(len(values))
    half = student_quantile(len(values) - 1) * error
    how = f"Student interval over {len(values)} examples"
    return Estimate(ratio, Interval(ratio - half, ratio + half), how)
