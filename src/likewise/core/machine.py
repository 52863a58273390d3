"""What this process may use of its machine or container: processor cores and memory."""

import os
from contextlib import suppress
from pathlib import Path


def cores() -> int:
    """How many processor cores this process may use.

    Example:
        >>> cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """The bytes of memory that this process may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # "max" is no number: no limit
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total


def cache() -> Path:
    """Where files lie that may be deleted at any time: `LIKEWISE_CACHE`, or `~/.cache/likewise`.

    Example:
        >>> cache().is_absolute()
        True
    """
    return Path(os.environ.get("LIKEWISE_CACHE") or "~/.cache/likewise").expanduser().absolute()
