"""Documents to records: how long a passage is, where it is cut, and what is split by position."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from likewise.core.errors import DataError
from likewise.core.records import Records, Skipped
from likewise.domains.text.corpus import MARK, Bytes, Passages, Places, mark_places
from likewise.domains.text.documents import Documents
from likewise.domains.text.near import looked
from likewise.domains.text.options import Options
from likewise.domains.text.repeats import repeated
from likewise.domains.text.roles import ASSISTANT

FEW = 20  # documents; fewer are split by position
HELD_OUT = ("valid", "test")
SMALL = 5 << 20  # bytes up to which characters are tokens, if there are at most
SMALL_TALK = 1 << 18  # the same of dialogues: who answers must see far back
ALPHABET = 256  # different ones
CONTEXT = {"characters": 256, "bytes": 256}
OTHERWISE = 512
LEFT = 0.25  # of a part, the least that must not be repeated in one held out after it
LEAST = 16  # tokens of context, the smallest that means anything
ROOMS = 4  # contexts that valid and test must each hold at least
PIECE = 1 << 16  # bytes looked at at a time
ROUNDING = 1e-9
SPREAD = 4  # bytes that a token of a trained vocabulary may stand for
WORD = 40  # bytes; what is longer is no word
CLOSING = MARK - 1  # tokens by which a codec without marks closes a turn, beyond one


@dataclass(frozen=True)
class Plan:
    """How documents become passages.

    Attributes:
        tokenizer: "characters", "bytes", "bpe", "unigram" or a path.
        context: tokens that a model sees at once.
        limit: the most bytes of a passage.
        positional: whether it is split by position, not by document.
        fits: whether every document fits into the context.
        notes: what a person should know of it.
    """

    tokenizer: str
    context: int
    limit: int
    positional: bool
    fits: bool
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> int:
        """Bytes of one context, left out between the parts."""
        return self.context * (1 if self.tokenizer in CONTEXT else SPREAD)


@dataclass(frozen=True)
class Said:
    """What is learned of documents: answers of dialogues, and all of any other.

    Attributes:
        owner: (n,) the number of the document of each, ascending.
        starts, stops: (n,) where each begins and ends.
        leads: (n,) where what is read before it begins: behind the answer before it, or where
            the dialogue begins; `starts` where there is nothing.
        skipped: what nothing is learned of.
    """

    owner: Places
    starts: Places
    stops: Places
    leads: Places
    skipped: tuple[Skipped, ...] = ()


def records_of(documents: Documents, options: Options, what: str, origin: str) -> Records:
    """Records of passages: pieces of documents, of dialogues the answers of the assistant.

    A dialogue in which the assistant says nothing has nothing to learn, and is skipped.

    Raises:
        DataError: there is no text, or too little of it, or one word over and over, or nobody
            answers in any dialogue.
    """
    text, starts, stops = documents.whole(what)
    _refuse_monotony(text, what, documents.notes)
    said = answers(text, starts, stops, what) if documents.roles else _all(starts, stops)
    named = np.array(documents.given, dtype=object)
    plan = plan_of(text, stops - starts, said, options, what, named, roles=documents.roles)
    piece, begins, ends = cut(text, said.starts, said.stops, plan.limit)
    owner = said.owner[piece]
    leads = None  # a document is read from its first passage on
    if documents.roles:
        leads = np.where(np.diff(piece, prepend=-1) > 0, said.leads[piece], begins)
    digest = documents.spool.digest()
    items = Passages(text, begins, ends, starts[owner], stops[owner], digest, leads)
    parts: npt.NDArray[np.object_] | None = None
    skipped: list[Skipped] = []
    if plan.positional:
        parts, skipped = _position(items, plan, options.train, named[owner])
    kept = np.flatnonzero(parts != "") if parts is not None else np.arange(len(items))
    given = None if parts is None else tuple(parts[kept].tolist())
    if given is None and any(documents.given):
        given = tuple(documents.given[row] for row in owner.tolist())
    whole = len(starts) == len(items) and not documents.roles
    columns = {name: documents.column(name) for name in documents.columns}
    sources = columns["source"]
    records = Records(
        domain="text",
        items=items.pick(kept),
        ids=tuple(_ids(documents.names, owner[kept], whole=whole)),
        conditions={
            name: tuple(values[row] for row in owner[kept].tolist())
            for name, values in columns.items()
            if values is not None
        },
        groups=None if plan.positional or (whole and not sources) else _groups(owner, sources),
        given=given,
        skipped=(*documents.skipped, *said.skipped, *skipped),
        notes=(*documents.told(), *plan.notes),
        origin=origin,
        facts={
            "tokenizer": plan.tokenizer,
            "vocabulary": options.vocabulary,
            "context": plan.context,
            "passage": plan.limit + 1,  # with its end
            "by_place": plan.positional,
            "pieces": not plan.positional and not whole,
            "roles": documents.roles,
            "fits": plan.fits,
            "documents": len(starts),
            "source": max((len(s.encode()) for s in sources or () if s), default=0),
            **({"made_from": "source"} if sources else {}),
        },
    )
    return records if plan.positional else looked(records, owner)


def _groups(owner: Places, sources: list[Any] | None) -> tuple[str, ...]:
    """What each passage must stay together with: its document, and all that has its source."""
    names: dict[int, str] = {} if sources is None else dict(enumerate(sources))
    return tuple(f"source {names[row]}" if names.get(row) else str(row) for row in owner.tolist())


def _all(starts: Places, stops: Places) -> Said:
    return Said(np.arange(len(starts)), starts, stops, starts)


def answers(text: Bytes, starts: Places, stops: Places, what: str) -> Said:
    """The turns of the assistant in dialogues; documents that are none are kept whole.

    Args:
        text: (bytes,) of all documents.
        starts, stops: (n,) where each document begins and ends.
        what: the data, as errors call it.

    Raises:
        DataError: there is nothing that can be learned.

    Example:
        >>> text = np.frombuffer("\ue001Hi\ue002Hello\ue001Bye\ue002".encode(), dtype=np.uint8)
        >>> said = answers(text, np.array([0]), np.array([len(text)]), "the data")
        >>> said.starts.tolist(), said.stops.tolist(), said.leads.tolist()
        ([8], [13], [0])
        >>> [one.why for one in said.skipped]
        ['the assistant says nothing there, so there is nothing to learn']
    """
    marks = mark_places(text)
    whose = np.searchsorted(starts, marks, side="right") - 1
    until = np.minimum(np.append(marks[1:], len(text)), stops[whose])
    speaks = text[marks + MARK - 1] == ASSISTANT.encode()[-1]
    solid = speaks & (until > marks + MARK)
    plain = np.setdiff1d(np.arange(len(starts)), whose)
    owner = np.concatenate([whose[solid], plain])
    order = np.argsort(owner, kind="stable")
    owner = owner[order]
    if not len(owner):
        raise DataError(
            f"{what} must hold answers of an assistant, which are what is learned; got "
            f"{len(starts):,} dialogues in which only others speak. Name the role that answers "
            "assistant."
        )
    begins = np.concatenate([marks[solid] + MARK, starts[plain]])[order]
    ends = np.concatenate([until[solid], stops[plain]])[order]
    leads = np.concatenate([starts[whose[solid]], starts[plain]])[order]
    later = np.flatnonzero(owner[1:] == owner[:-1]) + 1
    leads[later] = ends[later - 1]
    empty = int((speaks & ~solid).sum())
    silent = len(starts) - len(np.unique(owner))
    return Said(owner, begins, ends, leads, tuple(_unsaid(empty, silent)))


def _unsaid(empty: int, silent: int) -> Iterator[Skipped]:
    """What of dialogues is no record, with its count."""
    if empty:
        yield Skipped(
            f"{empty:,} empty {'turn' if empty == 1 else 'turns'} of the assistant",
            "the assistant says nothing there, so there is nothing to learn",
        )
    if silent:
        yield Skipped(
            f"{silent:,} {'dialogue' if silent == 1 else 'dialogues'} without an answer",
            "a model of dialogues learns the turns of the assistant alone",
        )


def plan_of(
    text: Bytes,
    sizes: Places,
    said: Said,
    options: Options,
    what: str,
    named: npt.NDArray[np.object_],
    *,
    roles: bool,
) -> Plan:
    """What is tokenised how, and how long contexts and passages are; see `records_of`.

    `named` (n,) is the part that each document came with, or "".
    """
    kind, notes = options.tokenizer, []
    if kind == "auto":
        kind = _choose(text, SMALL_TALK if roles else SMALL)
    longest = int(sizes.max())
    context = options.context or CONTEXT.get(kind, OTHERWISE)
    free = ~np.isin(named, HELD_OUT)  # what a part that is missing is taken from
    positional = int(free.sum()) < FEW and (len(sizes) < 3 or longest + 1 > context)
    if positional:
        per = 1 if kind in CONTEXT else SPREAD
        most = _most(sizes, named, options.train, ROOMS * per, what)
        if context > most:
            notes.append(f"the text is short: its context is {most} tokens, not {context}.")
            context = most
    elif longest + 1 <= context:
        if options.context is not None and longest + 1 < context:
            notes.append(
                f"no document is as long as the context of {context} tokens: it is {longest + 1}."
            )
        limit = int((said.stops - said.starts).max())
        return Plan(kind, longest + 1, limit, False, True, tuple(notes))
    limit = context // 2 if kind in CONTEXT else context - 1
    limit -= CLOSING if roles else 0
    return Plan(kind, context, limit, positional, False, tuple(notes))


def _most(
    sizes: Places, named: npt.NDArray[np.object_], train: float, rooms: int, what: str
) -> int:
    """The longest context of which each part holds enough; DataError if that is too short."""
    own = {part: int(sizes[named == part].sum()) for part in HELD_OUT if part in named}
    for part, size in own.items():
        if size < LEAST * rooms:
            word = f"at least {LEAST * rooms:,} bytes"
            raise DataError(f"the {part} part of {what} must hold {word}; got {size:,}.")
    total = int(sizes.sum()) - sum(own.values())
    share = (1 - train) / 2 if len(own) < len(HELD_OUT) else 1.0
    most = math.floor(share * total / rooms + ROUNDING)
    if most < LEAST:
        need = math.ceil(LEAST * rooms / share - ROUNDING)
        raise DataError(
            f"{what} must hold at least {need:,} bytes of text to train, to choose and to "
            f"test on; got {total:,} in {len(sizes)} "
            f"{'document' if len(sizes) == 1 else 'documents'}. Bring more text."
        )
    return min(most, *(size // rooms for size in own.values())) if own else most


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
    items: Passages, plan: Plan, train: float, named: npt.NDArray[np.object_]
) -> tuple[npt.NDArray[np.object_], list[Skipped]]:
    """The part of each passage by its place; "" within a context before a border.

    A part that the data came with (`named`, one a passage) is kept, and only one that is missing
    is taken from the end of the rest.
    """
    free = ~np.isin(named, HELD_OUT)
    missing = [part for part in HELD_OUT if part not in named]
    sizes = np.where(free, items.stops - items.leads, 0)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    total = int(ends[-1])
    borders = [train * total, (1 + train) / 2 * total][2 - len(missing) :]
    by_place = np.searchsorted(borders, begins, side="right")
    parts = np.where(free, np.array(["train", *missing], dtype=object)[by_place], named)
    skipped = []
    for border, part, name in zip(borders, ["train", *missing], missing, strict=False):
        gap = free & (ends > border - plan.gap) & (parts == part)
        parts[gap] = ""
        skipped.append(
            Skipped(
                f"{int(gap.sum())} passages between {part} and {name}",
                f"stand within one context ({plan.context} tokens) of the border: left out so "
                "that no part sees into another",
            )
        )
    again = repeated(items, parts)
    left = [(~again[parts == part]).mean() for part in set(parts) - {""}]
    if again.any() and min(left) < LEFT:
        skipped.append(
            Skipped(
                "no passage that is repeated",
                "the text says the same over and over, and little would be left of some part: "
                "what is held out is known, and scores flatter",
            )
        )
    elif again.any():
        parts[again] = ""
        skipped.append(
            Skipped(
                f"{int(again.sum())} passages of train or valid",
                "stand word for word, or nearly, in a part held out after them: left out so that "
                "what is held out is new",
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


def _refuse_monotony(text: Bytes, what: str, notes: Sequence[str] = ()) -> None:
    """DataError if it is one word over and over.

    A long word of several characters is a line of a language that sets no spaces. Where a word is
    not ASCII the notes on encodings are told, for it may have been read in a wrong one.
    """
    words: set[bytes] = set()
    count = 0
    for low in range(0, len(text), PIECE):
        some = text[low : low + PIECE].tobytes().split()
        inner = some if len(text) <= PIECE else some[1:-1]  # an edge may cut a word
        words.update(inner)
        count += len(inner)
        if len(words) > 1:
            return
    if count <= 1:
        return
    word = next(iter(words)).decode("utf-8", "replace")
    if len(word.encode()) > WORD and len(set(word)) > 1:
        return
    noted = "" if word.isascii() else "".join(f" {note}" for note in notes if "encoding=" in note)
    raise DataError(
        f"{what} must hold more than one word; got {word[:40]!r} {count:,} times over. There is "
        f"nothing to learn in it.{noted}"
    )
