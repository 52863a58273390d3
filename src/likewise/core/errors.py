"""What can go wrong, said so that a person can mend it.

```
LikewiseError        exit code 1
├── UsageError       exit code 2: an option, a name or a value that cannot be
│   └── LengthError  a text is longer than what a model reads
├── DataError        the data that was brought cannot be used
├── StoreError       a run folder or a model file is not as it must be
└── TrainingError    a model could not be trained
```

One wording for all: *what* must be *what*, what we got, what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class LikewiseError(Exception):
    """The root of every error a person may meet; its text is a sentence for that person."""

    exit_code = 1


class UsageError(LikewiseError):
    """An option, a name or a value that cannot be."""

    exit_code = 2


class LengthError(UsageError):
    """A text is longer than what a model reads at once."""


class DataError(LikewiseError):
    """The data that was brought cannot be used, and why."""


class StoreError(LikewiseError):
    """A run folder or a model file is missing, in use, tampered with or of another version."""


class TrainingError(LikewiseError):
    """A model could not be trained, and at which step."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known name, and all known names.

    Example:
        >>> nearest("flwo", ["flow", "gan"])
        "did you mean 'flow'? Known: flow, gan"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names) or 'none'}"


def must(what: str, be: str, got: object, remedy: str = "") -> str:
    """The one wording of a wrong value.

    Example:
        >>> must("steps", "a whole number above 0", -3, "Leave it out for the default.")
        'steps must be a whole number above 0; got -3. Leave it out for the default.'
    """
    return f"{what} must be {be}; got {got!r}." + (f" {remedy}" if remedy else "")
