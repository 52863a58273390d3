"""From whatever was brought to Records: names, paths, arrays, lists of pictures."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.errors import DataError, must
from likewise.core.records import Records, Skipped
from likewise.domains.images import arrays, cache
from likewise.domains.images.arrays import Portion
from likewise.domains.images.decode import decode
from likewise.domains.images.files import SUFFIXES, Archive, Files, Folder
from likewise.domains.images.layout import layout, remarks
from likewise.domains.images.numpy_files import read_npy, read_npz
from likewise.domains.images.options import Options
from likewise.domains.images.pictures import (
    WHAT_WAS_DONE,
    Pixels,
    UnreadableError,
    conform,
    plain,
    together,
)

BUILT_IN = ("digits",)
ACCEPTED = (
    "a folder or a zip of pictures (class or train/valid/test sub-folders are understood), "
    "a picture file, an .npz or an .npy file"
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
        records = _from_path(Path(data).expanduser(), options)
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
    if suffix == ".zip":
        with Archive(path) as archive:
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
        raise DataError(f"{files.what} holds no files. Bring {ACCEPTED}.")
    name = cache.key(files.fingerprint(), options)
    records = cache.get(name)
    if records is None:
        records = _decoded(files, options)
        cache.put(name, records)
    return replace(records, origin=origin)


def _decoded(files: Files, options: Options) -> Records:
    decoded = decode(files, options.size)
    if not decoded.pictures:
        raise DataError(_nothing(files.what, decoded.skipped))
    found = layout(decoded.names)
    items, notes = together(decoded.pictures, options.colour)
    return _records(
        items,
        256,
        ids=decoded.names,
        labels=found.labels,
        given=found.given,
        skipped=decoded.skipped,
        notes=(*decoded.notes, *notes, *found.notes),
    )


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
    blocks = [_block(portion.pictures) for portion in portions]
    if any(_is_picture(picture) for block in blocks for picture in block[:1]):
        pictures, levels, notes = _from_pillow([one for block in blocks for one in block])
        counts = [len(block) for block in blocks]
    else:
        pictures, levels, notes = _from_arrays([one for block in blocks for one in block])
        counts = [sum(len(one) for one in block) for block in blocks]
    items, more = conform(pictures, levels, options.size, options.colour)
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
        ids=tuple(ids),
        labels=tuple(labels),
        given=tuple(given) if any(given) else None,
        notes=(*notes, *more),
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
    skipped: tuple[Skipped, ...] = (),
    origin: str = "",
) -> Records:
    """Records with the notes that any pictures and labels may deserve."""
    flat = items.reshape(len(items), -1)  # (n, h, w, c) -> (n, h * w * c)
    constant = int((flat == flat[:, :1]).all(axis=1).sum())
    remarked = [*notes, *remarks(labels)]
    if constant:
        remarked.append(f"{constant} of {len(items)} pictures are of one single value throughout.")
    labelled = any(label is not None for label in labels)
    return Records(
        domain="images",
        items=items,
        ids=ids,
        conditions={"label": labels} if labelled else {},
        given=given,
        skipped=skipped,
        notes=tuple(remarked),
        origin=origin,
        facts={"levels": levels},
    )
