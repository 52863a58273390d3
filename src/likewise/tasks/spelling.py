"""Text out of tokens as they come, as far as it is settled.

Two things are held back: a character whose bytes are not all there, and what may be the beginning
of a stop string. So the pieces that are given out, put together, are the text: none is taken back.
"""

from collections.abc import Sequence

from likewise.tasks.codec import BROKEN, Codec

HALF = 3  # bytes of a character that is not whole, at most, each shown as one BROKEN at most


class Spelling:
    r"""Tokens in, text that is safe to show out.

    Args:
        codec: of the model.
        stop: strings at the first of which the text is over; none is part of the text.

    Attributes:
        stopped: whether a stop string was met.
        place: characters that stand before what the last token adds, shown or held back.

    Example:
        >>> class Bytes:
        ...     def text(self, tokens):
        ...         return bytes(tokens).decode(errors="replace")
        >>> spelling = Spelling(Bytes(), ("END",))
        >>> [spelling.add(byte) for byte in "aé E".encode()], spelling.rest()
        (['a', '', 'é', ' ', ''], 'E')
    """

    def __init__(self, codec: Codec, stop: Sequence[str] = ()) -> None:
        self.codec = codec
        self.stop = tuple(stop)
        self.stopped = False
        self.place = 0
        self._settled = 0  # characters, shown or held back
        self._half = 0  # characters that may be parts of one
        self._before: list[int] = []  # a stretch that ended with a whole character
        self._now: list[int] = []  # what came after it
        self._told = 0  # characters of both that were decoded already
        self._held = ""

    def add(self, token: int) -> str:
        """What can be shown with one more token."""
        self._now.append(token)
        return self._searched(self._decoded())

    def rest(self) -> str:
        """What was held back, when no more tokens come."""
        text = self.codec.text([*self._before, *self._now])[self._told :]
        self._told += len(text)
        safe = self._searched(text)
        self.place = self._settled
        held, self._held = self._held, ""
        return safe if self.stopped else safe + held

    def _decoded(self) -> str:
        """New characters that later tokens cannot change."""
        # Decoded after what stands before, for decoders that treat the first token differently.
        text = self.codec.text([*self._before, *self._now])
        half = min(HALF, len(text) - len(text.rstrip(BROKEN)))
        settled = text[self._told : len(text) - half]
        self._told += len(settled)
        lost = len(settled) - len(settled.lstrip(BROKEN))  # parts that no other part followed
        self.place, self._half = self._settled + min(self._half, lost), half
        if not half:
            self._before, self._now = self._now, []
            self._told = len(self.codec.text(self._before))
        return settled

    def _searched(self, text: str) -> str:
        """What can be shown of what was held and of new text, up to the first stop string."""
        self._settled += len(text)
        text = self._held + text
        places = [place for one in self.stop if (place := text.find(one)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        safe = len(text) - self._begun(text)
        self._held = text[safe:]
        return text[:safe]

    def _begun(self, text: str) -> int:
        """How many characters at the end of a text are the beginning of a stop string."""
        longest = max((len(one) for one in self.stop), default=1) - 1
        for size in range(min(longest, len(text)), 0, -1):
            if any(one.startswith(text[-size:]) for one in self.stop):
                return size
        return 0
