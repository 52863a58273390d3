"""From a user's data to tensors: which domain, which split, which view for which family."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from likewise.core import registry
from likewise.core.condition import Batch, Labels
from likewise.core.contract import Domain, Family, Source
from likewise.core.errors import DataError, LikewiseError, UsageError, must
from likewise.core.records import PARTS, Part, Records, Split, distinct, split
from likewise.core.rng import Draws, fold, generator
from likewise.core.space import Sequence, Space

CHUNK = 1024
SPLIT_SEED = 0
MOST_SAMPLES = 5000
MOST_HELD_OUT = 20_000
AUDITED = 1000
MOST_VALUES = 1000  # different ones that are counted one by one
TEXTS = ("document", "passage")
LOST = 0.01  # of the characters, which a codec may leave out
FEW_VALUES = 20  # are always counted: more than a quarter of the records are texts, not groups


def load(data: Any, *, domain: str | None = None, **options: Any) -> Records:
    """Read data of the user's own: a path, a built-in name, arrays, pictures.

    Args:
        data: such as "digits", "photos/", "scans.zip", an array, (pictures, labels).
        domain: the kind of data; None to find out.
        **options: the domain's own, such as size=64 for pictures.

    Raises:
        DataError: nothing here can be read, and why.
        UsageError: no such domain or option.

    Example:
        >>> len(load("digits"))
        1797
    """
    if isinstance(data, Records):
        return data
    if isinstance(data, Path):
        data = str(data)
    if isinstance(data, str) and not data.strip():
        raise UsageError("the data has no name; give a path, or a built-in name such as digits.")
    kind = registry.get("domains", domain) if domain else kind_of(data)
    records: Records = kind.load(data, **options)
    return records


def kind_of(data: Any) -> type[Domain]:
    """The domain that some data are of, the surest one.

    Raises:
        DataError: there is no domain at all.
    """
    if isinstance(data, Records):
        return registry.get("domains", data.domain)
    if isinstance(data, Path):
        data = str(data)
    guesses = []
    for name in registry.names("domains"):
        try:
            kind = registry.get("domains", name)
        except UsageError:
            raise
        except LikewiseError:
            continue  # a broken domain takes nobody else down
        guesses.append((kind.recognises(data), kind))
    if not guesses:
        raise DataError("no domain is installed that could read any data.")
    # Where none is sure, the likeliest one's own refusal says best what is wrong.
    _, kind = max(guesses, key=lambda pair: pair[0].sure)
    found: type[Domain] = kind
    return found


def _check_spelled(domain: Domain, records: Records) -> None:
    """DataError if a codec that was fitted to other data leaves out much of these records."""
    sizes = domain.sizes(records)
    if sizes is None or not (lost := float(sizes.outside.sum())):
        return
    share = lost / math.log(0x110000) / float(sizes.units["character"].sum())
    if share > LOST:
        raise DataError(
            f"{share:.0%} of the characters of the data have no token in the model that training "
            "goes on from. Train a model of its own on them, or go on from one of bytes or BPE."
        )


def _unread(domain: Domain, records: Records) -> list[str]:
    """A note if records have labels that a codec, fitted to other data, knows nothing of."""
    known = {condition.name for condition in domain.conditions()}
    return [
        f"the {name}s of the data steer nothing: the model to go on from learned none."
        for name in records.conditions
        if name == "label" and name not in known
    ]


@dataclass(frozen=True)
class Prepared:
    """Records, their split, and the codec that was fitted on train.

    Attributes:
        records: all of them.
        split: which rows train, choose and test.
        domain: the fitted codec.
    """

    records: Records
    split: Split
    domain: Domain

    @classmethod
    def of(cls, records: Records, domain: Domain | None = None) -> "Prepared":
        """Split the records and fit the codec on train; a `domain` given is fitted already."""
        stratify = "label" if "label" in records.conditions else None
        parts = split(records, seed=SPLIT_SEED, stratify=stratify)
        if domain is None:
            domain = registry.get("domains", records.domain)()
            domain.fit(records.take(parts.train))
        elif domain.name != records.domain:
            remedy = "Train a model of its own on them."
            raise DataError(must("the data", f"{domain.name}, as before", records.domain, remedy))
        else:
            train = records.take(parts.train)
            domain = domain.widened(train)
            _check_spelled(domain, train)
            records = replace(records, notes=(*records.notes, *_unread(domain, records)))
        return cls(records, parts, domain)

    @property
    def space(self) -> Space:
        """The Space that measures read."""
        return self.domain.views()[0]

    @cached_property
    def distinct(self) -> Tensor:
        """(n,) bool: whether a record is the first of those that are equal or nearly equal."""
        return torch.from_numpy(distinct(self.records))

    def part(self, name: Part) -> Records:
        """The records of one part."""
        return self.records.take(self.split.part(name))

    def some(self, name: Part, n: int | None) -> Records:
        """n records of one part, evenly spread over it; None for all."""
        rows = self.split.part(name)
        if n is not None and n < len(rows):
            rows = rows[torch.arange(n).numpy() * len(rows) // n]
        return self.records.take(rows)

    def source(self, name: Part, space: Space | None = None, *, train: bool = False) -> Source:
        """One part as batches."""
        return self.domain.source(self.part(name), space or self.space, train=train)

    def tensors(
        self, name: Part, n: int | None = None, space: Space | None = None
    ) -> tuple[Tensor, Batch]:
        """n examples of one part, evenly spread over it, with their conditions.

        Data lie in some order, so the first n would be of one kind.
        """
        return gather(self.source(name, space), n)

    def held_out(self, name: Part) -> tuple[Tensor, Batch]:
        """What scores draw from: all of valid or test, or a great many, evenly spread."""
        return self.tensors(name, MOST_HELD_OUT)

    def asked(self, n: int) -> Batch:
        """What n samples are made after, of test records in random order, again if these are few.

        Nothing where samples are made freely.
        """
        rows = self.split.test
        order = torch.randperm(len(rows), generator=generator(fold(SPLIT_SEED, "asked")))
        chosen = rows[order[torch.arange(n) % len(rows)].numpy()]
        return self.domain.asks(self.records.take(chosen))

    def canonical(self, x: Tensor, space: Space) -> Tensor:
        """Examples of one of the domain's Spaces in the one that measures read.

        Sequences keep their tokens; of longer ones measures read the beginning.
        """
        if space == self.space:
            return x
        if isinstance(space, Sequence) and isinstance(self.space, Sequence):
            wide = self.space.length - space.length
            return x[:, : self.space.length] if wide <= 0 else pad(x, (0, wide), value=space.pad)
        records = self.domain.decode(x, space)
        return gather(self.domain.source(records, self.space, train=False))[0]

    def texts(self, x: Tensor) -> tuple[str, ...] | None:
        """Examples of the Space that measures read as texts; None where they are none."""
        return self.domain.texts(self.domain.decode(x, self.space))

    def most_samples(self) -> int:
        """How many samples can be compared with held-out examples at equal n."""
        return min(len(self.split.valid), len(self.split.test), MOST_SAMPLES)

    def audited(self) -> int:
        """How many samples an audit should read: enough to tell small effects from none."""
        return max(self.most_samples(), AUDITED)

    def view(self, family: type[Family[Any]]) -> Space | str:
        """The first view that a family can learn, or why it can learn none.

        Packed rows come first: a family that can learn them loses no time on padding.
        """
        reasons = []
        views = self.domain.views()
        for space in sorted(views, key=lambda space: not getattr(space, "packed", False)):
            why = family.refuses(space)
            if why is None:
                return space
            reasons.append(why)
        return "; ".join(dict.fromkeys(reasons))

    @cached_property
    def shares(self) -> dict[str, tuple[float, ...]]:
        """The share of each label in train, by condition."""
        counts = {
            condition.name: torch.zeros(len(condition.names), dtype=torch.float64)
            for condition in self.domain.conditions()
            if isinstance(condition, Labels)
        }
        if counts:
            for _, c in _chunks(self.source("train")):
                for name, count in counts.items():
                    values, present = c[name]
                    count += torch.bincount(values[present], minlength=len(count))
        return {name: tuple((count / count.sum()).tolist()) for name, count in counts.items()}

    def facts(self) -> dict[str, Any]:
        """What a report says of the data; no record among it."""
        hashes = self.records.hashes()
        return {
            "origin": self.records.origin,
            "domain": self.records.domain,
            "records": len(self.records),
            **self._documents(),
            "fingerprint": self.records.fingerprint(),
            "counts": {name: len(self.split.part(name)) for name in PARTS},
            "space": describe(self.space),
            "conditions": {
                name: _tally(name, values) for name, values in self.records.conditions.items()
            },
            "duplicates": len(hashes) - len(set(hashes)),
            **self._near(),
            "skipped": [vars(item) for item in self.records.skipped],
            "notes": [*self.records.notes, *self._moved()],
        }

    def _documents(self) -> dict[str, Any]:
        """How many texts or dialogues the records are pieces of, where they are; as words too."""
        count, pieces = self.records.facts.get("documents"), len(self.records)
        if not count or count == pieces:
            return {}
        whole, part = ("dialogue", "answer") if self.records.facts["roles"] else TEXTS
        amount = f"{_counted(count, whole)} in {_counted(pieces, part)}"
        return {"documents": count, "amount": amount}

    def _near(self) -> dict[str, Any]:
        """How many near-duplicates there are, where the domain looked for them."""
        near = self.records.facts.get("near")
        if near is None:
            return {}
        return {"near": {"records": near["pictures"], "clusters": near["clusters"]}}

    def _moved(self) -> list[str]:
        """A note on records that are not in the part that they came in."""
        given = self.records.given
        if given is None:
            return []
        moved = sum(
            given[row] not in ("", name)
            for name in PARTS
            if name in given
            for row in self.split.part(name).tolist()
        )
        if not moved:
            return []
        return [
            f"{moved} {'record was' if moved == 1 else 'records were'} moved to another part than "
            "the one given: a record of that part repeats it, or nearly, and must not be learned."
        ]

    def split_hashes(self) -> dict[str, list[str]]:
        """The hashes of the records of each part."""
        hashes = self.records.hashes()
        return {name: [hashes[row] for row in self.split.part(name)] for name in PARTS}


def gather(
    source: Source, n: int | None = None
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """n examples of a source, evenly spread over it and in its order, with their conditions."""
    count, at = len(source) if n is None else min(n, len(source)), 0
    whole: list[Tensor] = []  # one of each kind, filled in place: never held twice
    for x, c in _chunks(source, n):
        columns = [x, *(column for pair in c.values() for column in pair)]
        whole = whole or [column.new_empty(count, *column.shape[1:]) for column in columns]
        for into, column in zip(whole, columns, strict=True):
            into[at : at + len(x)] = column
        at, names = at + len(x), list(c)
    return whole[0], {name: (whole[1 + 2 * i], whole[2 + 2 * i]) for i, name in enumerate(names)}


def _chunks(source: Source, n: int | None = None) -> Iterator[tuple[Tensor, Batch]]:
    """n examples of a source, evenly spread over it, a chunk at a time."""
    n = len(source) if n is None else min(n, len(source))
    for first in range(0, n, CHUNK):
        places = torch.arange(first, min(first + CHUNK, n))
        yield source.batch(places * len(source) // n, Draws(0, first))


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def describe(space: Space) -> str:
    """A Space in a few words."""
    words = f"{space.kind} {'x'.join(map(str, space.shape))}"
    levels = getattr(space, "levels", None) or getattr(space, "categories", None)
    return f"{words}, {levels} levels" if levels else words


def _tally(name: str, values: tuple[Any, ...]) -> dict[str, int] | str:
    """How often each value stands, where values are few; texts are records and are not told."""
    if any(not isinstance(value, (str, int, bool, type(None))) for value in values):
        return f"{len(values)} values"
    counts: dict[str, int] = {}
    for value in values:
        word = "" if value is None else str(value)
        counts[word] = counts.get(word, 0) + 1
    most = MOST_VALUES if name == "label" else max(FEW_VALUES, len(values) // 4)
    if len(counts) > min(MOST_VALUES, most):
        return f"{len(counts)} different values"
    return dict(sorted(counts.items(), key=lambda pair: (len(pair[0]), pair[0])))
