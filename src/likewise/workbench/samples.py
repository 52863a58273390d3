"""Samples as files in the user's own format, marked as model-made, however many there are."""

import errno
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from likewise import __version__
from likewise.core.contract import Controls
from likewise.core.errors import LikewiseError, StoreError, UsageError, must
from likewise.core.records import Records
from likewise.store.archives import Rows, add_files, new_zip, write_npz
from likewise.store.files import file_digest, sweep
from likewise.store.model import BATCH, Model
from likewise.store.numbered import BLOCK, blocks, parse, there, told
from likewise.store.provenance import SIDECAR_SUFFIX, read_mark, same_making, write_sidecar
from likewise.tasks.codec import Codec
from likewise.train.job import Progress
from likewise.workbench.listen import Listener
from likewise.workbench.verbs import open as open_any

LOOKED_AT = 100
LISTED = 1000
MOST_IN_ONE = 10_000
PROMPT = "prompt"  # the condition that is what a model of dialogues answers


class StoppedError(LikewiseError):
    """Ctrl-C, with a sentence on what is there and how to go on."""

    exit_code = 130


@dataclass
class Made:
    """What sampling to files came to.

    Attributes:
        place: the folder or the file.
        asked: how many samples were asked for.
        made: how many were made now.
        present: how many were there already, and were left alone.
        files: the first `LISTED` files that hold those made now.
    """

    place: Path
    asked: int
    made: int = 0
    present: int = 0
    files: list[Path] = field(default_factory=list)

    def add(self, n: int, files: Sequence[Path]) -> None:
        """n more were made, into these files."""
        self.made += n
        self.files += files[: LISTED - len(self.files)]


@dataclass(frozen=True)
class Order:
    """What is to be made: samples of a model by their numbers, and the mark they carry."""

    model: Model
    where: Mapping[str, Any] | None
    seed: int
    controls: Controls
    mark: Mapping[str, str]

    def make(self, numbers: range) -> Records:
        """The samples of these numbers."""
        return self.model.sample(
            len(numbers),
            self.where,
            seed=self.seed,
            start=numbers.start,
            controls=self.controls,
        )


def wanted(n: int, only: str | None) -> list[range]:
    """The numbers of the samples that a person asks for.

    Example:
        >>> wanted(64, None), wanted(64, "17,40-49")
        ([range(0, 64)], [range(17, 18), range(40, 50)])
    """
    if only is not None:
        return parse(only)
    if n < 1:
        raise UsageError(must("n", "a whole number above 0", n))
    return [range(n)]


def sample_to_files(
    path: Path,
    *,
    numbers: Sequence[range],
    where: Mapping[str, Any],
    family: str | None,
    seed: int,
    controls: Mapping[str, Any],
    out: Path | None,
    listener: Listener | None = None,
) -> Made:
    """Sample a run's family or a saved model into files, batch by batch in constant memory.

    Sample i of a seed is the same picture however many are made. In a folder, files that are
    there already are not made again, so a command that was stopped goes on when it is given
    again. A single file (a grid, `.npz`, `.zip`) is written whole or not at all.

    Args:
        path: a run folder or a saved model.
        numbers: which samples, such as [range(100)] for the first hundred.
        where: what they should be.
        family: of the run; None for its best.
        seed: of the samples.
        controls: fields of `Controls`.
        out: a folder, a `.npz`, a `.zip`, or what the domain knows besides (`.png`: one grid);
            None for a folder beside the model.
        listener: told of progress.

    Raises:
        UsageError: a wish cannot be, `out` holds something else, or a model of dialogues is
            asked nothing.
        StoreError: the disk is full; whole files stay, and the sentence says how many.
        StoppedError: Ctrl-C; the same.
    """
    asked = sum(map(len, numbers))
    model = open_any(path, family)
    _check_asked(model, where, path)
    place = out or path / _name(model.name, seed, where, controls)
    _check_place(place)
    chosen = Controls(**controls)
    mark = provenance(model.name, path, seed) | _wishes(where, controls)
    order = Order(model, where or None, seed, chosen, mark)
    made = Made(place, asked)
    heard = _Heard(listener or Listener(), made)
    try:
        _write(order, numbers, made, heard)
    except KeyboardInterrupt:
        raise StoppedError(_left(made, numbers)) from None
    except (LikewiseError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"the disk is full: {_left(made, numbers)}") from error
        if isinstance(error, OSError):
            raise UsageError(f"'{place}' cannot be written ({error.strerror}).") from error
        raise
    return made


