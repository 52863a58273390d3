"""Rooms whose members are found by walking: families and domains.

The registry lists *file names*, so help and "nearest name" import nothing; a member's file is
imported on first use, and a broken file takes down nobody else. A package of the user's own adds
members through the entry-point groups `likewise.families` and `likewise.domains`.
"""

import importlib
import inspect
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from likewise.core.errors import LikewiseError, UsageError, nearest

_extra: dict[tuple[str, str], Any] = {}


def add(room: str, name: str, member: Any) -> None:
    """Add a member by hand, for a notebook or a test; a taken name is an error."""
    if name in names(room):
        raise UsageError(f"{room} has a member {name!r} already; choose another name.")
    _extra[room, name] = member


def remove(room: str, name: str) -> None:
    """Take back what `add` added."""
    _extra.pop((room, name), None)


def names(room: str) -> list[str]:
    """The names of a room's members, sorted; nothing is imported.

    Example:
        >>> "gmm" in names("families")
        True
    """
    own = {
        path.stem
        for place in _places(room)
        for path in place.iterdir()
        if not path.name.startswith("_")
        and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    foreign = {point.name for point in entry_points(group=f"likewise.{room}")}
    return sorted(own | foreign | {name for where, name in _extra if where == room})


def get(room: str, name: str) -> Any:
    """A member by name: its one concrete class; UsageError names the nearest.

    Raises:
        UsageError: there is no such member.
        LikewiseError: its file is broken, and how.
    """
    if (room, name) in _extra:
        return _extra[room, name]
    if name not in names(room):
        raise UsageError(f"{_singular(room)} {name!r} is unknown; {nearest(name, names(room))}.")
    for point in entry_points(group=f"likewise.{room}"):
        if point.name == name:
            return _load(room, name, point.load)
    return _load(room, name, lambda: _only_class(f"likewise.{room}.{name}", room))


def _load(room: str, name: str, loader: Any) -> Any:
    try:
        return loader()
    except LikewiseError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise LikewiseError(f"{_singular(room)} {name!r} cannot be loaded ({why}).") from error


def _places(room: str) -> list[Path]:
    spec = find_spec(f"likewise.{room}")
    return [Path(place) for place in (spec.submodule_search_locations if spec else None) or []]


def _only_class(module_name: str, room: str) -> Any:
    """The one concrete Family or Domain that a file defines."""
    contract = importlib.import_module("likewise.core.contract")
    base = contract.Family if room == "families" else contract.Domain
    module = importlib.import_module(module_name)
    own = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, base) and member.__module__.startswith(module_name)
    ]
    found = [member for member in own if not inspect.isabstract(member)]
    if len(found) != 1:
        got = [member.__name__ for member in found] or "none"
        lacking = "".join(f" {_lacking(member)}" for member in own if inspect.isabstract(member))
        raise LikewiseError(
            f"{module_name} must define one concrete {base.__name__}; got {got}.{lacking}"
        )
    wrong = contract.complaint(found[0]) if room == "families" else None
    if wrong:
        raise LikewiseError(f"family {found[0].__name__} cannot be used: {wrong}.")
    return found[0]


def _lacking(member: Any) -> str:
    return f"{member.__name__} does not define {', '.join(sorted(member.__abstractmethods__))}."


def _singular(room: str) -> str:
    return {"families": "family", "domains": "domain"}[room]
