"""Labels: is a class dropped, are the shares of the classes kept?

An outside classifier, trained on real training records, names the class of each sample. Shares are
compared with those that the same classifier finds in training records, so that most of its
mistakes cancel (it makes fewer on records that it was trained on). Cannot see anything about
groups that no label names.
"""

from dataclasses import replace

import torch
from torch import Tensor

from likewise.auditing.rule import Effect, Material, Rule
from likewise.core.rng import fold, generator
from likewise.measures.intervals import wilson

SMALLEST = 0.01
DROPPED = 0.75
SHIFTED = 0.1


def _applies(material: Material) -> str | None:
    return None if material.features.classifier is not None else "the data has no labels"


def _some_large(material: Material) -> str | None:
    if _applies(material) is not None or material.labels is None:
        return _applies(material)
    shares = torch.bincount(material.labels, minlength=1).double() / len(material.labels)
    enough = bool((shares >= 2 * SMALLEST).any())
    return None if enough else "no class is large enough to tell"


def _named(material: Material, x: Tensor) -> Tensor:
    """The class of each example by the classifier, (n,) int64."""
    classifier = material.features.classifier
    assert classifier is not None
    return classifier.probabilities(x).argmax(dim=1).cpu()


def _shares(material: Material) -> Tensor:
    """The share of each class in train, as the classifier sees it."""
    found = _named(material, material.train)
    return torch.bincount(found, minlength=len(material.names)).double() / len(found)


def _intervals(material: Material, level: float) -> tuple[Tensor, list[tuple[float, float]]]:
    """The share of each class among the samples, and intervals that hold for all classes."""
    counts = torch.bincount(_named(material, material.samples), minlength=len(material.names))
    n = len(material.samples)
    each = 1.0 - (1.0 - level) / len(material.names)
    return counts.double() / n, [wilson(int(count), n, each) for count in counts]


def _dropped(material: Material, level: float) -> Effect:
    expected = _shares(material)
    shares, intervals = _intervals(material, level)
    large = [k for k in range(len(material.names)) if expected[k] >= SMALLEST]
    lost = {k: 1.0 - float(shares[k] / expected[k]) for k in large}
    worst = max(large, key=lambda k: lost[k])
    ends = [tuple(1.0 - end / float(expected[k]) for end in reversed(intervals[k])) for k in large]
    name, n = material.names[worst], len(material.samples)
    return Effect(
        value=max(lost[worst], 0.0),
        low=max(low for low, _ in ends),
        high=max(high for _, high in ends),
        matters=DROPPED,
        sentence=(
            f"The class that lost most is {name!r}: {shares[worst]:.1%} of {n} samples, "
            f"{expected[worst]:.1%} of the training records."
        ),
        n=n,
        evidence={"classes": len(large), "class": name},
    )


def _shifted(material: Material, level: float) -> Effect:
    expected = _shares(material)
    shares, intervals = _intervals(material, level)
    away = (shares - expected).abs()
    worst = int(away.argmax())
    ends = [
        (max(low - e, e - high, 0.0), max(high - e, e - low))
        for (low, high), e in zip(intervals, expected.tolist(), strict=True)
    ]
    name = material.names[worst]
    return Effect(
        value=float(away[worst]),
        low=max(low for low, _ in ends),
        high=max(high for _, high in ends),
        matters=SHIFTED,
        sentence=(
            f"The share that moved most is that of {name!r}: {shares[worst]:.1%} of the samples, "
            f"{expected[worst]:.1%} of the training records."
        ),
        n=len(material.samples),
        evidence={"total_variation": float(away.sum() / 2)},
    )


def _without_a_class(material: Material) -> Material:
    """Never-trained records without the most common class, filled up with the others."""
    new = torch.cat([material.valid, material.test])
    found = _named(material, new)
    rows = (found != found.mode().values).nonzero().flatten()
    return _again(material, new[rows])


def _crowded(material: Material) -> Material:
    """Never-trained records of which half are of the most common class."""
    new = torch.cat([material.valid, material.test])
    found = _named(material, new)
    crowd = new[found == found.mode().values]
    crowd = crowd[torch.arange(len(new)) % len(crowd)]
    return _again(material, torch.cat([new, crowd]))


def _real(material: Material) -> Material:
    """Never-trained records."""
    return _again(material, torch.cat([material.valid, material.test]))


def _again(material: Material, records: Tensor) -> Material:
    """Material whose samples are these records, over and over, as many as the real samples."""
    if not len(records):
        return replace(material, samples=material.test)
    order = torch.randperm(
        len(records), generator=generator(fold(material.seed, "audit", "labels"))
    )
    rows = order[torch.arange(len(material.samples)) % len(records)]
    return replace(material, samples=records[rows])


DROPPED_CLASSES = Rule(
    name="dropped classes",
    effect=_dropped,
    positive=_without_a_class,
    negative=_real,
    applies=_some_large,
)
LABEL_SHARES = Rule(
    name="label shares",
    effect=_shifted,
    positive=_crowded,
    negative=_real,
    applies=_applies,
)
