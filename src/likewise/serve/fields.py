"""Fields of a body of JSON, each read with its type and its range."""

import json
import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from likewise.core.errors import must, nearest
from likewise.core.text import printable
from likewise.serve.errors import ApiError

SHOWN = 120  # characters of a value that an error repeats


class Fields:
    """The fields of one body; a null is a field that is not there.

    Args:
        body: as it came.
        known: the names that there are.

    Raises:
        ApiError: a name is unknown.

    Example:
        >>> Fields({"n": 3, "user": None}, {"n", "user"}).whole("n", 1, low=1)
        3
    """

    def __init__(self, body: Mapping[str, Any], known: Collection[str]) -> None:
        self.body = {name: value for name, value in body.items() if value is not None}
        for name in body:
            if name not in known:
                cut = name[:SHOWN]
                message = f"field {cut!r} is unknown; {nearest(cut, known)}."
                raise ApiError(400, message, param=printable(cut))

    def __contains__(self, name: str) -> bool:
        return name in self.body

    def must(self, name: str, be: str, got: object, remedy: str = "") -> ApiError:
        """The error for a field that is not as it must be."""
        return ApiError(400, must(name, be, Shown(got), remedy), param=name)

    def whole(
        self, name: str, default: int, *, low: int | None = None, high: int | None = None
    ) -> int:
        """A whole number from low to high."""
        value = self.body.get(name, default)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole and _within(value, low, high)):
            raise self.must(name, f"a whole number{_range(low, high)}", value)
        return int(value)

    def number(self, name: str, default: float, be: str, fits: Callable[[float], bool]) -> float:
        """A finite number for which `fits` is true; `be` says so in words."""
        value = self.body.get(name, default)
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (numeric and abs(value) < 1e300 and math.isfinite(value) and fits(float(value))):
            raise self.must(name, f"a number {be}", value)
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false, false where it is not there."""
        value = self.body.get(name, False)
        if not isinstance(value, bool):
            raise self.must(name, "true or false", value)
        return value

    def table(self, name: str, known: Collection[str]) -> "Fields":
        """An object of fields of its own, empty where it is not there."""
        value = self.body.get(name, {})
        if not isinstance(value, dict):
            raise self.must(name, "an object", value)
        return Fields(value, known)

    def text(self, name: str) -> str:
        """A text that has to be there."""
        value = self.body.get(name)
        if not is_text(value):
            raise self.must(name, "a text", value)
        return str(value)


class Shown:
    """A value from outside, as an error repeats it: shortened."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        text = reprlib.repr(self.value)
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def read(data: bytes) -> dict[str, Any]:
    """The object that a body holds.

    Raises:
        ApiError: it is no JSON, or no object.
    """
    try:
        body = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body must be JSON; it cannot be read ({error}).") from error
    if not isinstance(body, dict):
        raise ApiError(400, must("the body", "an object of JSON", Shown(body)))
    return body


def is_text(value: object) -> bool:
    r"""Whether a value is a text that can be written as UTF-8.

    Example:
        >>> is_text("é"), is_text("\ud800"), is_text(3)
        (True, False, False)
    """
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _range(low: int | None, high: int | None) -> str:
    if high is None:
        return "" if low is None else f" from {low} on"
    return f" from {low} to {high}"
