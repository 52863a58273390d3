"""Canaries of a person's own: planted in the training part of texts, asked of a model later."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from likewise.auditing.canaries import Canary, Exposure, exposure
from likewise.auditing.canaries import plant as put_between
from likewise.core.errors import StoreError, UsageError, must
from likewise.core.records import PARTS, Records
from likewise.store.files import digest, locked, read_json, write_json, write_text
from likewise.store.model import Model
from likewise.store.run import Run
from likewise.workbench.data import Prepared, gather, load
from likewise.workbench.texts import joined

NEVER = 48  # canaries that are drawn and never planted: what chance gives
ENDING = ".canaries.json"
LARGEST = 1 << 20  # bytes of a file of canaries
KEPT = f"private/run{ENDING}"
SCHEMA = 1


@dataclass(frozen=True)
class Planted:
    """Texts with canaries.

    Attributes:
        data: a folder with the parts train, valid and test; canaries stand in train alone.
        file: what was planted, to audit with; it is private.
        canaries: those planted, and `NEVER` that were not.
        texts: how many training texts there are.
    """

    data: Path
    file: Path
    canaries: tuple[Canary, ...]
    texts: int


def plant(
    data: Any, out: str | Path, *, repeats: Sequence[int], each: int, seed: int = 0, **options: Any
) -> Planted:
    """Write texts as a folder whose training part has canaries in it.

    The split is that of a run on the same data, so what was held out stays so.

    Args:
        data: texts, whatever `load` reads; no dialogues or pairs.
        out: a new folder; the canaries go into a file beside it.
        repeats: how often canaries are planted, such as (1, 4, 16, 64).
        each: canaries for each number of repeats.
        seed: of secrets and places.
        **options: of the data, see `load`.

    Raises:
        UsageError: the folder is there already, the data are no plain texts, or there are more
            canaries than sentences for them.
    """
    folder = Path(out).expanduser()
    file = folder.with_name(folder.name + ENDING)
    for path in (folder, file):
        if path.exists():
            raise UsageError(must("what is written", "new", str(path), "Name another folder."))
    if each < 1 or not repeats or min(repeats) < 1:
        be = "1 or more, and at least one of each"
        raise UsageError(must("repeats of canaries", be, (tuple(repeats), each)))
    records = load(data, **options)
    if records.domain != "text" or records.facts.get("roles") or records.facts.get("source"):
        remedy = "Dialogues and pairs have no lines to put one between."
        raise UsageError(must("what canaries are planted in", "plain texts", data, remedy))
    prepared = Prepared.of(records)
    rows = {part: _rows(prepared.part(part)) for part in PARTS}
    counts = [times for times in repeats for _ in range(each)] + [0] * NEVER
    texts, canaries = put_between([text for text, _ in rows["train"]], counts, seed)
    labels = [label for _, label in rows["train"]]
    rows["train"] = list(zip(texts, labels, strict=True))
    for part, some in rows.items():
        write_text(folder / part / "texts.jsonl", _lines(some))
    write_json(file, {"schema": SCHEMA, "canaries": [list(one) for one in canaries]})
    return Planted(folder, file, tuple(canaries), len(texts))


def _rows(records: Records) -> list[tuple[str, Any]]:
    """The texts of records with their labels; passages that follow one another as one."""
    labels = records.conditions.get("label", (None,) * len(records))
    on = getattr(records.items, "follows", None)
    first = [label for row, label in enumerate(labels) if on is None or not on[row]]
    return list(zip(joined(records.items), first, strict=True))


def _lines(rows: Sequence[tuple[str, Any]]) -> str:
    found = ({"text": text} | ({} if label is None else {"label": label}) for text, label in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def canaries_file(path: Path) -> list[Canary]:
    """The canaries of a file that `plant` wrote.

    Raises:
        UsageError: it is no file, or too large.
        StoreError: it is not what was written.
    """
    if not path.is_file() or path.stat().st_size > LARGEST:
        be = f"the file that `likewise plant` wrote, at most {LARGEST >> 20} MiB"
        raise UsageError(must("canaries", be, str(path)))
    data = read_json(path)
    try:
        return [_canary(one) for one in data["canaries"]]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} holds no canaries ({type(error).__name__}: {error}).") from error


def _canary(one: Sequence[Any]) -> Canary:
    prefix, secret, repeats = one
    if not (isinstance(prefix, str) and str(secret).isdecimal() and type(repeats) is int):
        raise ValueError(f"{one!r} is none")
    return Canary(prefix, str(secret), repeats)


def log_mass_of(model: Model) -> Callable[[Sequence[str]], Tensor]:
    """A function from n texts to the log masses (n,) that a model gives them, as documents."""

    def log_mass(texts: Sequence[str]) -> Tensor:
        ids = tuple(map(str, range(len(texts))))
        records = Records(domain="text", items=tuple(texts), ids=ids)
        source = model.domain.source(records, model.family.space, train=False)
        return model.log_mass(*gather(source))

    model.family.eval()
    return log_mass


def exposures(model: Model, canaries: Sequence[Canary], *, seed: int = 0) -> list[Exposure]:
    """How well a model of texts knows canaries; see `likewise.auditing.canaries`.

    Raises:
        UsageError: the family has no likelihood.
    """
    density: Mapping[type, Any] = model.family.claims.density
    if density.get(type(model.family.space)) is None:
        raise UsageError(f"{model.name} has no likelihood, so no exposure can be told.")
    return exposure(log_mass_of(model), canaries, seed=seed)


def keep(path: Path, file: Path) -> None:
    """Note in a run of texts, and among its private evidence, what was planted in its data.

    Raises:
        UsageError, StoreError: there is no run, or the file holds no canaries.
    """
    rows = [list(one) for one in canaries_file(file)]
    with locked(path):
        run = Run.open(path)
        write_json(path / KEPT, {"schema": SCHEMA, "canaries": rows})
        run.update(canaries=digest(rows))


def asking(run: Run) -> Callable[[Model], list[Exposure]] | None:
    """How well a model knows the canaries of a run; None where none were planted."""
    if "canaries" not in run.data:
        return None
    canaries = canaries_file(run.path / KEPT)
    return partial(exposures, canaries=canaries, seed=int(run.data["seed"]))
