"""Run folders: where a job starts, goes on, or is repeated, and its time kept."""

import os
import platform
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from likewise import __version__
from likewise.core.errors import (
    StoreError,
    UsageError,
    must,
)
from likewise.core.machine import cores
from likewise.store.files import digest, file_digest, locked
from likewise.store.run import Run
from likewise.workbench.data import Prepared
from likewise.workbench.job import Work
from likewise.workbench.listen import Listener


def device_of(name: str) -> str:
    """ "auto", "cpu", "cuda" or "mps" as a device that is there; UsageError if it is not."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there.get(name.split(":")[0], False):
        able = ", ".join(kind for kind, yes in there.items() if yes)
        raise UsageError(must("device", f"one that is here ({able})", name))
    return name


def machine(threads_used: int) -> dict[str, Any]:
    """What a report says of this machine."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _processor(),
        "cores": cores(),
        "memory_gib": round(pages / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": threads_used,
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


@contextmanager
def opened(
    prepared: Prepared,
    *,
    out: Path | None,
    seed: int,
    inputs: Mapping[str, Any],
    command: str,
    device: str,
    listener: Listener,
) -> Iterator[Work]:
    """The run folder of a job, locked: a new one, or the one that such a job left unfinished."""
    key = digest(prepared.records.fingerprint(), seed, inputs, code_version())
    path = out or _unfinished(key) or _fresh_name(prepared)
    with locked(path):
        if (path / "run.json").exists():
            run = Run.open(path)
            if run.data.get("key") != key:
                raise StoreError(
                    f"{path} holds a run of other data or options, or of other code. Choose "
                    f"another folder with --out."
                )
            run.sweep()
            listener.note(f"going on with {path}")
        else:
            run = Run.create(path, _facts(prepared, path, seed, inputs, command, device, key))
        yield Work(run, prepared, listener=listener, device=device)


def code_version() -> str:
    """A hash of this package's source: other code may train other weights."""
    root = Path(__file__).parent.parent
    return digest([file_digest(path) for path in sorted(root.rglob("*.py"))])


def _facts(
    prepared: Prepared,
    path: Path,
    seed: int,
    inputs: Mapping[str, Any],
    command: str,
    device: str,
    key: str,
) -> dict[str, Any]:
    return {
        "version": __version__,
        "name": path.name,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
        "key": key,
        "inputs": dict(inputs),
        "seed": seed,
        "device": device,
        "machine": machine(torch.get_num_threads()),
        "data": prepared.facts(),
        "split": prepared.split_hashes(),
        "budget": {"seconds": inputs.get("seconds")},
    }


def _unfinished(key: str) -> Path | None:
    """The newest folder under runs/ of such a job that did not come to its end."""
    found = []
    for path in Path("runs").glob("*/run.json"):
        try:
            run = Run.open(path.parent)
        except StoreError:
            continue
        if run.data.get("key") == key and not run.data.get("finished"):
            found.append((path.stat().st_mtime, path.parent))
    return max(found)[1] if found else None


def _fresh_name(prepared: Prepared) -> Path:
    stem = Path(prepared.records.origin or prepared.records.domain).stem.lower()
    word = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or prepared.records.domain
    base = f"{word[:40]}-{datetime.now().strftime('%Y%m%d-%H%M')}"
    number, path = 1, Path("runs") / base
    while path.exists():
        number += 1
        path = Path("runs") / f"{base}-{number}"
    return path


def written(options: Mapping[str, Any]) -> dict[str, str]:
    """Options of data as they are written in a command; those that say nothing are left out.

    Example:
        >>> written({"size": (28, 20), "augment": ("shift", "flip"), "most": None})
        {'size': '28x20', 'augment': 'shift,flip'}
    """
    return {name: _written(value) for name, value in options.items() if value is not None}


def _written(value: Any) -> str:
    if not isinstance(value, (tuple, list)):
        return str(value)
    numbers = all(isinstance(part, int) for part in value)
    return ("x" if numbers else ",").join(map(str, value)) or "none"


def command_line(
    verb: str, *words: object, load: Mapping[str, object] = {}, **options: object
) -> str:
    """The command that repeats a job; `load` are options of the data.

    Example:
        >>> command_line("run", "my pictures", load={"size": 32}, time="3m", seed=0)
        "likewise run 'my pictures' --load size=32 --time 3m --seed 0"
    """
    parts = ["likewise", verb, *(shlex.quote(str(word)) for word in words)]
    parts += [f"--load {shlex.quote(f'{name}={value}')}" for name, value in written(load).items()]
    for name, value in options.items():
        if value is not None:
            parts += [f"--{name.replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(parts)
