"""Pictures decoded once: a cache by content, which may be deleted at any time.

An entry is an array and a JSON page that holds the array's hash; it counts only if both are
whole, so that a hit equals a fresh read. A cache that cannot be written is no error.
"""

import hashlib
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.records import Records, Skipped
from likewise.domains.images.options import Options

VERSION = 1  # of what reading does to pictures: raise it when the same files read otherwise


def place() -> Path:
    """Where the cache is: the folder `LIKEWISE_CACHE`, or `~/.cache/likewise`."""
    return Path(os.environ.get("LIKEWISE_CACHE") or Path("~/.cache/likewise").expanduser())


def key(fingerprint: str, options: Options) -> str:
    """The name of an entry: files, options that change pixels, and who decodes them."""
    import PIL

    parts = (VERSION, PIL.__version__, fingerprint, options.size, options.colour)
    return "images-" + hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def get(name: str) -> Records | None:
    """The records of an entry, or None if there is none that is whole."""
    try:
        page = json.loads((place() / f"{name}.json").read_bytes())
        data = (place() / f"{name}.npy").read_bytes()
        if page.pop("hash") != _hash(data):
            return None
        items = np.load(io.BytesIO(data), allow_pickle=False)
        return _from_json(page, items)
    except Exception:  # an entry can be damaged in every way; then it is read afresh
        return None


def put(name: str, records: Records) -> None:
    """Write an entry, the page last and each file whole; nothing if that cannot be done."""
    buffer = io.BytesIO()
    np.save(buffer, records.items)
    data = buffer.getvalue()
    page = json.dumps({**_to_json(records), "hash": _hash(data)}).encode()
    with suppress(OSError):
        place().mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(place() / f"{name}.npy", data)
        _write(place() / f"{name}.json", page)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _to_json(records: Records) -> dict[str, Any]:
    return {
        "ids": records.ids,
        "conditions": records.conditions,
        "given": records.given,
        "skipped": [[one.what, one.why] for one in records.skipped],
        "notes": records.notes,
        "facts": records.facts,
    }


def _from_json(page: dict[str, Any], items: Any) -> Records:
    return Records(
        domain="images",
        items=items,
        ids=tuple(page["ids"]),
        conditions={name: tuple(values) for name, values in page["conditions"].items()},
        given=None if page["given"] is None else tuple(page["given"]),
        skipped=tuple(Skipped(what, why) for what, why in page["skipped"]),
        notes=tuple(page["notes"]),
        facts=page["facts"],
    )


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
