"""What reading pictures can be asked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from likewise.core.errors import UsageError, must, nearest
from likewise.domains.images.augment import KINDS

MAX_SIDE = 1024
COLOURS = ("auto", "grey", "rgb")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How pictures are read.

    Attributes:
        size: (height, width), or None to choose it from the data.
        colour: "auto" (grey only if every picture is grey), "grey" or "rgb".
        augment: the kinds of augmentation, or None for the codec's own choice.
        label: the column beside the pictures that steers, or None for the usual ones.
        most: how many pictures at most, drawn evenly, or None for all.
    """

    size: tuple[int, int] | None = None
    colour: str = "auto"
    augment: tuple[str, ...] | None = None
    label: str | None = None
    most: int | None = None

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """Options as a user writes them; UsageError names what is wrong and the nearest.

        Example:
            >>> Options.parse({"size": "28x20", "augment": "shift,flip"})
            Options(size=(28, 20), colour='auto', augment=('shift', 'flip'), label=None, most=None)
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UsageError(f"option {name!r} is unknown; {nearest(name, known)}.")
        return cls(
            size=_size(given.get("size")),
            colour=_colour(given.get("colour", "auto")),
            augment=parse_kinds(given.get("augment")),
            label=_label(given.get("label")),
            most=_most(given.get("most")),
        )


def parse_kinds(value: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Kinds of augmentation: names, "shift,flip" or "none"; None is left to the codec."""
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else [str(name) for name in value]
    names = [name.strip() for name in names if name.strip() not in ("", "none")]
    for name in names:
        if name not in KINDS:
            raise UsageError(f"augment {name!r} is unknown; {nearest(name, KINDS)}.")
    return tuple(kind for kind in KINDS if kind in names)


def _size(value: object) -> tuple[int, int] | None:
    """(height, width) from 28, "28", "28x20" or (28, 20)."""
    if value is None:
        return None
    text = "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    match = re.fullmatch(r"\s*(\d{1,5})(?:\s*[x×]\s*(\d{1,5}))?\s*", text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in size):
        wanted = f"a whole number or HEIGHTxWIDTH, each from 1 to {MAX_SIDE}"
        raise UsageError(must("size", wanted, value, "Write size=32 or size=32x48."))
    return size


def _label(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UsageError(must("label", "the name of a column beside the pictures", value))
    return value.strip() if isinstance(value, str) else None


def _most(value: object) -> int | None:
    if value is None:
        return None
    text = str(value).strip()
    if not re.fullmatch(r"[1-9]\d{0,17}", text):
        raise UsageError(must("most", "a whole number of pictures above 0", value))
    return int(text)


def _colour(value: object) -> str:
    if value not in COLOURS:
        raise UsageError(f"colour cannot be {value!r}; {nearest(str(value), COLOURS)}.")
    return str(value)
