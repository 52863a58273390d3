"""Where texts and tokens too large for memory lie: files that may be deleted at any time."""

import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from likewise.core.machine import cache as place

VERSION = 1  # of what is written: raise it when equal texts give other tokens
LIMIT = 20 << 30  # bytes of all entries, if that is not more than
SHARE = 10  # a tenth of the disk
STALE = 24 * 3600.0  # seconds after which a half-written file is nobody's
_ENTRY = re.compile(r"text-[0-9a-f]{32}\.tokens")
_UNFINISHED = ".unfinished-text-"


def nameless() -> IO[bytes]:
    """A file in the cache that is gone when it is closed; elsewhere if that cannot be."""
    try:
        place().mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryFile(dir=place())
    except OSError:
        return tempfile.TemporaryFile()


def entry(digest: str) -> Path:
    """The path of the tokens of some texts under some tokeniser, by the digest of both."""
    return place() / f"text-{digest}.tokens"


def prune(keep: Path) -> None:
    """Remove what was not used for longest until the rest is within the limit."""
    with suppress(OSError):
        found = []
        for path in place().iterdir():
            if _ENTRY.fullmatch(path.name):
                found.append(path)
            elif path.name.startswith(_UNFINISHED) and _age(path) > STALE:
                path.unlink(missing_ok=True)
        spare = min(LIMIT, shutil.disk_usage(place()).total // SHARE)
        spare -= sum(path.stat().st_size for path in found)
        for path in sorted(found, key=_age, reverse=True):
            if spare < 0 and path != keep:
                spare += path.stat().st_size
                path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
