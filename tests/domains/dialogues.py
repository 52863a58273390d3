"""Dialogues for tests: written to a file, and what of them is an answer."""

import json

import numpy as np

from likewise.domains.text import Text
from tests.domains.texts import every, fitted, real

S, U, A = "\ue000", "\ue001", "\ue002"
__all__ = ["every", "fitted", "real"]  # of texts of any kind
NAMES = {S: "system", U: "user", A: "assistant"}


def talk(n=30, seed=1, turns=(2, 7)):
    """Dialogues as [(mark, text), ...]; some end with the user, one in three has a system."""
    draw = np.random.default_rng(seed)

    def words():
        return " ".join(draw.choice(["yes", "no", "why", "well", "né"], draw.integers(1, 9)))

    found = []
    for number in range(n):
        said = [(S, f"be {words()}")] if number % 3 == 0 else []
        said += [((U, A)[i % 2], words()) for i in range(draw.integers(*turns))]
        found.append(said)
    return found


def load(folder, dialogues, more=(), **options):
    path = folder / "talk.jsonl"
    rows = [
        {"messages": [{"role": NAMES[mark], "content": text} for mark, text in one]}
        for one in dialogues
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]), encoding="utf-8")
    return Text.load(path, **options)


def whole(dialogue):
    return "".join(mark + text for mark, text in dialogue)


def answers(dialogues):
    """(what was said before, the answer, what closes it: a mark or "") of every answer."""
    for one in dialogues:
        for i, (mark, text) in enumerate(one):
            if mark == A:
                closing = one[i + 1][0] if i + 1 < len(one) else ""
                yield whole(one[:i]) + A, text, closing
