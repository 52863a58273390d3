"""A small stand-in for a trained model of texts: bytes, random weights, roles if asked for.

Run as a program it serves itself: `python -m tests.serve.standin PORT [SECONDS A STEP]`.
"""

import sys
import time

import torch

from likewise.core.condition import Tokens
from likewise.core.contract import Domain, Guess
from likewise.core.errors import LengthError, UsageError, must
from likewise.core.records import Records
from likewise.core.space import Sequence
from likewise.families.transformer import Config, Transformer
from likewise.store.model import Model

ROLES = {"system": 256, "user": 257, "assistant": 258}
END, PAD, SIZE = 259, 260, 261


class Letters(Domain):
    """Bytes as tokens; a prompt is read as it is, an empty one is the end before it."""

    name, headline = "letters", "bits_per_byte"
    end, pad = END, PAD

    def __init__(self, length, roles):
        self.length = length
        self.roles = ROLES if roles else {}

    def encode(self, text):
        if "\x07" in text:
            raise UsageError("the prompt has characters that the training texts never had: BEL")
        return list(text.encode())

    def text(self, tokens):
        marks = {token: chr(0xE000 + i).encode() for i, token in enumerate(ROLES.values())}
        parts = [marks.get(token) or bytes([token]) for token in tokens]
        return b"".join(parts).decode(errors="replace")

    def spelled(self):
        return [bytes([byte]) for byte in range(256)] + [b""] * (SIZE - 256)

    def condition(self, where, n):
        rows = [self.encode(text) or [END] for text in where["prompt"]]
        longest = max(map(len, rows))
        if longest > self.length:
            remedy = "Leave out its beginning."
            raise LengthError(
                must("a prompt", f"of at most {self.length} tokens", longest, remedy)
            )
        values = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
        return {"prompt": (values, torch.ones(n, dtype=torch.bool))}

    def conditions(self):
        return (Tokens(name="prompt", length=self.length, tokens=SIZE, pad=PAD),)

    def views(self):
        return (Sequence(length=self.length, tokens=SIZE, end=END, pad=PAD),)

    def decode(self, x, space, c=None):
        rows = [[token for token in row if token < END] for row in x.tolist()]
        return Records(
            domain=self.name,
            items=tuple(self.text(row) for row in rows),
            ids=tuple(map(str, range(len(rows)))),
        )

    @classmethod
    def recognises(cls, data):
        return Guess(0.0, "a stand-in")

    @classmethod
    def load(cls, data, **options):
        raise NotImplementedError

    toy = load

    def fit(self, train):
        raise NotImplementedError

    def state(self):
        return {}

    from_state = load
    source = load
    save = load
    show = load


class Paused:
    """A reader that takes its time, as one of a large model would."""

    def __init__(self, reader, pause):
        self.reader, self.pause = reader, pause

    def begin(self, rows, lengths):
        return self.reader.begin(rows, lengths)

    def step(self, tokens):
        time.sleep(self.pause)
        return self.reader.step(tokens)

    def keep(self, rows):
        self.reader.keep(rows)

    def join(self, other):
        self.reader.join(other.reader)


def standin(length=96, roles=True, pause=0.0, endless=True, **config):
    """A model; `endless` says that it never closes a text by itself."""
    torch.manual_seed(0)
    domain = Letters(length, roles)
    small = {"width": 32, "depth": 2, "heads": 2, "groups": 1, "hidden": 48, "biased": True}
    family = Transformer(Config(**{**small, **config}), domain.views()[0], domain.conditions())
    for parameter in family.parameters():
        torch.nn.init.normal_(parameter, std=0.35)
    _speak(family, endless)
    if pause:
        plain = family.reader
        family.reader = lambda c, n: Paused(plain(c, n), pause)
    return Model("transformer", family.eval(), domain, {}, {})


def _speak(family, endless):
    """Letters and the two bytes of é are likelier than other bytes; roles are rare."""
    for few in (slice(97, 123), slice(0xC3, 0xC4), slice(0xA9, 0xAA), slice(32, 33)):
        family.silent[few] += 4.0
    family.silent[END] += -torch.inf if endless else 5.0
    family.silent[256:259] -= 8.0


class Eager(Paused):
    """A reader that gives the word to the user after so many tokens."""

    def __init__(self, reader, after):
        super().__init__(reader, 0.0)
        self.after, self.count = after, 0

    def step(self, tokens):
        logits, self.count = super().step(tokens), self.count + 1
        if self.count == self.after:
            logits[..., ROLES["user"]] += 1e4
        return logits


def impatient(after):
    """A model that gives the word to the user after so many tokens."""
    model = standin()
    plain = model.family.reader
    model.family.reader = lambda c, n: Eager(plain(c, n), after)
    return model


if __name__ == "__main__":
    from likewise.cli.main import guarded
    from likewise.serve import serve

    torch.set_num_threads(1)
    paused = standin(pause=float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    port = int(sys.argv[1])
    sys.exit(guarded(lambda: serve(paused, name="standin", port=port, slots=4, queue=8)))
