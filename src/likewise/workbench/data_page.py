"""What is in some data, for a person who is about to train on it: facts, and a page that shows it.

Facts are plain data; of the records they hold names and one caption. The page has a contact sheet
of real records, so it is private by nature; it is written only where it is asked for.
"""

import base64
import io
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core import registry
from likewise.core.contract import Domain
from likewise.core.errors import DataError, UsageError, must
from likewise.core.records import Records, Split
from likewise.reporting.data_page import data_page
from likewise.store.files import write_text
from likewise.workbench.data import Prepared, describe
from likewise.workbench.runs import command_line

SHOWN = 60
PAIRS = 8
MOST_NAMES = 5
MOST_VALUES = 12
MOST_SIZES = 8
WIDEST = 720
"""Pixels of a contact sheet on the page; a larger one is made smaller."""
LABEL = "label"
CAPTIONS = ("caption", "text")
_PNG = b"\x89PNG"


def facts_of(
    records: Records, options: Mapping[str, object] = {}
) -> tuple[dict[str, Any], Prepared]:
    """All that can be said of some data in words, and the data prepared for a run.

    Args:
        records: the data.
        options: with which it was loaded, for the command that would train on it.

    Returns:
        what `Prepared.facts` says, and besides: "refused" (why a run would refuse the data, or
        ""), "sizes", "formats", "near", "classes", "captions", "columns", "oddities", "choice",
        "command".
        The prepared data has everything in train where a run would refuse it.
    """
    refused = ""
    try:
        prepared = Prepared.of(records)
    except DataError as error:
        refused, prepared = str(error), _whole(records)
    facts = prepared.facts()
    classes = facts["conditions"].get(LABEL, {})
    classes = classes if isinstance(classes, dict) else {}
    return {
        **facts,
        "counts": {} if refused else facts["counts"],
        "refused": refused,
        "sizes": _sizes(records.facts.get("sizes") or []),
        "formats": dict(records.facts.get("formats") or {}),
        "near": records.facts.get("near"),
        "classes": {name: classes[name] for name in sorted(classes, key=_natural)},
        "captions": _captions(records),
        "columns": [
            _column(name, values)
            for name, values in records.conditions.items()
            if name not in (LABEL, *CAPTIONS)
        ],
        "oddities": _oddities(records),
        "choice": {} if refused else _choice(prepared),
        "command": command_line("run", records.origin, load=options),
    }, prepared


def write_page(records: Records, out: Path, options: Mapping[str, object] = {}) -> dict[str, Any]:
    """Write the page of some data, with its contact sheet; returns the facts.

    Raises:
        StoreError: the file cannot be written.
    """
    facts, prepared = facts_of(records, options)
    pairs = _pairs(prepared.domain, records, facts["near"] or {})
    write_text(out, data_page(facts, _sheets(prepared.domain, records), pairs))
    return facts


def check_page(out: Path) -> None:
    """Raise UsageError unless a page can have this name; asked before the data is read."""
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise UsageError(must("the page", "a file that ends in .html", str(out)))


def _whole(records: Records) -> Prepared:
    """Data that cannot be split: the codec is fitted on all of it."""
    domain: Domain = registry.get("domains", records.domain)()
    domain.fit(records)
    every, none = np.arange(len(records)), np.arange(0)
    return Prepared(records, Split(train=every, valid=none, test=none), domain)


