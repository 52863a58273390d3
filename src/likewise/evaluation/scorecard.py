"""A model's scorecard: every measure that its samples, or its likelihoods, allow.

All rows of a leaderboard are measured on the same held-out examples, at the same n, in the same
features. What cannot be measured is a Score without a value that says why.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likewise.core.contract import Role, Sizes
from likewise.core.errors import DataError, UsageError, must
from likewise.core.results import Score
from likewise.core.rng import fold, generator
from likewise.core.space import Continuous, Mixed, Sequence, Space
from likewise.evaluation.features import FeatureSet
from likewise.measures.frechet import frechet_distance
from likewise.measures.inception import inception_score
from likewise.measures.kernel import kernel_distance
from likewise.measures.labels import label_accuracy
from likewise.measures.likelihood import (
    bits_per_byte,
    bits_per_character,
    bits_per_dim,
    nats_per_dim,
    perplexity,
)
from likewise.measures.manifold import Balls, coverage, density, precision, recall
from likewise.measures.measure import Measure

DISTANCES: Mapping[str, Measure] = {"fd": frechet_distance, "kd": kernel_distance}
PER_UNIT: Mapping[str, Measure] = {"byte": bits_per_byte, "character": bits_per_character}
MANIFOLD: tuple[Measure, ...] = (precision, recall, density, coverage)


def score_samples(
    samples: Tensor,
    reference: Tensor,
    features: FeatureSet,
    *,
    n: int,
    labels: Tensor | None = None,
    seed: int = 0,
) -> dict[str, Score]:
    """Scores of samples against held-out examples, by name.

    `fd_*` and `kd_*` for each feature net; precision, recall, density and coverage in classifier
    features, or in contrastive ones where there is no classifier; inception_score with a
    classifier, and label_accuracy if the samples were asked to be of given classes. For the
    floor, pass valid examples as the samples and test examples as the reference.

    Args:
        samples: (at least n, ...) of `features.space`.
        reference: (at least n, ...) held-out examples.
        features: one set for all rows of a leaderboard.
        n: how many of each are compared, drawn by the seed; the same for all rows.
        labels: (len(samples),) int64, the class that each sample was asked for, or None.
        seed: of which examples are taken.

    Raises:
        UsageError: n is below 1, or the labels are not one per sample.
    """
    if n < 1:
        raise UsageError(must("n", "at least 1", n))
    if labels is not None and len(labels) != len(samples):
        raise UsageError(must("labels", f"one per sample ({len(samples)})", len(labels)))
    why = _unusable(samples, reference, features.space, n)
    if why:
        return {name: m.missing(why) for name, m in _measures(features, labels).items()}
    chosen = _some(len(samples), n, seed, "samples").to(samples.device)
    real = reference[_some(len(reference), n, seed, "reference").to(reference.device)]
    made = samples[chosen]
    scores = {}
    for name, net in features.items():
        pair = (net(made), features.known(name, real))
        balls = Balls(*pair)
        said = _said_of(name, features)
        for title, measure in _of_features(name, features).items():
            score = measure(*pair, balls=balls) if measure in MANIFOLD else measure(*pair)
            how = f"{score.how}; {said}"
            scores[title] = replace(score, how=how) if score.value is not None else score
    if features.classifier is not None:
        probabilities = features.classifier.probabilities(made)
        scores["inception_score"] = inception_score(probabilities)
        if labels is not None:
            asked = labels[chosen.to(labels.device)]
            scores["label_accuracy"] = label_accuracy(probabilities, labels=asked)
    return scores


def score_likelihood(
    log_probs: Tensor, dimensions: int | Tensor, *, comparable: bool = True, bound: bool = False
) -> Score:
    """The Score "nll" of held-out examples: bits/dim of masses, nats/dim of densities.

    Args:
        log_probs: (n,) in nats.
        dimensions: see `dimensions_of`.
        comparable: whether they are masses, see `counted`; a density has another unit, so that it
            is never ranked with code lengths.
        bound: whether they are lower bounds, so that the value is an upper one.
    """
    measure = bits_per_dim if comparable else nats_per_dim
    score = measure(log_probs, dimensions=dimensions)
    words = ["an upper bound: the model's log_prob is a lower one"] if bound else []
    if not comparable:
        words.append("a density, which moves with the units: not a code length")
    how = "; ".join([score.how, *words]) if score.value is not None else ""
    return replace(score, how=how)


def score_sizes(
    log_masses: Tensor, sizes: Sizes, tokens: int | Tensor, *, bound: bool = False
) -> dict[str, Score]:
    """Scores of held-out texts by what their size is: bits a byte, bits a character, perplexity.

    Args:
        log_masses: (n,) in nats, of what stands in the tensors.
        sizes: of the records; what their tensors leave out is added.
        tokens: (n,) of each.
        bound: whether they are lower bounds, so that the values are upper ones.
    """
    whole = log_masses.double() - sizes.outside
    scores = {
        f"bits_per_{unit}": PER_UNIT[unit](whole, dimensions=sizes.units[unit])
        for unit in sizes.units
    }
    scores["perplexity"] = perplexity(log_masses, dimensions=tokens)
    words = "; an upper bound: the model's log_prob is a lower one" if bound else ""
    return {
        name: replace(score, how=score.how + words) if score.value is not None else score
        for name, score in scores.items()
    }


def counted(space: Space) -> bool:
    """Whether a `log_prob` on this Space is the log mass of a cell, comparable as a code length.

    Example:
        >>> counted(Continuous(shape=(2,))), counted(Continuous(shape=(2,), low=0.0, step=1.0))
        (False, True)
    """
    if isinstance(space, Continuous):
        return space.step is not None
    if isinstance(space, Mixed):
        return all(c.kind == "category" or c.step is not None for c in space.columns)
    return True


def dimensions_of(space: Space, x: Tensor) -> int | Tensor:
    """What `score_likelihood` divides by: a number, or for sequences (n,) lengths with the end."""
    if isinstance(space, Sequence):
        return space.mask(x).sum(dim=1)
    return space.dimensions


def excess(distance: Score, floor: Score, independent: Score) -> Score:
    """(distance - floor) / (independent - floor): 0 for real data, 1 for the independent baseline.

    The interval carries those of all three on, as if they were independent.
    """
    missing = [s for s in (distance, floor, independent) if s.value is None]
    blank = Score(value=None, unit="1", better="lower", n=distance.n)
    if missing:
        return replace(blank, why=f"it needs three distances; {missing[0].why}")
    value, zero, one = (float(s.value or 0.0) for s in (distance, floor, independent))
    span = one - zero
    ends = (_half(floor), _half(independent))
    if not span > math.hypot(*(end or 0.0 for end in ends)):
        why = "the independent baseline is not measurably further from real data than real data is"
        return replace(blank, why=why)
    share = (value - zero) / span
    halves = (_half(distance), *ends)
    how = "(distance - real vs real) / (independent - real vs real)"
    if None in halves:
        return replace(blank, value=share, how=how)
    weights = (1.0, 1.0 - share, share)
    half = math.hypot(*(w * (h or 0.0) for w, h in zip(weights, halves, strict=True))) / span
    return replace(blank, value=share, low=share - half, high=share + half, how=how)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a leaderboard.

    Attributes:
        name: of the family, or of a row that evaluation adds (real vs real).
        role: only a "model" can be best.
        scores: by name.
    """

    name: str
    role: Role
    scores: Mapping[str, Score]


