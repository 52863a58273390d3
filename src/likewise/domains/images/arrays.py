"""Arrays as pictures: whose axes are which, and what range their values have.

Shapes: n pictures, h by w pixels, channels 1 (grey), 3 (RGB) or 4 (RGB and opacity).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError, must
from likewise.core.records import Part
from likewise.domains.images.pictures import Pixels

SHAPES = "(n, h, w), (n, h, w, 1|3|4) or (n, 1|3, h, w)"
RANGES = "0 to 1, -1 to 1 or 0 to 255"
PICTURES = ("x", "images", "image", "data", "arr_0")
LABELS = ("y", "labels", "label", "targets", "arr_1")
SPLITS: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "val", "validation"),
    "test": ("test",),
}
FEW = 31
"""Whole numbers from 0 to at most this are taken for the levels themselves (digits: 0..16)."""
SLACK = 1e-3
"""How far rounding may carry a value beyond its range."""


class Portion(NamedTuple):
    """Pictures and labels of one part, or of all parts (part "")."""

    part: str
    pictures: Any
    labels: Any


class Scale(NamedTuple):
    """How values become levels 0..levels-1."""

    levels: int
    convert: Callable[[npt.NDArray[Any]], Pixels]
    notes: tuple[str, ...] = ()


def portions(named: Mapping[str, Any], what: str) -> list[Portion]:
    """Which of some named arrays are pictures and labels, and of which part.

    Raises:
        DataError: no name is one that is known; lists those that there are.
    """
    lower = {name.lower(): values for name, values in named.items()}
    found = []
    for part, words in SPLITS.items():
        x = _first(lower, [n for w in words for n in (f"x_{w}", f"{w}_images", f"{w}_x")])
        y = _first(lower, [n for w in words for n in (f"y_{w}", f"{w}_labels", f"{w}_y")])
        if x is not None:
            found.append(Portion(part, x, y))
    if not found and (x := _first(lower, PICTURES)) is not None:
        found.append(Portion("", x, _first(lower, LABELS)))
    if not found and len(lower) == 1:
        found.append(Portion("", next(iter(lower.values())), None))
    if not found:
        raise DataError(
            f"{what} must hold pictures named 'x' or 'images', or 'x_train' and 'x_test' (labels "
            f"'y' or 'labels', or 'y_train' and 'y_test'); got {sorted(named)}."
        )
    return found


def as_array(values: Any) -> npt.NDArray[Any]:
    """numpy's view of an array, a tensor or nested lists; DataError if it is not of numbers."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(must("an array of pictures", "rectangular", type(values))) from error
    if array.dtype.kind not in "buif":
        raise DataError(must("pictures", "arrays of numbers", f"type {array.dtype}"))
    return array


def last_axis_channels(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n, h, w, c) out of any accepted shape; DataError says which those are."""
    if array.size == 0 and array.ndim in (3, 4):
        raise DataError(must("an array of pictures", "other than empty", array.shape))
    if array.ndim == 3:
        return array[..., None]  # (n, h, w) -> (n, h, w, 1)
    if array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return array
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)  # (n, c, h, w) -> (n, h, w, c)
    remedy = ""
    if array.ndim == 2:
        side = round(array.shape[1] ** 0.5)
        square = side > 1 and side * side == array.shape[1]
        rows = f" Flat rows need x.reshape(-1, {side}, {side})." if square else ""
        remedy = f"One grey picture needs x[None].{rows}"
    raise DataError(must("an array of pictures", f"of shape {SHAPES}", array.shape, remedy))


def scale(arrays: Sequence[npt.NDArray[Any]]) -> Scale:
    """The one scale on which all of these arrays are pictures.

    Raises:
        DataError: a value is NaN or infinite (the first is named), or the range is not known.
    """
    first = 0
    for array in arrays:
        _check_finite(array, first)
        first += len(array)
    low = min(float(array.min()) for array in arrays)
    high = max(float(array.max()) for array in arrays)
    if low == 0 and 1 <= high <= FEW and all(_whole(array) for array in arrays):
        levels = int(high) + 1
        note = f"The values are whole numbers from 0 to {int(high)}: {levels} levels."
        return Scale(levels, _bytes, (note,))
    if all(array.dtype.kind in "bui" for array in arrays):
        return _scale_of_whole(low, high)
    for lowest, highest in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if low >= lowest - SLACK and high <= highest + SLACK:
            note = (
                f"Decimal values from {lowest:g} to {highest:g} were rounded to 256 levels "
                f"(they go from {low:g} to {high:g})."
            )
            return Scale(256, partial(_spread, low=lowest, high=highest), (note,))
    raise DataError(must("pictures' values", f"in {RANGES}", f"{low:g} to {high:g}", _REMEDY))


_REMEDY = "Undo a standardisation, or rescale with (x - x.min()) / (x.max() - x.min())."


def _scale_of_whole(low: float, high: float) -> Scale:
    if low < 0 or high > 65535:
        raise DataError(must("pictures' values", f"in {RANGES}", f"{low:g} to {high:g}", _REMEDY))
    if high <= 255:
        return Scale(256, _bytes)
    note = f"Whole numbers up to {high:g} were read as 16 bits and reduced to 256 levels."
    return Scale(256, partial(_spread, low=0.0, high=65535.0), (note,))


def on_white(pictures: Pixels, top: int) -> tuple[Pixels, list[str]]:
    """(..., 4) laid on white as (..., 3); anything else as it is."""
    if pictures.shape[-1] != 4:
        return pictures, []
    opacity = pictures[..., 3:].astype(np.float32) / top
    if (opacity == 1).all():
        return pictures[..., :3], []
    laid = pictures[..., :3] * opacity + top * (1 - opacity)
    note = "Some pictures were transparent: they were laid on white."
    return np.rint(laid).astype(np.uint8), [note]


def names(labels: Any, count: int, what: str) -> tuple[str | None, ...]:
    """Labels as text, None where missing; DataError unless they are classes, one a picture."""
    if labels is None:
        return (None,) * count
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    values = np.asarray(labels, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]  # (n, 1) -> (n,)
    if values.shape != (count,):
        raise DataError(must(what, f"one per picture, of shape ({count},)", values.shape))
    return tuple(_name(value, what) for value in values.tolist())


def _name(value: Any, what: str) -> str | None:
    if value is None or value != value:  # NaN is the one value that differs from itself
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float):
        if not value.is_integer():
            raise DataError(must(what, "classes: names or whole numbers", value))
        return str(int(value))
    return str(value)


def _first(named: Mapping[str, Any], candidates: Sequence[str]) -> Any:
    return next((named[name] for name in candidates if name in named), None)


def _whole(array: npt.NDArray[Any]) -> bool:
    return array.dtype.kind in "bui" or bool((array == np.rint(array)).all())


def _bytes(x: npt.NDArray[Any]) -> Pixels:
    return x.astype(np.uint8)


def _spread(x: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """low..high as 0..255."""
    values = (x.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _check_finite(array: npt.NDArray[Any], first: int) -> None:
    """DataError that names the first value that is not finite; `first` pictures came before."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    places = np.argwhere(~np.isfinite(array))
    where = [int(i) for i in places[0]]
    value = array[tuple(where)]
    where[0] += first
    raise DataError(
        f"pictures' values must be finite; got {value} first at {where}, {len(places)} in all. "
        "Fill them, or leave those pictures out."
    )
