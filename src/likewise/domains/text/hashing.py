"""Hashes of runs: what the looks for repeated and for nearly repeated texts share."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64


@lru_cache(maxsize=8)
def powers(base: int, n: int) -> Hashes:
    """(n,) base to the power of 0, 1, ..., modulo 2^64."""
    found = np.full(n, base, dtype=np.uint64)
    found[:1] = 1
    found = np.multiply.accumulate(found)
    found.flags.writeable = False
    return found


def mix(values: Hashes) -> Hashes:
    """Bits that depend on all bits of a value (Steele et al., "SplitMix", OOPSLA 2014)."""
    values = values + np.uint64(BASE)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def runs(values: Hashes, begins: Places, ends: Places) -> Hashes:
    """(m,) a hash of each run values[begin:end] of (n,) values, the same wherever it stands.

    It is a polynomial of the values: the difference of two running sums of their products with
    powers, brought to one place.

    Example:
        >>> some = np.array([5, 6, 7, 5, 6], dtype=np.uint64)
        >>> found = runs(some, np.array([0, 3, 1]), np.array([2, 5, 3]))
        >>> bool(found[0] == found[1]), bool(found[0] == found[2])
        (True, False)
    """
    sums = _sums(values)
    return mix((sums[ends] - sums[begins]) * _inverse(len(values))[begins])


def every_run(values: Hashes, size: int) -> Hashes:
    """(n - size + 1,) a hash of every run of so many of (n,) values; its high bits are the best.

    Example:
        >>> found = every_run(np.array([5, 6, 7, 5, 6], dtype=np.uint64), 2)
        >>> len(found), bool(found[0] == found[3])
        (4, True)
    """
    sums, n = _sums(values), max(0, len(values) - size + 1)
    return (sums[size : size + n] - sums[:n]) * _inverse(len(values))[:n]


def _sums(values: Hashes) -> Hashes:
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * powers(BASE, len(values)), out=sums[1:])
    return sums


def _inverse(n: int) -> Hashes:
    return powers(pow(BASE, -1, 1 << 64), n)
