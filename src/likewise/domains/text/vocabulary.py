"""The tokens of a codec: the tokeniser's own, then roles, the unknown, the end, the padding.

Where roles were learned later than the rest, their tokens stand behind all others.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from likewise.domains.text.roles import MARKS
from likewise.domains.text.tokenise import Characters, Ids, Tokeniser

_SPLIT = re.compile(f"([{''.join(MARKS)}])")
UNKNOWN = "\ufffd"


class Vocabulary:
    r"""A tokeniser with the tokens that it lacks.

    Args:
        tokeniser: whose tokens come first.
        roles: whether there are marks of roles, each one token.
        given: {"begin", "end", "pad", "tokens"} of a checkpoint, which has its own: the token
            before a text, the one after it, padding, and how many there are; and "marks", the
            first token of roles that were added to it.

    Example:
        >>> words = Vocabulary(Characters("ab"), roles=True)
        >>> words.size, words.unknown, words.end, words.pad
        (8, 5, 6, 7)
        >>> words.encode(["\ue001b?"])[0].tolist(), ascii(words.decode(np.array([3, 1, 5])))
        ([3, 1, 5], "'\\ue001b\\ufffd'")
    """

    def __init__(
        self, tokeniser: Tokeniser, *, roles: bool, given: Mapping[str, int] | None = None
    ) -> None:
        self.tokeniser = tokeniser
        self.marks = MARKS if roles else ()
        self.given = dict(given or {})
        self.first = self.given.get("marks", tokeniser.size)  # token of a mark
        after = tokeniser.size + (len(self.marks) if "marks" not in self.given else 0)
        self.unknown = after if isinstance(tokeniser, Characters) else None
        self.end = after + (self.unknown is not None)
        self.pad = self.end + 1
        self.size = self.end + 2
        if given is not None:
            self.end, self.pad, self.size = (given[name] for name in ("end", "pad", "tokens"))
        self.begin = self.given.get("begin", self.end)

    @property
    def closes(self) -> bool:
        """Whether the end closes a text for good: not in a checkpoint from elsewhere."""
        return not self.given or "marks" in self.given

    @property
    def assistant(self) -> int | None:
        """The token of the mark of the assistant."""
        return self.first + 2 if self.marks else None

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of each text, without an end."""
        if not self.marks:
            return [self._known(ids) for ids in self.tokeniser.encode(texts)]
        pieces = [_SPLIT.split(text) for text in texts]  # text, mark, text, mark, ..., text
        flat = iter(self.tokeniser.encode_said([part for some in pieces for part in some[::2]]))
        found = []
        for some in pieces:
            parts = [
                np.array([self.first + MARKS.index(part)])
                if place % 2
                else self._known(next(flat))
                for place, part in enumerate(some)
            ]
            found.append(np.concatenate(parts).astype(np.int64))
        return found

    def _known(self, ids: Ids) -> Ids:
        return ids if self.unknown is None else np.where(ids < 0, self.unknown, ids)

    def decode(self, ids: Ids) -> str:
        """The text of tokens, up to the first end or padding; U+FFFD for the unknown."""
        over = np.flatnonzero((ids == self.end) | (ids == self.pad))
        ids = ids[: over[0]] if len(over) else ids
        edges = np.flatnonzero(ids >= self.tokeniser.size).tolist()
        parts, begun = [], 0
        for edge in [*edges, len(ids)]:
            if edge > begun:
                parts.append(self.tokeniser.decode(ids[begun:edge]))
            if edge < len(ids):
                parts.append(self._special(int(ids[edge])))
            begun = edge + 1
        return "".join(parts)

    def _special(self, token: int) -> str:
        mark = token - self.first
        return self.marks[mark] if 0 <= mark < len(self.marks) else UNKNOWN

    def spelled(self) -> list[bytes]:
        """What each token adds to a text, as UTF-8; nothing if it is a role, the end or the like.

        Example:
            >>> Vocabulary(Characters("aé"), roles=False).spelled()
            [b'a', b'\\xc3\\xa9', b'', b'', b'']
        """
        found = self.tokeniser.spelled()[: self.size]
        found += [b""] * (self.size - len(found))
        for token in (self.begin, self.end, self.pad):
            found[token] = b""
        return found

    def lost(self, text: str) -> int:
        """How many characters of a text do not come back from its tokens."""
        parts = _SPLIT.split(text)[::2] if self.marks else [text]
        return sum(map(self.tokeniser.lost, parts))

    def strange(self, text: str) -> list[str]:
        """The characters of a text that there is no token for, each once."""
        if not self.lost(text):
            return []
        every = (one for one in dict.fromkeys(text) if one not in self.marks)
        return [one for one in every if self.tokeniser.lacks(one)]
