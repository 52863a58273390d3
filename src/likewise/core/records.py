"""Records: a user's data as the user thinks of it, and how it is split."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from likewise.core.clusters import Clusters
from likewise.core.errors import DataError
from likewise.core.rng import fold

Part: TypeAlias = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")
Rows: TypeAlias = "npt.NDArray[np.int64]"


@dataclass(frozen=True)
class Skipped:
    """Something that loading had to leave out, and why."""

    what: str
    why: str


class Picked(Sequence[Any]):
    """Some rows of an array that is too large to copy; only what is asked for is read.

    Args:
        whole: the array, its first axis counts records.
        rows: (n,) int64 the rows of it.

    Example:
        >>> some = Picked(np.arange(10), np.array([7, 3, 5]))
        >>> len(some), int(some[1]), some[1:].tolist(), some[np.array([2, 0])].tolist()
        (3, 3, [3, 5], [5, 7])
    """

    def __init__(self, whole: "npt.NDArray[Any]", rows: Rows) -> None:
        self.whole = whole
        self.rows = rows
        self.shape = (len(rows), *whole.shape[1:])
        self.ndim = whole.ndim
        self.dtype = whole.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        return self.whole[self.rows[key]]

    def __iter__(self) -> Iterator[Any]:
        return (self.whole[row] for row in self.rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "npt.NDArray[Any]":
        return np.asarray(self.whole[self.rows], dtype=dtype)

    def pick(self, rows: Rows) -> "Picked":
        """Some of these rows."""
        return Picked(self.whole, self.rows[rows])


def mapped(items: Any) -> bool:
    """Whether an array lies in a file and is read as it is used (`np.load(mmap_mode="r")`)."""
    return isinstance(items, np.memmap)


@dataclass(frozen=True, kw_only=True)
class Records:
    """Data as the user thinks of it: pictures, rows, texts.

    Args:
        domain: the name of the domain that read them.
        items: one per record: an array whose first axis counts records, or a sequence. Of an
            array that lies in a file, `take` makes a `Picked` and copies nothing; a sequence that
            has a `pick(rows)` of its own picks for itself, and one that has `contents()` says
            what makes each item another one, where it is not the item alone.
        ids: what the user calls each record (a file name, a row number).
        conditions: {name: one value per record}; None where a record has no value.
        groups: records of one group never straddle a split (one patient, one tune), if given.
        near: the number of each record's cluster of near-duplicates, -1 for none, if there are
            any; a cluster never straddles a split.
        given: the split that the data came with (folders train/ valid/ test/), per record or "".
        skipped: what loading left out, and why.
        notes: what loading changed or assumed, in plain sentences.
        origin: the path or name that it came from.
        facts: what the domain must know besides (levels, colours, ...), as plain data. With
            "pieces" a record is a piece of its group (a passage of a document): what makes two
            groups one is all of them, not a piece (a licence at the head of each). With
            "by_place" the parts of a split are different places of few long records. With
            "made_from", the name of a condition, a record is another one where that differs (a
            translation and its source).
    """

    domain: str
    items: Any
    ids: tuple[str, ...]
    conditions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] | None = None
    near: tuple[int, ...] | None = None
    given: tuple[str, ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    origin: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in [("items", self.items), *self.conditions.items()]:
            if len(values) != len(self.ids):
                raise DataError(
                    f"{name} must be one per record ({len(self.ids)}); got {len(values)}."
                )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Iterable[int]) -> "Records":
        """Some of the records, in the order asked for."""
        index = np.asarray(list(rows), dtype=np.int64)

        def pick(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[i] for i in index)

        return replace(
            self,
            items=_taken(self.items, index),
            ids=pick(self.ids),
            conditions={name: pick(values) for name, values in self.conditions.items()},
            groups=pick(self.groups) if self.groups is not None else None,
            near=pick(self.near) if self.near is not None else None,
            given=pick(self.given) if self.given is not None else None,
        )

    def hashes(self) -> list[str]:
        """A hash of each record's content, computed once: equal records have equal hashes."""
        return self._hashes

    @cached_property
    def _hashes(self) -> list[str]:
        items: Iterable[Any] = self.items
        if hasattr(self.items, "contents"):
            items = self.items.contents()
        elif mapped(self.items):
            items = np.asarray(self.items)
        beside = self.conditions.get(self.facts.get("made_from", ""))
        if beside is None:
            return [_hash(item) for item in items]
        return [_hash((_hash(item), what)) for item, what in zip(items, beside, strict=True)]

    def fingerprint(self) -> str:
        """A hash of all records, their ids and their conditions, computed once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, part in zip(self.ids, self.hashes(), strict=True):
            digest.update(f"{name}\x1f{part}\x1e".encode())
        for name, values in sorted(self.conditions.items()):
            digest.update(f"{name}\x1f{values!r}\x1e".encode())
        return digest.hexdigest()


def _taken(items: Any, index: Rows) -> Any:
    if hasattr(items, "pick"):
        return items.pick(index)
    if mapped(items):
        return Picked(items, index)
    return items[index] if isinstance(items, np.ndarray) else tuple(items[i] for i in index)


@dataclass(frozen=True)
class Split:
    """Which rows train, choose and test; duplicates never straddle the parts."""

    train: Rows
    valid: Rows
    test: Rows

    def part(self, name: Part) -> Rows:
        """The rows of one part."""
        rows: Rows = getattr(self, name)
        return rows


FEWEST = 10  # clusters of one label that are split by themselves
SHARES: Mapping[Part, float] = {"train": 0.7, "valid": 0.15, "test": 0.15}


def split(records: Records, *, seed: int, stratify: str | None = None) -> Split:
    """Split records once: whole clusters of duplicates, near ones and groups, stratified.

    A split that the data came with (`given`) is kept: `test` stays test, `valid` stays valid, and
    what is missing is taken from train. A duplicate of a test record is moved out of train.

    Args:
        records: at least 3 distinct ones.
        seed: of the shuffle.
        stratify: the condition whose shares each part should keep, if any.

    Raises:
        DataError: there are too few distinct records for three parts.
    """
    clusters = _clusters(records, records.groups)
    if len(clusters) < len(PARTS):
        raise DataError(
            f"the data must hold at least 3 different records, one each to train, to choose and "
            f"to test; got {len(clusters)} among {len(records)}. Add more data."
        )
    parts: dict[Part, list[int]] = {name: [] for name in PARTS}
    open_clusters = []
    for rows in clusters:
        fixed = _given(records, rows)
        if fixed is None:
            open_clusters.append(rows)
        else:
            parts[fixed].extend(rows)
    wanted = _shares(parts, len(records))
    strata: dict[str, list[list[int]]] = {}
    labels = records.conditions.get(stratify) if stratify else None
    for rows in open_clusters:
        strata.setdefault(str(labels[rows[0]]) if labels else "", []).append(rows)
    for label, members in sorted(_pooled(strata).items()):
        order = np.random.default_rng(fold(seed, "split", label)).permutation(len(members))
        _deal([members[i] for i in order], wanted, parts)
    _fill_empty(parts, clusters)
    return Split(**{name: np.array(sorted(rows), dtype=np.int64) for name, rows in parts.items()})


def _pooled(strata: Mapping[str, list[list[int]]]) -> dict[str, list[list[int]]]:
    """Strata of which each part can have its share; what is too few for that is one more."""
    pooled: dict[str, list[list[int]]] = {}
    for label, members in strata.items():
        pooled.setdefault(label if len(members) >= FEWEST else "", []).extend(members)
    return pooled


def _shares(parts: Mapping[Part, list[int]], n: int) -> dict[Part, float]:
    """Shares for the records that no given split has placed."""
    if not parts["test"] and not parts["valid"]:
        return dict(SHARES)
    missing = [name for name in PARTS if not parts[name] and name != "train"]
    shares: dict[Part, float] = dict.fromkeys(missing, SHARES["valid"])
    return {"train": 1.0 - sum(shares.values()), **shares}


def _deal(
    members: list[list[int]], wanted: Mapping[Part, float], parts: dict[Part, list[int]]
) -> None:
    """Give each cluster to the part that is furthest below its share of this stratum."""
    total = sum(len(rows) for rows in members)
    dealt: dict[Part, int] = dict.fromkeys(wanted, 0)
    for rows in members:
        behind = {name: share * total - dealt[name] for name, share in wanted.items()}
        name = max(behind, key=lambda part: behind[part])
        dealt[name] += len(rows)
        parts[name].extend(rows)


def _fill_empty(parts: dict[Part, list[int]], clusters: list[list[int]]) -> None:
    """No part stays empty: a small cluster moves, whole, out of the part that has the most."""
    for name in PARTS:
        if parts[name]:
            continue
        at = {row: home for home, held in parts.items() for row in held}
        homes: dict[Part, list[list[int]]] = {home: [] for home in PARTS}
        for rows in clusters:
            homes[at[rows[0]]].append(rows)
        richest = max(homes, key=lambda home: len(homes[home]))
        moved = min(homes[richest], key=len)
        parts[richest] = [row for row in parts[richest] if row not in moved]
        parts[name].extend(moved)


def _given(records: Records, rows: list[int]) -> Part | None:
    """The part that the data itself gives to a cluster: the strictest of its members'."""
    if records.given is None:
        return None
    names = {records.given[row] for row in rows}
    for part in ("test", "valid"):
        if part in names:
            return part
    return None


