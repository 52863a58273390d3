"""Samples as numbered files: `00017-3.png` is sample 17, and 17 is always that sample.

A number has one place however many samples there are: those below 10,000 lie in the folder
itself, the next 10,000 in its folder `from-10000`, and so on, so that no folder grows too large
for a file system or a file manager.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from likewise.core.errors import UsageError, must
from likewise.store.provenance import SIDECAR_SUFFIX

PER_FOLDER = 10_000
LARGEST = 10**12
BLOCK = re.compile(r"from-[0-9]+")
_NUMBERED = re.compile(r"([0-9]{5,})(-.*)?\.[A-Za-z]\w*")
_RUN = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def home(folder: Path, number: int) -> Path:
    """The folder in which the file of a number lies.

    Example:
        >>> [home(Path("made"), number).as_posix() for number in (17, 10017)]
        ['made', 'made/from-10000']
    """
    first = number // PER_FOLDER * PER_FOLDER
    return folder / f"from-{first}" if first else folder


def stem(number: int) -> str:
    """How the name of a number's file begins: five digits or more."""
    return f"{number:05d}"


def there(folder: Path, numbers: range) -> dict[int, Path]:
    """{number: file} of those among some numbers, all of one block, whose files are there."""
    place = home(folder, numbers.start)
    if not place.is_dir():
        return {}
    found = (_NUMBERED.fullmatch(name) for name in os.listdir(place))
    return {
        int(m[1]): place / m[0]
        for m in found
        if m and int(m[1]) in numbers and not m[0].endswith(SIDECAR_SUFFIX)
    }


def blocks(runs: Iterable[range]) -> Iterator[range]:
    """Runs of numbers cut so that the files of each lie in one folder.

    Example:
        >>> list(blocks([range(9_998, 10_002)]))
        [range(9998, 10000), range(10000, 10002)]
    """
    for run in runs:
        first = run.start
        while first < run.stop:
            last = min(run.stop, (first // PER_FOLDER + 1) * PER_FOLDER)
            yield range(first, last)
            first = last


def parse(words: str) -> list[range]:
    """Numbers as a person lists them, in order, each once.

    Raises:
        UsageError: a word is neither a number from 0 on nor a run of them.

    Example:
        >>> parse("40-42, 17, 41")
        [range(17, 18), range(40, 43)]
    """
    runs = []
    for word in words.split(","):
        match = _RUN.fullmatch(word.strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not low <= high < LARGEST:
            such = "numbers of samples from 0 on, such as 17 or 17,40-49"
            raise UsageError(must("only", such, words))
        runs.append(range(low, high + 1))
    return merged(runs)


def merged(runs: Iterable[range]) -> list[range]:
    """Runs in order, each number once, neighbours as one run."""
    found: list[range] = []
    for run in sorted(runs, key=lambda run: run.start):
        if found and run.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, run.stop))
        else:
            found.append(run)
    return found


def told(runs: Iterable[range]) -> str:
    """Numbers as `parse` reads them.

    Example:
        >>> told([range(17, 18), range(40, 42), range(42, 43)])
        '17,40-42'
    """
    ends = ((run.start, run.stop - 1) for run in merged(runs))
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ends)
