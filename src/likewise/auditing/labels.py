"""Labels and groups: is a class dropped, are the shares of classes and groups kept?

An outside classifier, trained on real training records, names the class of each sample.

* dropped classes: how often the class hit worst is named, against how often the same classifier
  names it among training records.
* shares: of the label, and of any further column of the data. How often the classifier takes one
  class for another is known from held-out records, and the shares are corrected for it: they are
  those that would have been read as they were (Gart and Buck, 1966; Forman, "Quantifying counts
  and costs via classification", 2008). The interval carries both samples and held-out records.
  A classifier that is hardly better than chance proves nothing: of the label the rule says
  unknown, and it leaves a further column out.

Cannot see anything about groups that no column names, nor tell a share that moved from samples
that look like another group.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import TypeAlias

import torch
from torch import Tensor

from likewise.auditing.material import Material, Reference
from likewise.auditing.rule import Effect, Rule, no_reason
from likewise.evaluation.groups import Group
from likewise.measures.intervals import wilson

SMALLEST = 0.01
DROPPED = 0.75
SHIFTED = 0.1
SKILL = 0.2  # of a classifier, where 0 is chance and 1 is never wrong
STEADY = 1e4  # condition number of a confusion that can still be undone

Pick: TypeAlias = Callable[[Material], Group | None]


def _label(material: Material) -> Group | None:
    return material.reference.label


def _known(values: Tensor) -> Tensor:
    return values[values >= 0]


def _shares(values: Tensor, count: int) -> Tensor:
    """The share of each of `count` values: (count,) float64."""
    return torch.bincount(values, minlength=count).double() / max(1, len(values))


# -- dropped classes ----------------------------------------------------------------------


def _unlabelled(material: Material) -> str | None:
    return None if _label(material) is not None else "the data has no labels"


def _some_large(material: Material) -> str | None:
    group = _label(material)
    if group is None:
        return _unlabelled(material)
    enough = bool((_shares(_known(group.train), len(group.names)) >= 2 * SMALLEST).any())
    return None if enough else "no class is large enough to tell"


def _dropped(material: Material, level: float) -> Effect:
    real, group = material.reference, _label(material)
    assert group is not None
    names, n = group.names, len(material.samples)
    expected = real.once("read train", lambda: _shares(group.read(real.train), len(names)))
    counts = torch.bincount(group.read(material.samples), minlength=len(names))
    each = 1.0 - (1.0 - level) / len(names)
    intervals = [wilson(int(count), n, each) for count in counts]
    large = [k for k in range(len(names)) if expected[k] >= SMALLEST]
    lost = {k: 1.0 - float(counts[k] / n / expected[k]) for k in large}
    worst = max(large, key=lambda k: lost[k])
    ends = [tuple(1.0 - end / float(expected[k]) for end in reversed(intervals[k])) for k in large]
    return Effect(
        value=max(lost[worst], 0.0),
        low=max(low for low, _ in ends),
        high=max(high for _, high in ends),
        matters=DROPPED,
        sentence=(
            f"The class that lost most is {names[worst]!r}: {counts[worst] / n:.1%} of {n} "
            f"samples, {expected[worst]:.1%} of the training records."
        ),
        n=n,
        evidence={"classes": len(large), "class": names[worst]},
    )


def _without_a_class(material: Material) -> Material:
    """Never-trained records without the most common class, filled up with the others."""
    real, group = material.reference, _label(material)
    assert group is not None
    found = group.read(real.held_out)
    rows = (found != found.mode().values).nonzero().flatten()
    return _again(material, real.held_out[rows])


# -- shares -------------------------------------------------------------------------------


def _confusion(real: Reference, group: Group) -> Tensor:
    """How often held-out records of one value are read as another: (true, read) counts."""

    def count() -> Tensor:
        read, true, k = group.read(real.held_out), group.held_out, len(group.names)
        pairs = (true * k + read)[true >= 0]
        return torch.bincount(pairs, minlength=k * k).reshape(k, k).double()

    return real.once(("confusion", group.name), count)


def _rates(confusion: Tensor) -> Tensor:
    """(true, read) how likely each reading is, with one right reading of each value added.

    A value without held-out records is then taken to be read rightly.
    """
    counts = confusion + torch.eye(len(confusion), dtype=torch.float64)
    return counts / counts.sum(dim=1, keepdim=True)


def _corrected(read: Tensor, confusion: Tensor) -> tuple[Tensor, Tensor]:
    """Shares that would be read as these counts (k,) were, and their standard errors.

    The errors are those of the delta method, of smoothed counts: few are never certain.
    """
    undo = torch.linalg.inv(_rates(confusion).T)
    shares = undo @ (read.double() / read.sum())
    spread = _multinomial(read.double())
    for share, row in zip(shares, confusion, strict=True):
        spread = spread + share**2 * _multinomial(row)
    covariance = undo @ spread @ undo.T
    return shares.clamp(0.0, 1.0), covariance.diagonal().clamp(min=0.0).sqrt()


def _multinomial(counts: Tensor) -> Tensor:
    """(k, k) the covariance of shares that were estimated by these counts (k,)."""
    smooth = (counts + 1.0 / len(counts)) / (counts.sum() + 1.0)
    return (smooth.diag() - torch.outer(smooth, smooth)) / (counts.sum() + 1.0)


def _shifted(material: Material, level: float, group: Group) -> Effect:
    confusion, names = _confusion(material.reference, group), group.names
    expected = _shares(_known(group.train), len(names))
    read = torch.bincount(group.read(material.samples), minlength=len(names))
    shares, errors = _corrected(read, confusion)
    half = NormalDist().inv_cdf(1.0 - (1.0 - level) / 2 / len(names)) * errors
    low, high = (shares - half).clamp(min=0.0), (shares + half).clamp(max=1.0)
    away = (shares - expected).abs()
    worst = int(away.argmax())
    least = torch.maximum(low - expected, expected - high).clamp(min=0.0)
    most = torch.maximum(high - expected, expected - low)
    return Effect(
        value=float(away[worst]),
        low=float(least.max()),
        high=float(most.max()),
        matters=SHIFTED,
        sentence=(
            f"The share of {group.name!r} that moved most is that of {names[worst]!r}: "
            f"{shares[worst]:.1%} of the samples, {expected[worst]:.1%} of the training records."
        ),
        n=len(material.samples),
        evidence={
            "total_variation": float(away.sum() / 2),
            "classifier_right": float(_rates(confusion).diagonal().mean()),
        },
    )


def _weak(material: Material, group: Group) -> str | None:
    """Why the classifier can tell nothing, or None."""
    rates, k = _rates(_confusion(material.reference, group)), len(group.names)
    right = float(rates.diagonal().mean())
    if (right - 1 / k) / (1 - 1 / k) >= SKILL and torch.linalg.cond(rates) < STEADY:
        return None
    return (
        f"Nothing can be said of {group.name!r}: the classifier that reads it off is right on "
        f"{right:.0%} of held-out records (mean over its values), where {1 / k:.0%} is chance."
    )


def _crowded(material: Material, group: Group) -> Material:
    """Never-trained records of which half are of one value that few of them have.

    The commonest of those that at most half have, so that its share clearly moves.
    """
    real = material.reference
    counts = torch.bincount(_known(group.held_out), minlength=len(group.names))
    counts[2 * counts > counts.sum()] = 0
    crowd = real.held_out[group.held_out == counts.argmax()]
    crowd = crowd[torch.arange(len(real.held_out)) % max(1, len(crowd))]
    return _again(material, torch.cat([real.held_out, crowd]))


def _real(material: Material) -> Material:
    """Never-trained records."""
    return _again(material, material.reference.held_out)


def _again(material: Material, records: Tensor) -> Material:
    """Material whose samples are these records, over and over, as many as the real samples."""
    if not len(records):
        return replace(material, samples=material.reference.test)
    order = torch.randperm(len(records), generator=material.reference.draw("labels"))
    rows = order[torch.arange(len(material.samples)) % len(records)]
    return replace(material, samples=records[rows])


def _shares_rule(name: str, pick: Pick) -> Rule[Material]:
    """The rule that the shares of one column are kept."""

    def group(material: Material) -> Group:
        found = pick(material)
        assert found is not None
        return found

    return Rule(
        name=name,
        effect=lambda material, level: _shifted(material, level, group(material)),
        positive=lambda material: _crowded(material, group(material)),
        negative=_real,
        applies=lambda material: None if pick(material) is not None else _unlabelled(material),
        unable=lambda material: _weak(material, group(material)),
    )


def group_shares(column: str) -> Rule[Material]:
    """The rule that the shares of a further column are kept.

    A column that cannot be read off the records (who wrote a digit) has no shares among samples:
    the rule does not apply, and says why. The label is asked for, so there it says unknown.
    """

    def pick(material: Material) -> Group | None:
        return next((one for one in material.reference.groups if one.name == column), None)

    rule = _shares_rule(f"shares of {column}", pick)
    return replace(rule, applies=rule.unable, unable=no_reason)


DROPPED_CLASSES = Rule(
    name="dropped classes",
    effect=_dropped,
    positive=_without_a_class,
    negative=_real,
    applies=_some_large,
)
LABEL_SHARES = _shares_rule("label shares", _label)
