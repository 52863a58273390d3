"""The domain of pictures: what was learned of the training pictures, and what a model carries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from likewise.core.condition import Batch, Conditions, Labels
from likewise.core.contract import Domain, Guess, Source
from likewise.core.errors import DataError, StoreError, UsageError, must, nearest
from likewise.core.records import Picked, Records
from likewise.core.space import Categorical, Continuous, Space
from likewise.domains.images import read, recognise, save, show, toy
from likewise.domains.images.layout import natural
from likewise.domains.images.options import parse_kinds
from likewise.domains.images.pictures import Pixels
from likewise.domains.images.source import ImageSource, from_space

PHOTOGRAPHIC = 0.25
"""Pictures whose pixels have more different colours than this share are photographs."""
LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Codec:
    """What is learned of training pictures.

    Attributes:
        height, width, channels: of every picture.
        levels: how many values a channel of a pixel may have.
        names: of the labels, in natural order; empty if there are none.
        prior: the share of each label in training.
        augment: the kinds of augmentation for training.
    """

    height: int
    width: int
    channels: int
    levels: int
    names: tuple[str, ...]
    prior: tuple[float, ...]
    augment: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width), as tensors are."""
        return (self.channels, self.height, self.width)


class Images(Domain):
    """Pictures of one size: a continuous view on [-1, 1] and a categorical one of the levels.

    Args:
        augment: the kinds of augmentation for training, such as ("shift", "flip"); None for
            what `load` was asked for, or else the default: mirroring for colour photographs
            without labels, nothing for anything else (see `augment.py` for why).

    Example:
        >>> records = Images.toy()
        >>> domain = Images()
        >>> domain.fit(records)
        >>> [space.shape for space in domain.views()], domain.conditions()[0].names
        ([(1, 8, 8), (1, 8, 8)], ('bar', 'cross', 'disc'))
    """

    name: ClassVar[str] = "images"
    settled: ClassVar[frozenset[str]] = frozenset({"size", "colour"})
    headline: ClassVar[str] = "fd_classifier"
    numbered: ClassVar[bool] = True

    def __init__(self, augment: Sequence[str] | None = None) -> None:
        self._augment = parse_kinds(augment)
        self._codec: Codec | None = None

    @classmethod
    def recognises(cls, data: Any) -> Guess:
        """How sure it is that `data` is pictures, and why; never raises."""
        return recognise.recognises(data)

    @classmethod
    def load(cls, data: Any, **options: Any) -> Records:
        """Pictures from the name "digits", a folder, an archive, a file, arrays or a list.

        Args:
            data: what to read; sub-folders are classes, train/valid/test folders are a split.
                A folder of your own named digits is "./digits". Beside pictures, metadata.csv,
                metadata.jsonl and texts named as the pictures are become conditions.
            options: size (32 or "32x48"; default chosen from the data), colour ("auto", "grey",
                "rgb"), augment ("shift,rotate,scale,crop,flip,colour", any of them, or "none"),
                label (the column that steers; default label, class, category or the folders),
                most (how many pictures at most, drawn evenly; default all).

        Returns:
            Records whose items are (n, h, w, 1 or 3) uint8 in 0..facts["levels"] - 1.

        Raises:
            DataError: there is no picture in it that can be read.
            UsageError: an option is unknown or cannot be.
        """
        return read.load(data, options)

    @classmethod
    def toy(cls, seed: int = 0) -> Records:
        """160 discs, bars and crosses of 8x8 with labels."""
        return toy.toy(seed)

    def fit(self, train: Records) -> None:
        """Learn size, levels, labels and their shares on train records."""
        height, width, channels = _pixels(train).shape[1:]
        counts = Counter(str(label) for label in _labels(train) if label is not None)
        names = tuple(sorted(counts, key=natural))
        kinds = self._augment
        if kinds is None:
            kinds = parse_kinds(train.facts.get("augment"))
        if kinds is None:
            kinds = ("flip",) if len(names) < 2 and _photographs(train) else ()
        self._codec = Codec(
            height=height,
            width=width,
            channels=channels,
            levels=_levels(train),
            names=names,
            prior=tuple(counts[name] / counts.total() for name in names),
            augment=kinds,
        )

    @property
    def codec(self) -> Codec:
        """What was learned; UsageError before `fit`."""
        if self._codec is None:
            raise UsageError("the images domain must be fitted before it is used: call fit.")
        return self._codec

    def state(self) -> dict[str, Any]:
        """The fitted codec as plain data."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self.codec).items()
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Images":
        """A fitted codec out of plain data; StoreError if it is not that of pictures."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in state.items()
        }
        try:
            codec = Codec(**values)
        except TypeError as error:
            raise StoreError(f"this is not the state of an images codec ({error}).") from error
        domain = cls(codec.augment)
        domain._codec = codec
        return domain

    def alike(self) -> dict[str, Any]:
        """The size and the colour of the training pictures."""
        codec = self.codec
        colour = "rgb" if codec.channels == 3 else "grey"
        return {"size": f"{codec.height}x{codec.width}", "colour": colour}

    def views(self) -> tuple[Continuous, Categorical]:
        """Levels as numbers on [-1, 1], and levels as classes."""
        codec = self.codec
        step = 2 / (codec.levels - 1)
        return (
            Continuous(shape=codec.shape, low=-1.0, high=1.0, step=step),
            Categorical(shape=codec.shape, categories=codec.levels),
        )

    def conditions(self) -> Conditions:
        """The labels, if there are at least two."""
        names = self.codec.names
        return (Labels(name=LABEL, names=names),) if len(names) > 1 else ()

    def source(self, records: Records, space: Space, *, train: bool) -> Source:
        """Records as batches; other numbers of levels are brought to the codec's.

        Raises:
            DataError: the pictures are of another size or colour than those of training.
            UsageError: the space is not one of `views()`.
        """
        view = self._view(space)
        codec = self.codec
        pictures = _pixels(records)
        expected = (codec.height, codec.width, codec.channels)
        if pictures.shape[1:] != expected:
            colour = "grey" if codec.channels == 1 else "rgb"
            size = f"{codec.height}x{codec.width}"
            remedy = f"Load them with size={size!r} and colour={colour!r}."
            wanted = f"{expected} (height, width, channels) as in training"
            raise DataError(must("pictures", wanted, pictures.shape[1:], remedy))
        number = {name: i for i, name in enumerate(codec.names)}
        labels = [number.get(str(label), -1) for label in _labels(records)]
        return ImageSource(
            pictures,
            torch.tensor(labels, dtype=torch.int64),
            levels=_levels(records),
            space=view,
            conditions=self.conditions(),
            kinds=codec.augment if train else (),
        )

    def decode(self, x: Tensor, space: Space, c: Batch | None = None) -> Records:
        """Tensors of a view as pictures, with their labels where `c` has them."""
        levels = from_space(x, self._view(space))
        pictures = np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())  # to (n, h, w, c)
        conditions: dict[str, tuple[str | None, ...]] = {}
        if c and LABEL in c and self.conditions():
            numbers, present = c[LABEL]
            names = self.codec.names
            pairs = zip(numbers.tolist(), present.tolist(), strict=True)
            conditions[LABEL] = tuple(names[number] if known else None for number, known in pairs)
        return Records(
            domain=self.name,
            items=pictures,
            ids=tuple(str(i) for i in range(len(pictures))),
            conditions=conditions,
            facts={"levels": self.codec.levels},
        )

    def condition(self, where: Mapping[str, Any], n: int) -> Batch:
        """{"label": 3}, {"label": "cat"} or {"label": [n labels, None for any]} as tensors.

        Raises:
            UsageError: a condition or a label is unknown, or a list is not of n labels.
        """
        conditions = {one.name: one for one in self.conditions()}
        batch = {}
        for name, value in where.items():
            if not conditions:
                why = "no labels" if not self.codec.names else "one label only"
                raise UsageError(f"nothing can be steered by {name!r}: the data has {why}.")
            if name not in conditions:
                raise UsageError(f"condition {name!r} is unknown; {nearest(name, conditions)}.")
            labels = conditions[name]
            assert isinstance(labels, Labels)
            values = _one_each(value, n, name)
            numbers = [0 if one is None else labels.index(one) for one in values]
            present = torch.tensor([one is not None for one in values], dtype=torch.bool)
            batch[name] = (torch.tensor(numbers, dtype=torch.int64), present)
        return batch

    def save(self, records: Records, path: Path, provenance: Mapping[str, str]) -> list[Path]:
        """PNG files in a folder, or one grid if `path` ends in .png, marked as model-made."""
        return save.save(records, path, provenance)

    def show(self, records: Records) -> bytes:
        """The bytes of a PNG with up to 64 records, classes in rows or columns."""
        return show.show(records)

    def _view(self, space: Space) -> Continuous | Categorical:
        """The view that a space is; UsageError if it is none of them."""
        for view in self.views():
            if view == space:
                return view
        raise UsageError(must("the space", "one of the domain's views", space))