def rank(rows: Iterable[Row], headline: str) -> list[str]:
    """Names, best first by the headline: models, then baselines, then controls.

    A row without the headline comes last among its role. Rows whose intervals overlap are still
    ordered by value: ask `ties` which orders mean nothing.

    Raises:
        UsageError: the rows' headlines have different units or directions.
    """
    listed = list(rows)
    _check_comparable(listed, headline)
    return [row.name for row in sorted(listed, key=lambda row: _place(row, headline))]


def ties(rows: Iterable[Row], headline: str) -> dict[str, tuple[str, ...]]:
    """{name: the other rows, of any role, whose interval of the headline overlaps its own}."""
    listed = list(rows)
    _check_comparable(listed, headline)
    known = [(row.name, s) for row in listed if (s := _measured(row, headline)) is not None]
    overlaps = {
        name: tuple(other for other, theirs in known if other != name and score.ties(theirs))
        for name, score in known
    }
    return {row.name: overlaps.get(row.name, ()) for row in listed}


def _place(row: Row, headline: str) -> tuple[int, bool, float, str]:
    role = ("model", "baseline", "control").index(row.role)
    score = _measured(row, headline)
    if score is None or score.value is None:
        return role, True, 0.0, row.name
    return role, False, score.value if score.better == "lower" else -score.value, row.name


def _measured(row: Row, headline: str) -> Score | None:
    score = row.scores.get(headline)
    return score if score is not None and score.value is not None else None


def _check_comparable(rows: list[Row], headline: str) -> None:
    scores = [score for row in rows if (score := _measured(row, headline)) is not None]
    kinds = sorted({f"{score.unit}, {score.better} is better" for score in scores})
    if len(kinds) > 1:
        raise UsageError(must(f"{headline!r}", "of one unit in all rows", kinds))


def _measures(features: FeatureSet, labels: Tensor | None) -> dict[str, Measure]:
    """All that `score_samples` measures, by the name of the score."""
    measures: dict[str, Measure] = {}
    for name in features:
        measures |= _of_features(name, features)
    if features.classifier is not None:
        measures["inception_score"] = inception_score
        if labels is not None:
            measures["label_accuracy"] = label_accuracy
    return measures


def _said_of(name: str, features: FeatureSet) -> str:
    """In which features a score was made, and what they were found to be blind to."""
    said = f"{name} features {features.hashes[name][:12]}"
    if not features.checked(name):
        said += ", whose response was not checked"
    unmoved = features.unmoved(name)
    if unmoved:
        said += (
            f", whose distance did not rise step by step when real examples were made worse by "
            f"{' and by '.join(unmoved)}: read it with care"
        )
    return said


def _of_features(name: str, features: FeatureSet) -> dict[str, Measure]:
    """What is measured in one net's features: distances in all, manifolds in one."""
    measures = {f"{short}_{name}": measure for short, measure in DISTANCES.items()}
    if name == next(n for n in ("classifier", "contrastive", "random") if n in features):
        measures |= {measure.name: measure for measure in MANIFOLD}
    return measures


def _unusable(samples: Tensor, reference: Tensor, space: Space, n: int) -> str:
    """Why nothing can be measured, or ""."""
    for x, whose in ((samples, "generated"), (reference, "held-out")):
        if len(x) < n:
            return f"it compares {n} {whose} examples at once, and there are only {len(x)}"
        try:
            space.check(x)
        except DataError as error:
            return f"the {whose} examples are not of the data's space: {error}"
    return ""


def _some(count: int, n: int, seed: int, whose: str) -> Tensor:
    """n of `count` row numbers by a seed: rows often come sorted by class."""
    return torch.randperm(count, generator=generator(fold(seed, "score", whose)))[:n]


def _half(score: Score) -> float | None:
    """Half the width of an interval, the wider side where it is lopsided."""
    if score.value is None or score.low is None or score.high is None:
        return None
    return max(score.high - score.value, score.value - score.low)
