"""Documents to records: how long a passage is, where it is cut, and what is split by position."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError
from likewise.core.records import Records, Skipped
from likewise.domains.text.corpus import Bytes, Passages, Places
from likewise.domains.text.documents import Documents
from likewise.domains.text.near import looked
from likewise.domains.text.options import Options

FEW = 20  # documents; fewer are split by position
SMALL = 5 << 20  # bytes up to which characters are tokens, if there are at most
SMALL_TALK = 1 << 18  # the same of dialogues: who answers must see far back
ALPHABET = 256  # different ones
CONTEXT = {"characters": 256, "bytes": 256}
OTHERWISE = 512
LEAST = 16  # tokens of context, the smallest that means anything
ROOMS = 4  # contexts that valid and test must each hold at least
PIECE = 1 << 16  # bytes looked at at a time
ROUNDING = 1e-9
SPREAD = 4  # bytes that a token of a trained vocabulary may stand for


@dataclass(frozen=True)
class Plan:
    """How documents become passages.

    Attributes:
        tokenizer: "characters", "bytes", "bpe", "unigram" or a path.
        context: tokens that a model sees at once.
        limit: the most bytes of a passage.
        positional: whether it is split by position, not by document.
        notes: what a person should know of it.
    """

    tokenizer: str
    context: int
    limit: int
    positional: bool
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> int:
        """Bytes of one context, left out between the parts."""
        return self.context * (1 if self.tokenizer in CONTEXT else SPREAD)


def records_of(documents: Documents, options: Options, what: str, origin: str) -> Records:
    """Records of passages.

    Raises:
        DataError: there is no text, or too little of it, or one word over and over.
    """
    text, starts, stops = documents.whole(what)
    _refuse_monotony(text, what)
    plan = plan_of(text, stops - starts, options, what, roles=documents.roles)
    owner, begins, ends = cut(text, starts, stops, plan.limit)
    items = Passages(text, begins, ends, starts[owner], stops[owner], documents.spool.digest())
    parts, skipped = _position(items, plan, options.train) if plan.positional else (None, [])
    kept = np.flatnonzero(parts != "") if parts is not None else np.arange(len(items))
    given = None if parts is None else tuple(parts[kept].tolist())
    if given is None and any(documents.given):
        given = tuple(documents.given[row] for row in owner.tolist())
    whole = len(starts) == len(items)
    columns = {name: documents.column(name) for name in documents.columns}
    records = Records(
        domain="text",
        items=items.pick(kept),
        ids=tuple(_ids(documents.names, owner[kept], whole=whole)),
        conditions={
            name: tuple(values[row] for row in owner[kept].tolist())
            for name, values in columns.items()
            if values is not None
        },
        groups=None if plan.positional or whole else tuple(map(str, owner.tolist())),
        given=given,
        skipped=(*documents.skipped, *skipped),
        notes=(*documents.told(), *plan.notes),
        origin=origin,
        facts={
            "tokenizer": plan.tokenizer,
            "vocabulary": options.vocabulary,
            "context": plan.context,
            "passage": plan.limit + 1,  # with its end
            "pieces": not plan.positional and not whole,
            "roles": documents.roles,
            "documents": len(starts),
            "source": max((len(text.encode()) for text in columns["source"] or ()), default=0),
        },
    )
    return records if plan.positional else looked(records, owner)


def plan_of(text: Bytes, sizes: Places, options: Options, what: str, *, roles: bool) -> Plan:
    """What is tokenised how, and how long contexts and passages are; see `records_of`."""
    kind, notes = options.tokenizer, []
    if kind == "auto":
        kind = _choose(text, SMALL_TALK if roles else SMALL)
    total, longest = int(sizes.sum()), int(sizes.max())
    context = options.context or CONTEXT.get(kind, OTHERWISE)
    positional = len(sizes) < FEW and (len(sizes) < 3 or longest + 1 > context)
    if positional:
        per = 1 if kind in CONTEXT else SPREAD
        most = math.floor((1 - options.train) / 2 * total / (ROOMS * per) + ROUNDING)
        if most < LEAST:
            need = math.ceil(LEAST * ROOMS * per * 2 / (1 - options.train) - ROUNDING)
            raise DataError(
                f"{what} must hold at least {need:,} bytes of text to train, to choose and to "
                f"test on; got {total:,} in {len(sizes)} "
                f"{'document' if len(sizes) == 1 else 'documents'}. Bring more text."
            )
        if context > most:
            notes.append(f"the text is short: its context is {most} tokens, not {context}.")
            context = most
    elif longest + 1 <= context:
        if options.context is not None and longest + 1 < context:
            notes.append(
                f"no document is as long as the context of {context} tokens: it is {longest + 1}."
            )
        return Plan(kind, longest + 1, longest, False, tuple(notes))
    limit = context // 2 if kind in CONTEXT else context - 1
    return Plan(kind, context, limit, positional, tuple(notes))


def _choose(text: Bytes, small: int) -> str:
    """Characters where the text is small and of few different ones, else pairs of bytes."""
    if len(text) > small:
        return "bpe"
    return "characters" if len(set(text.tobytes().decode("utf-8"))) <= ALPHABET else "bpe"


def cut(text: Bytes, starts: Places, stops: Places, limit: int) -> tuple[Places, Places, Places]:
    """Each document in pieces of nearly equal size, none longer than `limit` bytes.

    Equal sizes leave no short rests, which are alike in many documents and would tie them
    together in one part of a split.

    Returns:
        the number of the document of each piece, and where each begins and ends.

    Example:
        >>> text = np.frombuffer("abcdefgé".encode(), dtype=np.uint8)
        >>> [p.tolist() for p in cut(text, np.array([0]), np.array([9]), limit=8)]
        [[0, 0], [0, 4], [4, 9]]
    """
    sizes = stops - starts
    room = max(1, limit - 3)  # a cut may move by three bytes to the edge of a character
    counts = np.where(sizes <= limit, 1, -(-sizes // room))
    owner = np.repeat(np.arange(len(sizes)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = starts[owner] + number * sizes[owner] // counts[owner]
    for _ in range(3):
        inner = np.flatnonzero(number > 0)
        begins[inner[text[begins[inner]] & 0xC0 == 0x80]] -= 1
    ends = np.append(begins[1:], 0)
    last = np.append(owner[1:] != owner[:-1], True)
    ends[last] = stops[owner[last]]
    return owner, begins, ends


def _position(
    items: Passages, plan: Plan, train: float
) -> tuple[npt.NDArray[np.str_], list[Skipped]]:
    """The part of each passage by its place; "" within a context before a border."""
    ends = np.cumsum(items.bytes())
    begins = ends - items.bytes()
    total = int(ends[-1])
    borders = (train * total, (1 + train) / 2 * total)
    parts = np.array(["train", "valid", "test"])[np.searchsorted(borders, begins, side="right")]
    skipped = []
    for border, part, name in zip(borders, ("train", "valid"), ("valid", "test"), strict=True):
        gap = (ends > border - plan.gap) & (parts == part)
        parts[gap] = ""
        skipped.append(
            Skipped(
                f"{int(gap.sum())} passages between {part} and {name}",
                f"stand within one context ({plan.context} tokens) of the border: left out so "
                "that no part sees into another",
            )
        )
    return parts, skipped


def _ids(names: list[str], owner: Places, *, whole: bool) -> list[str]:
    """The name of the document, with the number of the passage where there are several."""
    if whole:
        return [names[row] for row in owner.tolist()]
    seen: dict[int, int] = {}
    ids = []
    for row in owner.tolist():
        seen[row] = seen.get(row, 0) + 1
        ids.append(f"{names[row]}#{seen[row]}")
    return ids


def _refuse_monotony(text: Bytes, what: str) -> None:
    """DataError if it is one word over and over."""
    words: set[bytes] = set()
    count = 0
    for low in range(0, len(text), PIECE):
        some = text[low : low + PIECE].tobytes().split()
        inner = some if len(text) <= PIECE else some[1:-1]  # an edge may cut a word
        words.update(inner)
        count += len(inner)
        if len(words) > 1:
            return
    if count > 1:
        word = next(iter(words)).decode("utf-8", "replace")[:40]
        raise DataError(
            f"{what} must hold more than one word; got {word!r} {count:,} times over. There is "
            "nothing to learn in it."
        )
