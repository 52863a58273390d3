"""From whatever was brought to Records: names, paths, arrays, lists of pictures."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.errors import DataError, UsageError, must
from likewise.core.paths import brought
from likewise.core.records import Records, Skipped
from likewise.core.text import all_printable, printable
from likewise.domains.images import archives, arrays, cache, columns, idx, metadata
from likewise.domains.images.arrays import Portion
from likewise.domains.images.canvas import pieces
from likewise.domains.images.decode import decode
from likewise.domains.images.files import PASSING, SUFFIXES, Files, Folder
from likewise.domains.images.layout import homeless, layout, remarks
from likewise.domains.images.near import looked
from likewise.domains.images.numpy_files import read_npy, read_npz
from likewise.domains.images.options import Options
from likewise.domains.images.pictures import (
    WHAT_WAS_DONE,
    Pixels,
    UnreadableError,
    conform,
    plain,
)

BUILT_IN = ("digits",)
ACCEPTED = (
    "a folder, a zip or a tar of pictures (class or train/valid/test sub-folders are understood, "
    "and a metadata.csv), a picture file, an .npz, .npy or IDX file (MNIST)"
)
DIGITS = (
    "digits: 1,797 handwritten digits of 8x8 in 17 levels, the test part of 'Optical recognition "
    "of handwritten digits' by E. Alpaydin and C. Kaynak (UCI Machine Learning Repository, 1998), "
    "CC BY 4.0, as shipped with scikit-learn."
)


def load(data: Any, given: Mapping[str, Any]) -> Records:
    """Records of pictures; see `Images.load`."""
    options = Options.parse(given)
    if isinstance(data, str) and data in BUILT_IN:
        records = _digits(options)
    elif isinstance(data, (str, os.PathLike)):
        records = _from_path(brought(data), options)
    else:
        records = _from_portions(_portions(data), options)
    if options.augment is not None:
        facts = {**records.facts, "augment": list(options.augment)}
        records = replace(records, facts=facts)
    return records


def _digits(options: Options) -> Records:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    portion = Portion("", images.reshape(-1, 8, 8), labels)  # (n, 64) -> (n, 8, 8)
    records = _from_portions([portion], options, origin="digits")
    return replace(records, notes=(DIGITS, *records.notes))


def _from_path(path: Path, options: Options) -> Records:
    if not path.exists():
        raise DataError(missing(path))
    suffix = path.suffix.lower()
    if path.is_dir():
        return _from_files(Folder(path), str(path), options)
    if suffix == ".npz":
        portions = arrays.portions(read_npz(path), f"file '{path}'")
        return _from_portions(portions, options, origin=str(path))
    if suffix == ".npy":
        return _from_portions([Portion("", read_npy(path), None)], options, origin=str(path))
    if idx.is_idx(path.name):
        return _from_idx(Folder(path.parent, only=path.name), str(path), options)
    if (archive := archives.archive(path)) is not None:
        with archive:
            return _from_files(archive, str(path), options)
    if suffix in SUFFIXES:
        return _from_files(Folder(path.parent, only=path.name), str(path), options)
    raise DataError(
        f"'{path}' is not data of pictures: a file ending in {path.suffix!r}. Bring {ACCEPTED}."
    )


def missing(path: Path) -> str:
    """That a path does not exist, and what is near it."""
    parent = path.absolute().parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    there = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    known = [*there, *BUILT_IN] if len(path.parts) == 1 else there
    close = get_close_matches(path.name, known, n=3)
    names = " or ".join(repr(name) for name in close)
    hint = f"did you mean {names}?" if close else f"it holds {', '.join(there[:8]) or 'nothing'}."
    return f"'{path}' does not exist in '{parent}'; {hint}"


def _from_files(files: Files, origin: str, options: Options) -> Records:
    """Every readable picture of a folder or an archive, from the cache if it was read before."""
    if not files.names and not files.skipped:
        but = f" but {files.passed} hidden or a system's own" if files.passed else ""
        raise DataError(f"{files.what} holds no files{but}. Bring {ACCEPTED}.")
    if _is_idx(files.names):
        return _from_idx(files, origin, options)
    beside = metadata.gather(files)
    columns.check(beside, options.label)
    notes = [*_passed(files), *_draw(files, options.most)]
    name = cache.key(files.fingerprint(), options)
    records = cache.get(name)
    if records is None:
        records = _decoded(files, options)
        if not any(one.why.startswith(PASSING) for one in records.skipped):
            records = cache.put(name, records)
    raw, ids = records.ids, tuple(all_printable(records.ids))
    found = layout(ids)
    meaning = columns.understand(beside, files, raw, found.labels, options.label)
    labels, filled = columns.filled(
        meaning.labels, found.labels, [name in beside.row for name in raw]
    )
    notes += [*records.notes, *found.notes, *meaning.notes, *filled]
    notes += homeless(labels) if meaning.labels is None else []
    skipped = (*records.skipped, *files.skipped, *beside.skipped, *meaning.skipped)
    shown = (Skipped(printable(one.what), one.why) for one in skipped)
    return replace(
        records,
        ids=ids,
        conditions={**_labelled(labels), **meaning.conditions},
        given=found.given,
        skipped=tuple(sorted(shown, key=lambda one: (one.what, one.why))),
        notes=(*notes, *remarks(labels)),
        origin=origin,
    )


def _decoded(files: Files, options: Options) -> Records:
    """What the cache keeps: pictures, how they were read, and the names of their files."""
    decoded = decode(files, options.size, options.colour, cache.place())
    if not decoded.names:
        raise DataError(_nothing(files.what, [*files.skipped, *decoded.skipped]))
    records = Records(
        domain="images",
        items=decoded.pictures,
        ids=decoded.names,
        skipped=decoded.skipped,
        notes=(*decoded.notes, *_constant(decoded.pictures)),
        facts={"levels": 256, **decoded.facts},
    )
    return looked(records)


def _passed(files: Files) -> list[str]:
    """A note on what nobody would miss."""
    if not files.passed:
        return []
    return [f"{files.passed} hidden files or folders, or a system's own, were passed over."]


def _draw(files: Files, most: int | None) -> list[str]:
    """Leave as many names as are wanted, and none that no picture can have; a note on it."""
    packed = {name for name in files.names if name.lower().endswith(archives.PACKED)}
    if packed:
        why = "is packed: unpack it, or bring it by itself"
        files.skipped += [Skipped(name, why) for name in files.names if name in packed]
        files.names = [name for name in files.names if name not in packed]
    if most is None:
        return []
    named = [name for name in files.names if name.lower().endswith(SUFFIXES)]
    if most >= len(named):
        return []
    others = set(files.names).difference(named)
    files.skipped += [Skipped(name, "is not named as a picture") for name in others]
    files.names = [named[i] for i in evenly(len(named), most)]
    return [_drawn(len(named), most)]


def evenly(n: int, most: int) -> list[int]:
    """`most` of the numbers below n: one at random of each of `most` equal stretches.

    Every n-th would meet a pattern in the data, such as labels that take turns.

    Example:
        >>> [i // 10 for i in evenly(50, 5)]
        [0, 1, 2, 3, 4]
    """
    edges = np.arange(most + 1) * n // most
    return [int(i) for i in np.random.default_rng(0).integers(edges[:-1], edges[1:])]


def _drawn(n: int, most: int) -> str:
    return f"{most} of {n} pictures were drawn, evenly over their order (most={most})."


def _is_idx(names: Sequence[str]) -> bool:
    """Whether it is IDX files that were brought, and not more pictures than those."""
    count = sum(name.lower().endswith(SUFFIXES) for name in names)
    return count < len(names) and count <= sum(map(idx.is_images, names)) > 0


def _from_idx(files: Files, origin: str, options: Options) -> Records:
    """Records of IDX files: those of a folder or an archive, or one with its labels."""
    if isinstance(files, Folder) and files.only is not None:
        files.names = idx.with_labels(files.root / files.only)
    found = idx.gather(files)
    if not found.portions:
        raise DataError(f"{files.what} holds IDX labels; bring the file of their pictures.")
    records = _from_portions(found.portions, options, origin)
    skipped = (Skipped(printable(one.what), one.why) for one in (*files.skipped, *found.skipped))
    notes = (*_passed(files), *found.notes, *records.notes)
    return replace(records, skipped=tuple(skipped), notes=notes)


def _nothing(what: str, skipped: Sequence[Skipped]) -> str:
    """That no picture could be read, and the reasons counted."""
    counts = Counter(one.why for one in skipped).most_common(5)
    reasons = "; ".join(f"{why} ({count})" for why, count in counts)
    return (
        f"{what} must hold pictures that can be read (PNG, JPEG, GIF, BMP, TIFF, WebP); "
        f"got none among {len(skipped)} files: {reasons}. Bring {ACCEPTED}."
    )


def _portions(data: Any) -> list[Portion]:
    """Pictures and labels out of what Python code brings."""
    if isinstance(data, Mapping):
        return arrays.portions(data, "a mapping of arrays")
    if isinstance(data, tuple) and len(data) == 2 and _is_labels(data[1]):
        return [Portion("", data[0], data[1])]
    return [Portion("", data, None)]


def _is_labels(values: Any) -> bool:
    """Whether this can be labels: one axis, or one column, and no picture in it."""
    if values is None:
        return True
    if hasattr(values, "ndim"):
        return values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)
    return isinstance(values, (list, tuple)) and not any(
        hasattr(value, "shape") or _is_picture(value) for value in values
    )


def _from_portions(
    portions: Sequence[Portion], options: Options, origin: str = "arrays"
) -> Records:
    """Records of arrays, each part with the name of its part."""
    if options.label is not None:
        raise UsageError(
            f"label={options.label} names a column of a metadata file, which only a folder or an "
            "archive of pictures can have."
        )
    blocks = [_block(portion.pictures) for portion in portions]
    if any(_is_picture(picture) for block in blocks for picture in block[:1]):
        pictures, levels, notes = _from_pillow([one for block in blocks for one in block])
        counts = [len(block) for block in blocks]
    else:
        pictures, levels, notes = _from_arrays([one for block in blocks for one in block])
        counts = [sum(len(one) for one in block) for block in blocks]
    total, most = len(pictures), options.most or len(pictures)
    rows = evenly(total, most) if most < total else range(total)
    drawn = [_drawn(total, most)] if most < total else []
    items, more = conform([pictures[i] for i in rows], levels, options.size, options.colour)
    labels: list[str | None] = []
    ids: list[str] = []
    for portion, count in zip(portions, counts, strict=True):
        prefix = f"{portion.part}/" if portion.part else ""
        ids += [f"{prefix}{row}" for row in range(count)]
        labels += arrays.names(portion.labels, count, f"labels {portion.part}".strip())
    given = [p.part for p, count in zip(portions, counts, strict=True) for _ in range(count)]
    return _records(
        items,
        levels,
        ids=tuple(ids[row] for row in rows),
        labels=tuple(labels[row] for row in rows),
        given=tuple(given[row] for row in rows) if any(given) else None,
        notes=(*notes, *drawn, *more),
        origin=origin,
    )


def _block(pictures: Any) -> list[Any]:
    """Arrays with a first axis that counts pictures, or pictures of Pillow."""
    if isinstance(pictures, (list, tuple)) and pictures:
        if all(_is_picture(one) for one in pictures):
            return list(pictures)
        if any(_is_picture(one) for one in pictures):
            raise DataError("a list of pictures must be all arrays or all Pillow pictures.")
        if all(hasattr(one, "shape") for one in pictures):
            return [one[None] for one in map(arrays.as_array, pictures)]
    if _is_picture(pictures):
        return [pictures]
    if not hasattr(pictures, "shape") and not isinstance(pictures, (list, tuple)):
        raise DataError(must("pictures", ACCEPTED + ", arrays or a list", type(pictures)))
    return [arrays.as_array(pictures)]


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getbands")  # what Pillow's pictures have and arrays do not


def _from_arrays(blocks: Sequence[Any]) -> tuple[list[Pixels], int, list[str]]:
    """Pictures (h, w, 1 or 3), the number of levels and notes, out of arrays (n, ...)."""
    channels_last = [arrays.last_axis_channels(block) for block in blocks]
    scale = arrays.scale(blocks)
    pictures: list[Pixels] = []
    notes = list(scale.notes)
    for block in channels_last:
        laid, more = arrays.on_white(scale.convert(block), scale.levels - 1)
        pictures += list(laid)
        notes += [note for note in more if note not in notes]
    return pictures, scale.levels, notes


def _from_pillow(pictures: Sequence[Any]) -> tuple[list[Pixels], int, list[str]]:
    """The same out of pictures of Pillow."""
    read = []
    done: Counter[str] = Counter()
    for number, picture in enumerate(pictures):
        try:
            upright, what = plain(picture)
            values = np.array(upright, dtype=np.uint8)
        except (UnreadableError, OSError) as error:
            raise DataError(f"picture {number} of the list cannot be read ({error}).") from error
        read.append(values if values.ndim == 3 else values[:, :, None])  # (h, w) -> (h, w, 1)
        done.update(what)
    notes = [f"{done[key]} pictures {text}." for key, text in WHAT_WAS_DONE.items() if done[key]]
    return read, 256, notes


def _records(
    items: Pixels,
    levels: int,
    *,
    ids: tuple[str, ...],
    labels: tuple[str | None, ...],
    given: tuple[str, ...] | None,
    notes: tuple[str, ...],
    origin: str = "",
) -> Records:
    """Records with the notes that any pictures and labels may deserve."""
    records = Records(
        domain="images",
        items=items,
        ids=ids,
        conditions=_labelled(labels),
        given=given,
        notes=(*notes, *remarks(labels), *_constant(items)),
        origin=origin,
        facts={"levels": levels},
    )
    return looked(records)


def _labelled(labels: tuple[str | None, ...]) -> dict[str, tuple[str | None, ...]]:
    return {"label": labels} if any(label is not None for label in labels) else {}


def _constant(items: Pixels) -> list[str]:
    """A note on pictures in which there is nothing."""
    constant = 0
    for some in pieces(items):  # most are told by their first row alone
        maybe = some[(some[:, 0] == some[:, 0, :1, :1]).all(axis=(1, 2))]
        constant += int((maybe == maybe[:, :1, :1, :1]).all(axis=(1, 2, 3)).sum())
    if not constant:
        return []
    return [f"{constant} of {len(items)} pictures are of one single value throughout."]
