"""What the audit reads: real records, further columns of the data, and what a model says of them.

Wherever not all records are read they are chosen at random: data often comes sorted by class, and
training records and others must differ in nothing but having been trained on.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from likewise.auditing.material import Losses, Reference
from likewise.core.condition import Batch, Labels
from likewise.core.errors import StoreError
from likewise.core.machine import memory
from likewise.core.records import Part
from likewise.core.rng import fold, generator
from likewise.core.space import Space
from likewise.evaluation.features import FeatureSet, Fit, labels_of
from likewise.evaluation.groups import (
    UNKNOWN,
    Columns,
    Group,
    columns,
    open_classifier,
    save_classifier,
    train_classifier,
)
from likewise.store.model import Model
from likewise.workbench.data import AUDITED, Prepared, gather

HELD_OUT: tuple[Part, Part] = ("valid", "test")
JUDGED = 500  # training records whose loss is asked, and as many others
SHARE = 8  # of the memory: more than one part in this many is too much for train as numbers
SHARED_STEPS = 3  # times the steps of one feature net, for the nets of all columns together


def reference(
    prepared: Prepared, features: FeatureSet, folder: Path, *, fit: Fit, seed: int, steps: int
) -> Reference:
    """The real records that every family of a run is judged against.

    Args:
        prepared: the data.
        features: the feature nets of the run.
        folder: where the nets for further columns are kept.
        fit: trains a Trainable in place.
        seed: of the choice of records, the nets and the controls.
        steps: of each feature net that is trained.
    """
    train, c = prepared.tensors("train", read(prepared))
    rows = {name: chosen(prepared, name, AUDITED, seed) for name in HELD_OUT}
    (valid, c_valid), (test, c_test) = (_read(prepared, name, rows[name]) for name in HELD_OUT)
    label = None
    known = labels_of(prepared.domain.conditions())
    if known is not None and features.classifier is not None:
        codes = [_codes(some, known) for some in (c, c_valid, c_test)]
        label = Group(
            classifier=features.classifier, train=codes[0], held_out=torch.cat(codes[1:])
        )
    return Reference(
        train=train,
        valid=valid,
        test=test,
        features=features,
        label=label,
        groups=_groups(prepared, rows, folder, fit=fit, seed=seed, steps=steps),
        seed=seed,
        by_place=bool(prepared.records.facts.get("by_place")),
    )


def read(prepared: Prepared) -> int:
    """How many training records the audit reads: all, or as many as an eighth of memory holds."""
    return min(len(prepared.split.train), memory() // SHARE // (4 * prepared.space.dimensions))


def unread(prepared: Prepared) -> dict[str, str]:
    """What the audit leaves out for want of memory, and why; nothing where train fits."""
    count, some = len(prepared.split.train), read(prepared)
    if some == count:
        return {}
    return {
        f"copies of the other {count - some:,} training records": (
            f"memory holds {some:,} of {count:,} as numbers; these, evenly spread, were compared"
        )
    }


def unasked(prepared: Prepared) -> dict[str, str]:
    """What the audit of any family of this data leaves out, and why."""
    return {**groupable(prepared).left_out, **unread(prepared)}


def groupable(prepared: Prepared) -> Columns:
    """The columns of the data, besides what families are steered by, that can be read off."""
    split = prepared.split
    return columns(
        prepared.records.conditions,
        train=split.train.tolist(),
        held_out=[*split.valid.tolist(), *split.test.tolist()],
        but={condition.name for condition in prepared.domain.conditions()},
    )


def losses(
    prepared: Prepared,
    model: Model,
    real: Reference,
    *,
    draws: int,
    judged: int | None,
) -> Losses | None:
    """The log mass of training records and of others, asked alike; None without a density.

    Args:
        prepared: the data.
        model: whose `log_mass` is asked.
        real: what the audit of this run reads.
        draws, judged: how many noise draws the model's likelihood averages over, and how many
            records it reads (None for all). Here both halves cost what that does, of more records
            and fewer draws where it can be so.
    """
    space = model.family.space
    if model.family.claims.density.get(type(space)) is None:
        return None
    afforded = draws * (judged or JUDGED)
    count = min(JUDGED, afforded)
    parts = asked_rows(prepared, real, draws=draws, judged=judged)
    found = [_read(prepared, name, rows, space) for name, rows in parts]
    x = torch.cat([x for x, _ in found])
    c = {
        name: (
            torch.cat([c[name][0] for _, c in found]),
            torch.cat([c[name][1] for _, c in found]),
        )
        for name in found[0][1]
    }
    seed = fold(real.seed, "membership")
    with torch.no_grad():
        values = model.log_mass(x, c, seed=seed, draws=afforded // count)
    train, valid, test = values.double().split([len(rows) for _, rows in parts])
    return Losses(train, valid, test)


def asked_rows(
    prepared: Prepared, real: Reference, *, draws: int, judged: int | None
) -> tuple[tuple[Part, Tensor], ...]:
    """Which records of each part a model's likelihood is asked of; see `losses`."""
    count = min(JUDGED, draws * (judged or JUDGED))
    return (
        ("train", real.asked[:count] * len(prepared.split.train) // len(real.train)),
        ("valid", chosen(prepared, "valid", AUDITED, real.seed)[: count - count // 2]),
        ("test", chosen(prepared, "test", AUDITED, real.seed)[: count // 2]),
    )


def chosen(prepared: Prepared, name: Part, most: int, seed: int) -> Tensor:
    """At most so many rows of a part, in random order, one of each that is repeated: (n,) int64.

    Repeats stay in one part, so a held-out record with a twin would be nearer to others held out
    than any record can be to train, and an honest model would look as if it copied.
    """
    alone = prepared.distinct[torch.from_numpy(prepared.split.part(name))]
    rows = alone.nonzero()[:, 0]
    draw = generator(fold(seed, "audited", name))
    return rows[torch.randperm(len(rows), generator=draw)[:most]]


def _read(
    prepared: Prepared, name: Part, rows: Tensor, space: Space | None = None
) -> tuple[Tensor, Batch]:
    """Some rows of a part as tensors, in the order of `rows`."""
    records = prepared.records.take(prepared.split.part(name)[rows.numpy()])
    return gather(prepared.domain.source(records, space or prepared.space, train=False))


def _codes(c: Batch, label: Labels) -> Tensor:
    """The number of each example's label, `UNKNOWN` where it has none: (n,) int64."""
    values, present = c[label.name]
    return torch.where(present, values, UNKNOWN)


def _groups(
    prepared: Prepared,
    rows: Mapping[Part, Tensor],
    folder: Path,
    *,
    fit: Fit,
    seed: int,
    steps: int,
) -> tuple[Group, ...]:
    """Each column of the data with its net, out of the folder or trained into it."""
    found, groups = groupable(prepared).found, []
    source, parts = prepared.source("train"), prepared.split
    each = min(steps, SHARED_STEPS * steps // max(1, len(found)))
    for labels, values in found.values():
        mine = values[parts.train]
        try:
            net = open_classifier(folder, prepared.space, labels)
        except StoreError:
            net = train_classifier(labels, mine, source, fit=fit, seed=seed, steps=each)
            save_classifier(folder, net)
        held_out = torch.cat([values[parts.part(name)][rows[name]] for name in HELD_OUT])
        groups.append(Group(classifier=net, train=mine, held_out=held_out))
    return tuple(groups)