def _check_asked(model: Model, where: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError if a model of dialogues, which answers, is asked nothing."""
    names = {condition.name for condition in model.family.conditions}
    talks = isinstance(model.domain, Codec) and bool(model.domain.roles)
    if talks and PROMPT in names and where.get(PROMPT) is None:
        raise UsageError(
            f"{model.name} was trained on dialogues: it answers, and was asked nothing. Talk with "
            f'it: likewise chat {path}, or say what to answer: --where {PROMPT}="USER: ...".'
        )


def _write(order: Order, numbers: Sequence[range], made: Made, heard: "_Heard") -> None:
    """Write the samples where they belong, by what the place is named."""
    suffix = made.place.suffix.lower()
    if suffix == ".npz":
        write_npz(made.place, made.asked, (_rows(part) for part in heard(_parts(order, numbers))))
        mark = {**order.mark, "number": told(numbers)}
        try:
            beside = write_sidecar(made.place, mark)
        except OSError:  # nothing goes unmarked
            made.place.unlink(missing_ok=True)
            raise
        made.add(0, [made.place, beside])
    elif suffix == ".zip" and order.model.domain.numbered:
        _zip(order, numbers, made, heard)
    elif order.model.domain.numbered and not re.fullmatch(r"\.[a-z]\w*", suffix):
        _folder(order, numbers, made, heard)
    else:
        if made.asked > MOST_IN_ONE:
            remedy = "Name a folder, a .zip or a .npz for more."
            raise UsageError(
                must("a single file", f"of at most {MOST_IN_ONE} samples", made.asked, remedy)
            )
        whole = join(list(heard(_parts(order, numbers))))
        made.add(0, order.model.domain.save(whole, made.place, order.mark))


def _folder(order: Order, numbers: Sequence[range], made: Made, heard: "_Heard") -> None:
    sweep(made.place)
    missing = _missing(made, numbers, order.mark)
    for records in heard(order.make(some) for some in _batches(missing)):
        made.add(0, order.model.domain.save(records, made.place, order.mark))


def _zip(order: Order, numbers: Sequence[range], made: Made, heard: "_Heard") -> None:
    with new_zip(made.place) as archive, TemporaryDirectory() as folder:
        for records in heard(_parts(order, numbers)):
            order.model.domain.save(records, Path(folder) / "part", order.mark)
            add_files(archive, Path(folder) / "part")
    made.add(0, [made.place])


def _parts(order: Order, numbers: Iterable[range]) -> Iterator[Records]:
    return (order.make(some) for some in _batches(numbers))


def _batches(numbers: Iterable[range]) -> Iterator[range]:
    """Runs of at most `BATCH` numbers."""
    for run in numbers:
        for first in range(run.start, run.stop, BATCH):
            yield range(first, min(first + BATCH, run.stop))


def _missing(made: Made, numbers: Sequence[range], mark: Mapping[str, str]) -> Iterator[range]:
    """The numbers whose files are not there yet, folder after folder.

    Raises:
        UsageError: a file of one of these numbers is another sample.
    """
    for block in blocks(numbers):
        known = there(made.place, block)
        first = block.start
        for number in sorted(known):
            found = read_mark(known[number]) or {}
            if not same_making(found, {**mark, "number": str(number)}):
                raise UsageError(_other(known[number], found, mark))
            made.present += 1
            if first < number:
                yield range(first, number)
            first = number + 1
        if first < block.stop:
            yield range(first, block.stop)


def _other(path: Path, found: Mapping[str, str], mark: Mapping[str, str]) -> str:
    """Why a file that is there is not the sample that was asked for."""
    said = [
        f"its {key} is {found.get(key, 'none')}, and {mark.get(key, 'none')} was asked for"
        for key in ("family", "seed", "where", "controls")
        if found.get(key) != mark.get(key)
    ]
    return (
        f"'{path}' is there and is another sample: {'; '.join(said) or 'of other weights'}. "
        f"Nothing is replaced; name another folder with --out."
    )


def _rows(records: Records) -> Rows:
    """What a `.npz` holds of some samples."""
    if not isinstance(records.items, np.ndarray):
        remedy = "Name a folder."
        raise UsageError(must("what a .npz holds", "arrays", records.domain, remedy))
    return records.items, dict(records.conditions)


def join(parts: Sequence[Records]) -> Records:
    """Batches of samples as one."""
    first = parts[0]
    arrays = isinstance(first.items, np.ndarray)
    items = [part.items for part in parts]
    return Records(
        domain=first.domain,
        items=np.concatenate(items) if arrays else tuple(one for some in items for one in some),
        ids=tuple(name for part in parts for name in part.ids),
        conditions={
            name: tuple(value for part in parts for value in part.conditions[name])
            for name in first.conditions
        },
        facts=first.facts,
    )


class _Heard:
    """Counts batches as they are used up, and tells a listener how far it is."""

    def __init__(self, listener: Listener, made: Made) -> None:
        self.listener = listener
        self.made = made

    def __call__(self, parts: Iterator[Records]) -> Iterator[Records]:
        self.listener.phase("sample", "sampling")
        start = time.monotonic()
        for records in parts:
            yield records
            self.made.add(len(records), [])
            wanted = self.made.asked - self.made.present
            seconds = time.monotonic() - start
            self.listener.progress("sample", Progress(self.made.made, wanted, seconds, {}))


def _left(made: Made, numbers: Sequence[range]) -> str:
    """What is there after a stop, and how to go on."""
    if made.place.is_dir():
        have = sum(len(there(made.place, block)) for block in blocks(numbers))
        return (
            f"{have} of {made.asked} samples are in {made.place}, each of them whole. Give the "
            f"same command again to go on."
        )
    return f"nothing was written; {made.place} is written whole or not at all."


def _name(name: str, seed: int, where: Mapping[str, Any], controls: Mapping[str, Any]) -> str:
    """A folder for samples of one kind: other wishes, another folder."""
    wishes = [f"{key}={value}" for key, value in {**where, **_changed(controls)}.items()]
    return re.sub(r"[^\w.=+-]+", "_", "-".join([f"samples-{name}-{seed}", *wishes]))


def _changed(controls: Mapping[str, Any]) -> dict[str, Any]:
    default = vars(Controls())
    return {name: value for name, value in controls.items() if value != default[name]}


def _wishes(where: Mapping[str, Any], controls: Mapping[str, Any]) -> dict[str, str]:
    """What was asked for beside the seed, as a mark holds it."""
    asked = {"where": dict(where), "controls": _changed(controls)}
    return {name: json.dumps(value, sort_keys=True) for name, value in asked.items() if value}


def _check_place(place: Path) -> None:
    """Raise UsageError if a folder holds what no model made: a next run would read both."""
    if not place.is_dir():
        return
    for file in sorted(place.iterdir())[:LOOKED_AT]:
        ours = BLOCK.fullmatch(file.name) if file.is_dir() else read_mark(file)
        if not (ours or file.name.startswith(".") or file.name.endswith(SIDECAR_SUFFIX)):
            raise UsageError(
                f"{place} holds what no model made ({file.name}); samples need a folder of "
                f"their own."
            )


def provenance(name: str, path: Path, seed: int) -> dict[str, str]:
    """What every file that leaves carries: made by what, with which weights, when."""
    folder = path / name if (path / "run.json").exists() else path
    return {
        "generator": f"likewise {__version__}",
        "family": name,
        "model_sha256": file_digest(folder / "model.safetensors"),
        "seed": str(seed),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
