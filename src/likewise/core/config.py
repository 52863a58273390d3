"""Configs: one frozen, keyword-only dataclass a family, in the family's file.

A field is written with `setting`, which carries a line of help, a range and the scale on which
a search should move. Configs travel as JSON; unknown keys are errors that name their neighbour.
"""

import dataclasses
import json
import typing
from typing import Any, Literal, TypeVar

from likewise.core.errors import UsageError, must, nearest

C = TypeVar("C")
Scale = Literal["linear", "log", "choice"]


def setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
    scale: Scale = "linear",
) -> Any:
    """A field of a Config.

    Args:
        default: its value when nobody says otherwise.
        doc: one line of help.
        low, high: the range, both ends allowed.
        choices: the allowed values, where there are only a few.
        scale: on which a search moves: "linear", "log" or "choice".
    """
    hints = {"doc": doc, "low": low, "high": high, "choices": choices, "scale": scale}
    if dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=lambda: default, metadata=hints)
    return dataclasses.field(default=default, metadata=hints)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How one part of a family is stepped."""

    learning_rate: float = setting(1e-3, "peak step size", low=1e-6, high=1.0, scale="log")
    beta1: float = setting(0.9, "decay of the mean of gradients", low=0.0, high=0.999)
    beta2: float = setting(0.99, "decay of the mean of squares", low=0.0, high=0.9999)
    weight_decay: float = setting(0.0, "decoupled (AdamW)", low=0.0, high=1.0)
    matrices: float | None = setting(
        None, "step size of Muon for linear layers; none: AdamW for all", low=1e-6, high=1.0
    )
    schedule: str = setting(
        "cosine",
        "of the step size over the plan",
        choices=("constant", "cosine", "linear", "exponential", "step"),
    )
    warmup: float = setting(0.02, "share of the plan for warming up", low=0.0, high=0.5)
    floor: float = setting(0.0, "last step size, as a share of the peak", low=0.0, high=1.0)
    clip: float = setting(1.0, "largest gradient norm; 0 for none", low=0.0, high=1e6)


def to_json(config: Any) -> dict[str, Any]:
    """A Config as plain data."""
    return dataclasses.asdict(config)


def from_json(kind: type[C], data: dict[str, Any], where: str = "") -> C:
    """A Config out of plain data, checked; unknown keys raise UsageError naming the nearest.

    Example:
        >>> from_json(Optimizer, {"learning_rate": 0.01}).learning_rate
        0.01
    """
    types = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        name = f"{where}{key}"
        if key not in fields:
            raise UsageError(f"setting {name!r} is unknown; {nearest(key, fields)}.")
        values[key] = _convert(types[key], value, name)
        _check_range(fields[key], values[key], name)
    return kind(**values)


def override(config: C, changes: dict[str, str]) -> C:
    """A Config with `--set key=value` changes; a dot goes into a nested Config.

    Example:
        >>> override(Optimizer(), {"learning_rate": "3e-4"}).learning_rate
        0.0003
    """
    data = to_json(config)
    for path, text in changes.items():
        *parents, last = path.split(".")
        inner = data
        for depth, parent in enumerate(parents):
            if not isinstance(inner.get(parent), dict):
                known = [key for key, value in inner.items() if isinstance(value, dict)]
                where = ".".join([*parents[:depth], parent])
                raise UsageError(
                    f"setting {where!r} has no parts to set; {nearest(parent, known)}."
                )
            inner = inner[parent]
        if last not in inner:
            raise UsageError(f"setting {path!r} is unknown; {nearest(last, inner)}.")
        inner[last] = _parse(text)
    return from_json(type(config), data)


def describe(kind: type[Any]) -> list[tuple[str, Any, str]]:
    """(name, default, help) of each setting, nested ones with a dot."""
    rows: list[tuple[str, Any, str]] = []
    for field in dataclasses.fields(kind):
        missing = field.default is dataclasses.MISSING
        default = (
            field.default_factory()
            if missing and field.default_factory is not dataclasses.MISSING
            else field.default
        )
        if dataclasses.is_dataclass(default):
            inner = describe(type(default))
            rows += [(f"{field.name}.{n}", getattr(default, n, d), doc) for n, d, doc in inner]
        else:
            rows.append((field.name, default, field.metadata.get("doc", "")))
    return rows


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _convert(kind: Any, value: Any, name: str) -> Any:
    """`value` as the annotated type, or UsageError."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return from_json(typing.cast(type[Any], kind), value, f"{name}.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(arguments[0], item, name) for item in value)
    if type(None) in arguments:
        if value is None:
            return None
        kind = next(a for a in arguments if a is not type(None))
    if kind is float and type(value) is int:
        return float(value)
    if kind in (int, float, bool, str) and type(value) is not kind:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
        raise UsageError(must(f"setting {name!r}", words[kind], value))
    return value


def _check_range(field: "dataclasses.Field[Any]", value: Any, name: str) -> None:
    hints = field.metadata
    if not hints or dataclasses.is_dataclass(value) or value is None:
        return
    if hints["choices"] and value not in hints["choices"]:
        raise UsageError(
            f"setting {name!r} cannot be {value!r}; "
            f"{nearest(str(value), map(str, hints['choices']))}."
        )
    for item in value if isinstance(value, tuple) else (value,):
        low, high = hints["low"], hints["high"]
        if (low is not None and not item >= low) or (high is not None and not item <= high):
            low_text = "-inf" if low is None else f"{low:g}"
            high_text = "inf" if high is None else f"{high:g}"
            raise UsageError(must(f"setting {name!r}", f"in [{low_text}, {high_text}]", item))
