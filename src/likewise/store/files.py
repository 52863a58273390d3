"""Files that are whole or absent: atomic writes, JSON, tensors, hashes and a lock.

Weights are safetensors, all else is JSON; nothing is ever unpickled. A write goes to a temporary
name in the same folder, is flushed to disk and then renamed, so a reader sees the old file or the
new one and never half of one.
"""

import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.core.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_JSON = 256 * 2**20
_PREFIX = ".unfinished-"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; folders are made as needed.

    Raises:
        StoreError: the disk is full, read-only or the like; the old file is still whole.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=_PREFIX, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(f"{path} could not be written ({error.strerror or error}).") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Write plain data atomically; NaN and infinity become null, as JSON has no word for them."""
    write_text(
        path, json.dumps(finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def read_json(path: Path) -> Any:
    """Plain data out of a file.

    Raises:
        StoreError: the file is missing, too large or not JSON.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise StoreError(f"{path} is larger than {LARGEST_JSON // 2**20} MiB; not read.")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}).") from error


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], facts: Mapping[str, Any] | None = None
) -> str:
    """Write tensors atomically as safetensors, facts as JSON in the header; returns the hash."""
    from safetensors.torch import save

    whole: dict[str, Tensor] = {}
    held = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        whole[name] = own.clone() if place in held else own  # tied weights have one storage
        held.add(place)
    header = {"facts": json.dumps(finite(facts or {}), allow_nan=False)}
    content = save(whole, metadata=header)
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def tensors_digest(tensors: Mapping[str, "Tensor"]) -> str:
    """A hash of named tensors: their names, shapes, types and numbers."""
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        own = tensor.detach().cpu().contiguous()
        found.update(f"{name}{tuple(own.shape)}{own.dtype}".encode())
        found.update(own.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def read_tensors(path: Path, *, sha256: str | None = None) -> tuple[dict[str, "Tensor"], Any]:
    """Tensors and facts out of a safetensors file.

    Args:
        path: of the file.
        sha256: what its content must hash to, if known.

    Raises:
        StoreError: missing, truncated, tampered with, or no safetensors at all.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist.") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error}).") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(
            f"{path} is not the file that was saved (its hash differs): it is truncated or was "
            f"changed. Take it again from where it came from."
        )
    try:
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
        return load(content), json.loads(header.get("__metadata__", {}).get("facts", "{}"))
    except (SafetensorError, struct.error, ValueError, MemoryError, OverflowError) as error:
        raise StoreError(f"{path} is damaged ({error}).") from error


def digest(*parts: Any) -> str:
    """A hash of plain data: equal data, equal hash, on any machine.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
    """
    text = json.dumps(finite(list(parts)), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error}).") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which takes its name if the `with` ends well.

    Whatever happens, `path` is what it was or what it should be, and nothing else is left.
    """
    part = path.with_name(f"{_PREFIX}{path.name}.{os.getpid()}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what writes that were killed have left behind; what is being written stays."""
    for path in folder.rglob(f"{_PREFIX}*"):
        if not _being_written(path):
            path.unlink(missing_ok=True)


def _being_written(path: Path) -> bool:
    """Whether a name ends in the number of another process, and that one is alive."""
    number = path.name.rpartition(".")[2]
    if not number.isdigit() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; a killed process lets go by itself.

    Raises:
        StoreError: another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"{folder} is in use by another process. Wait for it, stop it, or choose another "
                f"folder with --out."
            ) from error
        yield


def finite(data: Any) -> Any:
    """`data` with numbers that JSON cannot hold as None."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    return data
