"""Groups: columns of the data that are no part of the records, and nets that read them off.

A table beside pictures may say of each whether somebody smiles. Samples come without such a
column, so a small classifier, trained on training records alone, reads it off; how often it is
wrong is known from held-out records, and who uses it must take that into account.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels
from likewise.core.contract import Source
from likewise.core.errors import StoreError
from likewise.core.rng import Draws, fold
from likewise.core.space import Space
from likewise.evaluation.features import BATCH, Fit
from likewise.nn.features import Classifier
from likewise.store.files import read_tensors, write_tensors

VALUES = range(2, 51)
TRAINED = 20
HELD_OUT = 10
SPARE = 0.05
COLUMNS = 8
UNKNOWN = -1
WIDTH = 32


@dataclass(frozen=True, kw_only=True)
class Group:
    """One column, what is known of it, and the net that reads it off.

    Attributes:
        classifier: trained on training records; its `labels` name the column and the values.
        train: (m,) int64 the value of each training record, `UNKNOWN` where there is none.
        held_out: (k,) int64 that of each record that was never trained on.
    """

    classifier: Classifier
    train: Tensor
    held_out: Tensor

    @property
    def name(self) -> str:
        """The column."""
        return self.classifier.labels.name

    @property
    def names(self) -> tuple[str, ...]:
        """Its values."""
        return self.classifier.labels.names

    def read(self, x: Tensor) -> Tensor:
        """The value that the net reads off each example: (n,) int64."""
        return self.classifier.probabilities(x).argmax(dim=1).cpu()


class Columns(NamedTuple):
    """The columns of some data that can be read off.

    Attributes:
        found: {column: (its values as Labels, the value of each record (n,) int64)}.
        left_out: {column: why it cannot be read off}.
    """

    found: Mapping[str, tuple[Labels, Tensor]]
    left_out: Mapping[str, str]


def columns(
    conditions: Mapping[str, Sequence[Any]],
    *,
    train: Iterable[int],
    held_out: Iterable[int],
    but: Iterable[str] = (),
) -> Columns:
    """Which columns have few enough values, with enough records each, to be read off.

    Values that stand on too few records to learn or to check are counted as unknown, as long as
    they are rare together.

    Args:
        conditions: {column: a value per record, None where there is none}.
        train, held_out: rows of the records to learn from and to check on.
        but: columns that something else looks after, such as the label.

    Example:
        >>> smile = ["no", "yes"] * 60
        >>> found = columns({"smile": smile}, train=range(80), held_out=range(80, 120))
        >>> found.found["smile"][0].names
        ('no', 'yes')
    """
    rows, others = list(train), list(held_out)
    found: dict[str, tuple[Labels, Tensor]] = {}
    left_out: dict[str, str] = {}
    skip = set(but)
    for name, values in sorted(conditions.items()):
        if name in skip:
            continue
        words = _words(values)
        labels = words if isinstance(words, str) else _enough(words, rows, others)
        if not isinstance(labels, str) and len(found) == COLUMNS:
            labels = f"no more than {COLUMNS} columns are read off"
        if isinstance(labels, str):
            left_out[name] = labels
            continue
        numbers: dict[str | None, int] = {value: i for i, value in enumerate(labels)}
        codes = [numbers.get(word, UNKNOWN) for word in words]
        found[name] = (Labels(name=name, names=labels), torch.tensor(codes))
    return Columns(found, left_out)


def _words(values: Sequence[Any]) -> list[str | None] | str:
    """The values of a column as text, or why they are no groups."""
    if any(not isinstance(value, (str, int, bool, type(None))) for value in values):
        return "its values are not names or whole numbers"
    words = [None if value is None or value == "" else str(value) for value in values]
    count = len({word for word in words if word is not None})
    if count not in VALUES:
        return f"it has {count} different values; {VALUES[0]} to {VALUES[-1]} can be read off"
    return words


def _enough(
    words: Sequence[str | None], train: Sequence[int], held_out: Sequence[int]
) -> tuple[str, ...] | str:
    """The values with enough records to learn and to check, or why there are too few."""
    learned, checked = (Counter(words[row] for row in rows) for rows in (train, held_out))
    kept = tuple(
        word
        for word in sorted({word for word in words if word is not None})
        if learned[word] >= TRAINED and checked[word] >= HELD_OUT
    )
    known = learned.total() - learned[None]
    rest = known - sum(learned[word] for word in kept)
    if len(kept) < VALUES[0] or rest > SPARE * known:
        return f"too few of its values stand on {TRAINED} training and {HELD_OUT} held-out records"
    return kept


def train_classifier(
    labels: Labels, values: Tensor, source: Source, *, fit: Fit, seed: int, steps: int
) -> Classifier:
    """A net that reads a column off examples, trained on those of a source.

    Args:
        labels: of the column.
        values: (len(source),) int64, `UNKNOWN` where there is none.
        source: training examples.
        fit: trains a Trainable in place.
        seed: of everything.
        steps: of the training.
    """
    seed = fold(seed, "group", labels.name)
    classifier = _untrained(source.space, labels, seed)
    marked = _Marked(source, labels, values)
    fit(classifier, marked, steps=steps, batch=BATCH, seed=seed)
    classifier.calibrate(marked, rng=Draws(fold(seed, "calibrate")))
    return classifier.eval().requires_grad_(False)


def save_classifier(folder: Path, classifier: Classifier) -> None:
    """Write a net to group-COLUMN.safetensors."""
    write_tensors(_file(folder, classifier.labels), classifier.state_dict())


def open_classifier(folder: Path, space: Space, labels: Labels) -> Classifier:
    """Read what `save_classifier` wrote.

    Raises:
        StoreError: it is missing, damaged, or of another Space or other values.
    """
    path = _file(folder, labels)
    tensors, _ = read_tensors(path)
    classifier = _untrained(space, labels, 0)
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise StoreError(
            f"{path} does not fit this data; train the feature nets again."
        ) from error
    return classifier.eval().requires_grad_(False)


def _file(folder: Path, labels: Labels) -> Path:
    """A file for a column, whatever its name is; of other values it is another file."""
    word = re.sub(r"[^\w.-]+", "-", labels.name, flags=re.ASCII)[:40]
    key = hashlib.sha256("\x1f".join((labels.name, *labels.names)).encode()).hexdigest()[:8]
    return folder / f"group-{word}-{key}.safetensors"


def _untrained(space: Space, labels: Labels, seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold(seed, "weights"))
        return Classifier(space, labels, WIDTH)


class _Marked:
    """A Source whose examples carry one column as well."""

    def __init__(self, source: Source, labels: Labels, values: Tensor) -> None:
        self.source, self.labels, self.values = source, labels, values
        self.space: Space = source.space
        self.conditions: Conditions = (labels,)

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, index: Tensor, rng: Draws) -> tuple[Tensor, Batch]:
        x, _ = self.source.batch(index, rng)
        values = self.values[index]
        known = values != UNKNOWN
        return x, {self.labels.name: (values.clamp(min=0), known)}