def distinct(records: Records) -> npt.NDArray[np.bool_]:
    """(n,) whether a record is the first of those that are equal or nearly equal to it."""
    first = np.zeros(len(records), dtype=np.bool_)
    first[[rows[0] for rows in _clusters(records, None)]] = True
    return first


def _clusters(records: Records, groups: tuple[Any, ...] | None) -> list[list[int]]:
    """Rows that must stay together: equal, of one group or nearly equal; by first row."""
    clusters = Clusters(len(records))
    keys: list[list[str]] = [records.hashes()]
    if groups is not None:
        if records.facts.get("pieces"):
            keys = [_whole_hashes(records, groups)]
        keys.append([f"group {name}" for name in groups])
    if records.near is not None:
        alone = enumerate(records.near)
        keys.append([f"near {n}" if n >= 0 else f"alone {row}" for row, n in alone])
    for column in keys:
        first: dict[str, int] = {}
        for row, key in enumerate(column):
            clusters.join(row, first.setdefault(key, row))
    return clusters.all()


def _whole_hashes(records: Records, groups: tuple[Any, ...]) -> list[str]:
    """For each record, which is a piece of its group, a hash of that whole group."""
    pieces: dict[Any, list[str]] = {}
    for name, part in zip(groups, records.hashes(), strict=True):
        pieces.setdefault(name, []).append(part)
    whole = {name: _hash("".join(parts)) for name, parts in pieces.items()}
    return [whole[name] for name in groups]


def _hash(item: Any) -> str:
    if isinstance(item, np.ndarray):
        head = f"{item.dtype}{item.shape}".encode()
        return hashlib.blake2b(
            head + np.ascontiguousarray(item).tobytes(), digest_size=16
        ).hexdigest()
    return hashlib.blake2b(repr(item).encode(), digest_size=16).hexdigest()
