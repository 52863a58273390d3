"""What a measure is: a pure function of tensors with a unit, a direction and a smallest n.

A measure's file decorates a function that returns an `Estimate` or raises `RefusalError`. Calling
the decorated name checks the tensors first and always returns a `Score`: a number with its
interval, or no number and the reason. NaN never becomes a number.
"""

import functools
import importlib
import math
import pkgutil
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from likewise.core.errors import LikewiseError
from likewise.core.results import Better, Score
from likewise.measures.intervals import Interval

Kind: TypeAlias = Literal["features", "probabilities", "log_probs"]


class RefusalError(LikewiseError):
    """A measure cannot be made of these tensors, and why."""


class Estimate(NamedTuple):
    """A measured number, its 95 % interval, how it was made, and of how many if not of all."""

    value: float
    interval: Interval | None
    how: str
    used: int | None = None


class Measure:
    """A measuring function with all that makes its number readable.

    Attributes:
        name: of the function.
        unit: of the value.
        better: which way is better.
        kind: what it reads. "features": generated (n, d) and reference (m, d). "probabilities":
            (n, classes), rows that sum to 1. "log_probs": (n,) in nats.
        minimum: the smallest n for d features (or classes; 1 for log_probs).
        function: returns an Estimate, or raises RefusalError.
    """

    def __init__(
        self,
        function: Callable[..., Estimate],
        *,
        unit: str,
        better: Better,
        kind: Kind,
        minimum: Callable[[int], int],
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = function.__name__
        self.unit, self.better, self.kind, self.minimum = unit, better, kind, minimum
        self.function = function

    def __call__(self, *inputs: Tensor, **options: Any) -> Score:
        """The Score of these tensors; `value` is None, and `why` says why, where it is refused."""
        n = min(len(x) for x in inputs)
        try:
            _CHECKS[self.kind](inputs)
            self._check_size(n, inputs[0])
            value, interval, how, used = self.function(*inputs, **options)
            if not math.isfinite(value):
                raise RefusalError(f"the value came out as {value}, which is no number.")
        except RefusalError as refusal:
            return self.missing(str(refusal), n)
        low, high = interval or (None, None)
        return Score(
            value=value,
            low=low,
            high=high,
            unit=self.unit,
            better=self.better,
            n=n if used is None else used,
            how=how,
        )

    def missing(self, why: str, n: int = 0) -> Score:
        """A Score without a value."""
        return Score(value=None, unit=self.unit, better=self.better, n=n, why=why)

    def _check_size(self, n: int, x: Tensor) -> None:
        width = x.shape[1] if x.ndim > 1 else 1
        if n < self.minimum(width):
            over = f" over {width} {_COLUMNS[self.kind]}" if x.ndim > 1 else ""
            raise RefusalError(f"it needs at least {self.minimum(width)} examples{over}; got {n}.")


def measure(
    *, unit: str, better: Better, kind: Kind, minimum: Callable[[int], int]
) -> Callable[[Callable[..., Estimate]], Measure]:
    """Make a Measure of a function."""
    return functools.partial(Measure, unit=unit, better=better, kind=kind, minimum=minimum)


def catalogue() -> dict[str, Measure]:
    """All measures by name, found by walking this room.

    Example:
        >>> catalogue()["frechet_distance"].better
        'lower'
    """
    package = importlib.import_module("likewise.measures")
    found = {}
    for info in pkgutil.iter_modules(package.__path__, "likewise.measures."):
        for member in vars(importlib.import_module(info.name)).values():
            if isinstance(member, Measure):
                found[member.name] = member
    return dict(sorted(found.items()))


_COLUMNS: dict[Kind, str] = {"features": "features", "probabilities": "classes"}


def _check_features(inputs: tuple[Tensor, ...]) -> None:
    for x, whose in zip(inputs, ("generated", "reference"), strict=True):
        if x.ndim != 2:
            raise RefusalError(f"{whose} features must be (n, d); got {tuple(x.shape)}.")
        bad = int((~torch.isfinite(x)).any(dim=1).sum())
        if bad:
            raise RefusalError(f"{bad} of {len(x)} {whose} rows hold NaN or infinity.")
    if inputs[0].shape[1] != inputs[1].shape[1]:
        widths = [x.shape[1] for x in inputs]
        raise RefusalError(f"both sides must have equally many features; got {widths}.")


def _check_probabilities(inputs: tuple[Tensor, ...]) -> None:
    for p in inputs:
        if p.ndim != 2:
            raise RefusalError(f"class probabilities must be (n, classes); got {tuple(p.shape)}.")
        if not torch.isfinite(p).all() or bool((p < 0).any()):
            raise RefusalError("class probabilities must be finite and at least 0.")
        if bool(((p.double().sum(dim=1) - 1).abs() > 1e-3).any()):
            raise RefusalError("class probabilities must sum to 1 in each row.")


def _check_log_probs(inputs: tuple[Tensor, ...]) -> None:
    for values in inputs:
        if values.ndim != 1:
            raise RefusalError(f"log probabilities must be (n,); got {tuple(values.shape)}.")
        bad = int((values.isnan() | values.isposinf()).sum())
        if bad:
            raise RefusalError(f"{bad} of {len(values)} log probabilities are NaN or +infinity.")


_CHECKS: dict[Kind, Callable[[tuple[Tensor, ...]], None]] = {
    "features": _check_features,
    "probabilities": _check_probabilities,
    "log_probs": _check_log_probs,
}
