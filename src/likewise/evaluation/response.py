"""Do the distances rise when real examples are made worse? A check of each feature net, per run.

A feature net is only worth its distances if they grow with what a generator may get wrong. So real
held-out examples are halved: one half is the reference, the other is made worse step by step
(Heusel et al., 2017, section 4 and appendix A1, did so with Inception), and the Fréchet distance
between them must rise at each step.

| corruption | of | strength |
|---|---|---|
| blur | pictures | standard deviation in pixels of a picture of 32, in proportion for larger |
| noise | pictures | standard deviation of normal noise, as a share of the range of values |
| swapped entries | all else | share of entries that come from another example |
| dropped classes | data with labels | share that the first half of the classes has lost |
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.rng import Draws, fold
from likewise.core.space import Continuous, Space
from likewise.measures.frechet import frechet
from likewise.measures.measure import RefusalError
from likewise.nn.contrastive import swap
from likewise.nn.trunk import is_picture

EXAMPLES = 1000  # that are looked at, at most
LEAST = 40
BLUR = (0.5, 1.0, 2.0)
NOISE = (0.1, 0.2, 0.4)
SWAPPED = (0.1, 0.2, 0.4)
DROPPED = (1 / 3, 2 / 3, 1.0)


@dataclass(frozen=True, kw_only=True)
class Response:
    """How one net's Fréchet distance answers to one corruption.

    Attributes:
        net: its name.
        corruption: "blur", "noise", "swapped entries" or "dropped classes".
        strengths: rising, from 0, where nothing was done.
        distances: from the untouched half, one for each strength; NaN where the net's features
            of the examples are no numbers.
    """

    net: str
    corruption: str
    strengths: tuple[float, ...]
    distances: tuple[float, ...]

    @property
    def rises(self) -> bool:
        """Whether each step of the corruption raised the distance.

        Example:
            >>> steps = dict(net="pca", corruption="blur", strengths=(0.0, 0.5, 1.0))
            >>> Response(**steps, distances=(0.1, 0.3, 0.9)).rises
            True
            >>> Response(**steps, distances=(0.1, 0.3, 0.2)).rises
            False
        """
        return all(before < after for before, after in pairwise(self.distances))


def responses(
    x: Tensor,
    labels: Tensor | None,
    features: Mapping[str, Callable[[Tensor], Tensor]],
    space: Space,
    *,
    seed: int = 0,
) -> tuple[Response, ...]:
    """The response of every net to every corruption that the Space has.

    Args:
        x: (n, ...) real held-out examples of the Space; at most 1000 are looked at.
        labels: (n,) int64 classes, below 0 where there is none; or None.
        features: maps from examples to (n, d) features, such as a FeatureSet.
        space: of x.
        seed: of halves and noise.

    Returns:
        one for each net and corruption; nothing below 40 examples.
    """
    if len(x) < LEAST:
        return ()
    rng = Draws(fold(seed, "response"))
    reference, changed = _halves(len(x), labels, rng)
    known = {name: net(x[reference]) for name, net in features.items()}
    found = []
    for corruption, steps in _corruptions(x[changed], labels, changed, space, rng):
        strengths = tuple(strength for strength, _ in steps)
        for name, net in features.items():
            distances = tuple(_distance(net(worse), known[name]) for _, worse in steps)
            found.append(
                Response(net=name, corruption=corruption, strengths=strengths, distances=distances)
            )
    return tuple(found)


def _distance(a: Tensor, b: Tensor) -> float:
    """The distance; NaN, which never rises, of features that a net blew up on."""
    try:
        return frechet(a.double(), b.double())
    except RefusalError:
        return math.nan


Steps = list[tuple[float, Tensor]]


def _corruptions(
    x: Tensor, labels: Tensor | None, rows: Tensor, space: Space, rng: Draws
) -> Iterator[tuple[str, Steps]]:
    """Each corruption with its steps, the first of which changes nothing."""
    if is_picture(space) and isinstance(space, Continuous):
        yield "blur", _steps(x, BLUR, lambda s: blur(x, s * _unit(x), space))
        noise = rng.normal(len(x), *space.shape)
        yield "noise", _steps(x, NOISE, lambda s: _noisy(x, noise * s, space))
    else:
        start = rng.draw

        def swapped(strength: float) -> Tensor:
            rng.draw = start  # the same draws, so that each step swaps what the last one did
            return swap(x, space, strength, rng)

        yield "swapped entries", _steps(x, SWAPPED, swapped)
    if labels is not None:
        yield from _dropped(x, labels[rows], rng)


def _steps(x: Tensor, strengths: tuple[float, ...], change: Callable[[float], Tensor]) -> Steps:
    return [(0.0, x), *((strength, change(strength)) for strength in strengths)]


def _unit(x: Tensor) -> float:
    """Pixels that count as one: those of a picture of 32, in proportion for larger ones."""
    return max(1.0, max(x.shape[2:]) / 32)


def blur(x: Tensor, deviation: float, space: Continuous) -> Tensor:
    """Pictures (n, channels, h, w) under a Gaussian of so many pixels; edges are repeated."""
    reach = math.ceil(3 * deviation)
    places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = (-places.square() / (2 * deviation**2)).exp()
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    n, channels, height, width = x.shape
    flat = x.reshape(n * channels, 1, height, width)
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), kernel)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3))
    return space.quantise(flat.reshape(x.shape))


def _noisy(x: Tensor, noise: Tensor, space: Continuous) -> Tensor:
    """Pictures with noise in units of their range, or of their deviation where they have none."""
    bounded = space.low is not None and space.high is not None
    size = (space.high or 0.0) - (space.low or 0.0) if bounded else float(x.std())
    return space.quantise(x + noise.to(x.device) * size)


def _dropped(x: Tensor, labels: Tensor, rng: Draws) -> Iterator[tuple[str, Steps]]:
    """The first half of the classes loses a growing share; others take the places that are free.

    So there are as many examples at each step, since the Fréchet distance of fewer is larger by
    itself, and most of them stay the same ones.
    """
    present = labels[labels >= 0].unique()
    away = (labels[:, None] == present[: len(present) // 2]).any(dim=1)
    hit, rest = away.nonzero()[:, 0], (~away).nonzero()[:, 0]
    least = len(rest)  # examples that are there when the classes are gone
    hits = least * len(hit) // len(x)
    if not hits or least < LEAST // 4:
        return
    leave = hit[_spread(len(hit), hits)]
    stay = _spread(len(rest), least - hits)
    come = rest[~torch.isin(torch.arange(len(rest)), stay)]  # as many as leave
    leave, come = (rows[rng.uniform(hits, 1)[:, 0].argsort()] for rows in (leave, come))
    steps = []
    for share in (0.0, *DROPPED):
        gone = round(share * hits)
        steps.append((share, x[torch.cat([rest[stay], leave[gone:], come[:gone]])]))
    yield "dropped classes", steps


def _halves(count: int, labels: Tensor | None, rng: Draws) -> tuple[Tensor, Tensor]:
    """Row numbers of two halves of at most `EXAMPLES`, with equal shares of the classes."""
    order = rng.uniform(count, 1)[:, 0].argsort()[:EXAMPLES]
    if labels is not None:
        order = order[labels[order].argsort(stable=True)]
    return order[0::2], order[1::2]


def _spread(count: int, wanted: int) -> Tensor:
    """`wanted` of `count` numbers, evenly spread."""
    return torch.arange(wanted) * count // max(1, wanted)
