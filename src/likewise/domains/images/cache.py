"""Pictures decoded once: a cache that may be deleted at any time.

An entry is an array and a page: a line of JSON that says what the array must be, and a line with
its own hash. It counts only if both are whole, so that a hit equals a fresh read. A cache that
cannot be written is no error. The entries that were not used for longest go when all together
are too large.
"""

import hashlib
import json
import os
import re
import shutil
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.machine import cache as place
from likewise.core.records import Records, Skipped, mapped
from likewise.domains.images.canvas import fits
from likewise.domains.images.options import Options
from likewise.domains.images.pictures import Pixels
from likewise.store.files import whole

VERSION = 3  # of what reading does to pictures: raise it when the same files read otherwise
LIMIT = 20 << 30  # bytes of all entries, if that is not more than
SHARE = 10  # a tenth of the disk
UNFINISHED = (".images-", ".unfinished-images-")  # how names of files that are written begin
STALE = 24 * 3600.0  # seconds after which a half-written file is nobody's
_ENTRY = re.compile(r"(images-[0-9a-f]{32})\.(npy|json)")


def key(fingerprint: str, options: Options) -> str:
    """The name of an entry: files, options that change pixels, and who decodes them."""
    import PIL

    parts = (VERSION, PIL.__version__, fingerprint, options.size, options.colour)
    return "images-" + _digest(repr(parts).encode()).decode()


def get(name: str) -> Records | None:
    """The records of an entry, or None if there is none that is whole."""
    path = place() / f"{name}.json"
    try:
        text, digest = path.read_bytes().split(b"\n")
        if digest != _digest(text):
            return None
        page = json.loads(text)
        records = _from_json(page, _items(path.with_suffix(".npy"), page))
    except Exception:  # an entry can be damaged in every way; then it is read afresh
        return None
    with suppress(OSError):
        os.utime(path)  # when it was last used
    return records


def put(name: str, records: Records) -> Records:
    """Write an entry, the page last and each file whole; nothing if that cannot be done.

    Returns:
        the records as they are found from now on: an array that lies in a file becomes the entry.
    """
    path = place() / f"{name}.npy"
    with suppress(OSError):
        place().mkdir(parents=True, exist_ok=True, mode=0o700)
        if mapped(records.items):
            os.replace(records.items.filename, path)
        else:
            with whole(path) as part, part.open("wb") as file:
                np.save(file, records.items)
        page = {**_to_json(records), "stamp": _stamp(path), "hash": _hash(records.items)}
        with whole(path.with_suffix(".json")) as part:
            text = json.dumps(page).encode()
            part.write_bytes(text + b"\n" + _digest(text))
        _prune(keep=name)
    return records


def _items(path: Path, page: dict[str, Any]) -> Pixels:
    """The array of an entry, mapped if it is large; ValueError if it is not the one written.

    What is held in memory is compared by its sum of check, what is only mapped by its size and
    the time it was written: to sum it up would read it all.
    """
    if _stamp(path) != page["stamp"]:
        raise ValueError("changed since it was written")
    if not fits(path.stat().st_size):
        large: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        return large
    items: Pixels = np.load(path, allow_pickle=False)
    if page["hash"] not in (None, _hash(items)):
        raise ValueError("damaged")
    return items


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _hash(items: Pixels) -> int | None:
    """A sum of check, as fast as memory: all words of 64 bits, and what is left over."""
    if mapped(items):
        return None
    flat = np.ascontiguousarray(items).reshape(-1)
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    with np.errstate(over="ignore"):
        return int(words.sum()) ^ zlib.crc32(flat[words.size * 8 :].data)


def _prune(keep: str) -> None:
    """Remove what was not used for longest until the rest is within the limit."""
    entries: dict[str, list[Path]] = {}
    for path in place().iterdir():
        if match := _ENTRY.fullmatch(path.name):
            entries.setdefault(match[1], []).append(path)
        elif path.name.startswith(UNFINISHED) and time.time() - path.stat().st_mtime > STALE:
            path.unlink(missing_ok=True)
    sizes = {name: sum(path.stat().st_size for path in paths) for name, paths in entries.items()}
    used = {name: max(path.stat().st_mtime for path in paths) for name, paths in entries.items()}
    spare = min(LIMIT, shutil.disk_usage(place()).total // SHARE) - sum(sizes.values())
    for name in sorted(entries, key=lambda name: used[name]):
        if spare < 0 and name != keep:
            for path in entries[name]:
                path.unlink(missing_ok=True)
            spare += sizes[name]


def _to_json(records: Records) -> dict[str, Any]:
    return {
        "ids": records.ids,
        "conditions": records.conditions,
        "near": None if records.near is None else _sparse(records.near),
        "given": records.given,
        "skipped": [[one.what, one.why] for one in records.skipped],
        "notes": records.notes,
        "facts": records.facts,
    }


def _from_json(page: dict[str, Any], items: Pixels) -> Records:
    return Records(
        domain="images",
        items=items,
        ids=tuple(page["ids"]),
        conditions={name: tuple(values) for name, values in page["conditions"].items()},
        near=None if page["near"] is None else _dense(page["near"], len(items)),
        given=None if page["given"] is None else tuple(page["given"]),
        skipped=tuple(Skipped(what, why) for what, why in page["skipped"]),
        notes=tuple(page["notes"]),
        facts=page["facts"],
    )


def _sparse(near: tuple[int, ...]) -> list[list[int]]:
    """[row, cluster] of the few that are near another."""
    return [[row, cluster] for row, cluster in enumerate(near) if cluster >= 0]


def _dense(pairs: list[list[int]], n: int) -> tuple[int, ...]:
    near = [-1] * n
    for row, cluster in pairs:
        near[row] = cluster
    return tuple(near)