def _sizes(sizes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Sizes of the originals: each where they are few, else by the smaller side."""
    if not sizes:
        return {}
    ordered = sorted((height * width, height, width, count) for height, width, count in sizes)
    shapes = Counter[str]()
    for _, height, width, count in ordered:
        shapes["square" if height == width else "tall" if height > width else "wide"] += count
    return {
        "different": len(ordered),
        "smallest": list(ordered[0][1:3]),
        "largest": list(ordered[-1][1:3]),
        "shapes": {name: shapes[name] for name in ("wide", "square", "tall") if shapes[name]},
        "bars": _bars(ordered),
    }


def _bars(ordered: Sequence[tuple[int, int, int, int]]) -> dict[str, int]:
    """{a size in words: how many}, width before height."""
    if len(ordered) <= MOST_SIZES:
        return {f"{width} × {height}": count for _, height, width, count in ordered}
    bins = Counter[int]()
    for _, height, width, count in ordered:
        bins[min(height, width).bit_length()] += count
    span = range(min(bins), max(bins) + 1)
    return {f"{2 ** (bit - 1):,} to {2**bit - 1:,}": bins[bit] for bit in span}


def _captions(records: Records) -> dict[str, Any] | None:
    """How many captions there are, how long, and one of them."""
    for name in CAPTIONS:
        texts = [
            text for text in records.conditions.get(name, ()) if isinstance(text, str) and text
        ]
        if texts:
            words = statistics.median(len(text.split()) for text in texts)
            return {"records": len(texts), "words": words, "example": texts[0]}
    return None


def _column(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """What a column holds: its commonest values, or a spread of numbers."""
    known = [value for value in values if value is not None]
    numbers = [v for v in known if isinstance(v, (int, float)) and not isinstance(v, bool)]
    found: dict[str, Any] = {"name": name, "missing": len(values) - len(known)}
    try:
        counts = Counter(str(value) for value in known)
    except Exception:  # whatever a user's own values do when they are asked for their text
        return {**found, "different": None, "values": {}, "numbers": None}
    spread = None
    if numbers and len(numbers) == len(known) and len(counts) > MOST_VALUES:
        spread = [min(numbers), statistics.median(numbers), max(numbers)]
    some = dict(counts.most_common(MOST_VALUES))
    return {**found, "different": len(counts), "values": some, "numbers": spread}


def _oddities(records: Records) -> list[dict[str, Any]]:
    """What was left out, grouped by the reason, the commonest first."""
    reasons: dict[str, list[str]] = {}
    for item in records.skipped:
        reasons.setdefault(item.why, []).append(item.what)
    ordered = sorted(reasons.items(), key=lambda pair: -len(pair[1]))
    return [
        {"why": why, "count": len(names), "first": names[:MOST_NAMES]} for why, names in ordered
    ]


def _choice(prepared: Prepared) -> dict[str, Any]:
    """What a run would make of the data, were it started now without an option."""
    state = prepared.domain.state()
    chosen: dict[str, Any] = {}
    if state.get("height") and state.get("width"):
        chosen["size"] = f"{state['width']} × {state['height']}"
    if "channels" in state:
        chosen["colours"] = {1: "grey", 3: "rgb"}.get(state["channels"], str(state["channels"]))
    if "levels" in state:
        chosen["levels"] = state["levels"]
    if "augment" in state:
        chosen["augmentation"] = ", ".join(state["augment"] or ()) or "none"
    if "tokenizer" in prepared.records.facts:
        count = getattr(prepared.space, "tokens", 0)
        chosen["tokens"] = f"{prepared.records.facts['tokenizer']}, {count:,} of them"
        chosen["context"] = f"{state['context']:,} tokens"
    chosen = chosen or {"tensors": describe(prepared.space)}
    steered = [condition.name for condition in prepared.domain.conditions()]
    chosen["steered by"] = ", ".join(steered) or "nothing"
    chosen["scored on"] = f"{prepared.most_samples():,} held-out records"
    return chosen


def _sheets(domain: Domain, records: Records) -> list[dict[str, Any]]:
    """A contact sheet: one for each class, or one of all; `SHOWN` records or fewer, evenly."""
    labels = records.conditions.get(LABEL, (None,) * len(records))
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault("" if label is None else str(label), []).append(row)
    names = sorted(rows, key=_natural)
    chosen = _evenly(names, SHOWN)
    each = max(1, SHOWN // len(chosen))
    return [
        {
            "name": name or ("no class" if len(names) > 1 else ""),
            "count": len(rows[name]),
            **_picture(domain, records, _evenly(rows[name], each)),
        }
        for name in chosen
    ]


def some_pictures(domain: Domain, records: Records, most: int) -> list[bytes]:
    """A PNG each of some records, one of each class before a second; none that is no picture."""
    labels = records.conditions.get(LABEL, (None,) * len(records))
    first: dict[Any, int] = {}
    for row, label in enumerate(labels):
        first.setdefault(label, row)
    rows = list(first.values()) if len(first) > 1 else _evenly(range(len(records)), most)
    shown = (domain.show(records.take([row])) for row in _evenly(rows, most))
    return [data for data in shown if data.startswith(_PNG)]


def _pairs(domain: Domain, records: Records, near: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pairs of near-duplicates, side by side."""
    row = {name: at for at, name in enumerate(records.ids)}
    examples = [pair for pair in near.get("examples", ()) if all(name in row for name in pair)]
    return [
        {"names": list(pair), **_picture(domain, records, [row[name] for name in pair])}
        for pair in examples[:PAIRS]
    ]


def _natural(name: str) -> list[str]:
    """A sorting key under which "9" comes before "10", and no class comes last."""
    pieces = re.split(r"([0-9]+)", name.lower())
    padded = [piece.zfill(20) if at % 2 else piece for at, piece in enumerate(pieces)]
    return [str(not name), *padded, name]


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    n = min(most, len(items))
    return [items[i * len(items) // n] for i in range(n)]


def _picture(domain: Domain, records: Records, rows: Iterable[int]) -> dict[str, Any]:
    """Some records as a picture inside a page: {"source", "width", "height", "shown"}."""
    chosen = list(rows)
    data = domain.show(records.take(chosen))
    if not data.startswith(_PNG):
        source = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
        return {"source": source, "width": None, "height": None, "shown": len(chosen)}
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        if max(picture.size) > WIDEST:
            picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            picture.save(buffer, format="PNG", optimize=True)
            data = buffer.getvalue()
        width, height = picture.size
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"source": source, "width": width, "height": height, "shown": len(chosen)}