def _pixels(records: Records) -> Pixels | Picked:
    """The items, (n, h, w, c) uint8; DataError if they are anything else."""
    items = records.items
    held = isinstance(items, (np.ndarray, Picked))
    if not held or items.ndim != 4 or items.dtype != np.uint8:
        got = (getattr(items, "shape", type(items)), str(getattr(items, "dtype", "")))
        raise DataError(must("pictures", "an array (n, h, w, c) of uint8", got, "Call load."))
    if not len(items):
        raise DataError(must("pictures", "at least one", 0))
    return items


def _labels(records: Records) -> Sequence[Any]:
    return records.conditions.get(LABEL, (None,) * len(records))


def _levels(records: Records) -> int:
    return int(records.facts.get("levels", 256))


def _photographs(records: Records) -> bool:
    """Whether pictures are in colour, and of as many colours as only a camera makes."""
    if records.items.shape[3] == 1 or _levels(records) < 256:
        return False
    some = records.items[:: max(1, len(records) // 64)]
    shares = []
    for picture in some:
        colours = picture.reshape(-1, 3).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        shares.append(len(np.unique(colours)) / len(colours))
    return bool(np.median(shares) > PHOTOGRAPHIC)


def _one_each(value: Any, n: int, name: str) -> list[Any]:
    """A value for each of n examples, out of one value or a list of n."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise UsageError(must(f"a list of {name}s", f"of {n}, one for each example", len(value)))
    return list(value)
