"""A run folder as it is on disk, read so that nothing missing or damaged stops the report.

Whatever cannot be read is left out and named in `Folder.troubles`; the page shows that list. The
readers of single values (`mapping`, `rows`, `number`, `text`) turn what is not of the wanted kind
into nothing, so the rooms above them never meet a wrong type.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from likewise.core.errors import StoreError, must
from likewise.store.files import read_json

Plain: TypeAlias = dict[str, Any]

SCHEMA = 1
LARGEST_PICTURE = 4 * 2**20
_NOT_FAMILIES = {"features", "private"}
_FAMILY_FILES = ("config.json", "scorecard.json", "audit.json", "log.jsonl")
_LARGEST = 10**300
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Folder:
    """One run folder; reading it collects `troubles`, sentences about what could not be read."""

    path: Path
    troubles: list[str] = field(default_factory=list)

    def json(self, name: str) -> Plain:
        """A JSON object of the folder; empty where there is none that can be read."""
        path = self.path / name
        if not path.exists():
            return {}
        try:
            found = read_json(path)
        except StoreError as error:
            self.troubles.append(str(error).replace(str(path), name))
            return {}
        if not isinstance(found, dict):
            self.troubles.append(f"{name} is not a JSON object; it was left out.")
            return {}
        if found.get("schema", SCHEMA) != SCHEMA:
            self.troubles.append(
                f"{name} has schema {text(found['schema'])}; this version reads {SCHEMA}, so "
                f"some of it may be missing here."
            )
        return found

    def log(self, name: str) -> list[Plain]:
        """The readable lines of a JSONL file."""
        path = self.path / name
        if not path.exists():
            return []
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            self.troubles.append(f"{name} cannot be read ({error.strerror or error}).")
            return []
        found = [entry for line in lines if line.strip() for entry in _entries(line)]
        lost = sum(1 for line in lines if line.strip()) - len(found)
        if lost:
            self.troubles.append(f"{name} has {lost} unreadable lines; they were left out.")
        return found

    def picture(self, name: str) -> Plain | None:
        """Path and size in pixels of a PNG file, or None where there is none that can be shown."""
        path = self.path / name
        if not path.is_file():
            return None
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(24)
        except OSError as error:
            self.troubles.append(f"{name} cannot be read ({error.strerror or error}).")
            return None
        if size > LARGEST_PICTURE:
            self.troubles.append(
                f"{name} is larger than {LARGEST_PICTURE // 2**20} MiB; left out."
            )
            return None
        if len(head) < 24 or not head.startswith(_PNG):
            self.troubles.append(f"{name} is not a PNG picture; it was left out.")
            return None
        width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
        return {"path": name, "width": width, "height": height}

    def quotes(self, name: str) -> Plain | None:
        """Path of a JSON file that holds texts, and how many; None where there is none."""
        found = quoted(self.json(name).get("texts"))
        return {"path": name, "count": len(found)} if found else None

    def families(self) -> list[str]:
        """The folders in this folder that a family wrote."""
        return sorted(
            place.name
            for place in self.path.iterdir()
            if place.name not in _NOT_FAMILIES
            and any((place / name).is_file() for name in _FAMILY_FILES)
        )

    def holds(self, name: str) -> bool:
        """Whether a family's name can be that of a folder in here; others are never opened."""
        return (
            bool(name)
            and not any(sign in name for sign in "/\\\0")
            and name not in {".", "..", *_NOT_FAMILIES}
            and len(name.encode()) <= 255
        )


def open_folder(path: Path) -> Folder:
    """The folder of a run.

    Raises:
        StoreError: there is no such folder, or no run has written into it.
    """
    folder = Folder(path)
    if not path.is_dir():
        raise StoreError(must("the run", "a folder that `likewise run` wrote", str(path)))
    whole = any((path / name).is_file() for name in ("run.json", "leaderboard.json"))
    if not whole and not folder.families():
        raise StoreError(
            must(
                "the run",
                "a folder that `likewise run` wrote",
                str(path),
                "It holds no run.json and no leaderboard.json; name the folder that does.",
            )
        )
    for name in ("run.json", "leaderboard.json"):
        if not (path / name).is_file():
            folder.troubles.append(f"{name} is missing; what it would say is left out.")
    return folder


def mapping(value: Any) -> Plain:
    """`value` if it is a mapping, else an empty one; the keys become clean text."""
    return {text(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def rows(value: Any) -> list[Plain]:
    """The mappings in a list."""
    return [mapping(item) for item in value if isinstance(item, Mapping)] if _many(value) else []


def texts(value: Any) -> list[str]:
    """The items of a list as text."""
    return [text(item) for item in value] if _many(value) else []


def quoted(value: Any) -> list[str]:
    """The texts of a list, in their lines; what is no text is left out."""
    items = value if _many(value) else []
    said = (item for item in items if isinstance(item, str))
    return ["\n".join(map(text, item.split("\n"))) for item in said]


def number(value: Any) -> float | None:
    """A finite number, or None; beyond 1e300 counts as infinite.

    Example:
        >>> number(2), number(float("nan")), number("2"), number(True)
        (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= _LARGEST else None


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return None if found is None else round(found)


def text(value: Any) -> str:
    """Text without control characters or broken code points; nothing for None.

    Example:
        >>> text("a\\x00b"), text(None), text(3)
        ('a b', '', '3')
    """
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        value = _dumped(value)
    return "".join(" " if _unprintable(sign) else sign for sign in str(value))


def flat(value: Any) -> Plain:
    """A mapping whose values are finite numbers, flags, text or None; the nested becomes text."""
    return {key: _scalar(item) for key, item in mapping(value).items()}


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    return number(value) if isinstance(value, float) else text(value)


def _unprintable(sign: str) -> bool:
    code = ord(sign)
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or (code >= 0xFFFE and (code & 0xFFFE == 0xFFFE))
    )


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "(nested too deeply to be shown)"


def _many(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _entries(line: str) -> Iterator[Plain]:
    """The mapping that a line of JSON holds, if it holds one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict):
        yield found
