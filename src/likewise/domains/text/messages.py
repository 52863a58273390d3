"""Dialogues that are not text throughout: they end before the first message that cannot be said.

A call of a tool, its answer and a picture are no text, and what follows them answers something
that a model would never see. So a dialogue is kept up to its last answer before such a message:
nothing is made up, no two turns become one, and all that can be said is kept. Words that come
with a call of a tool were said, and are the last answer.

Forms: OpenAI's chat completions (`content: null`, `tool_calls`, `refusal`, lists of parts), and
ShareGPT's with `function_call` and `observation`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from likewise.core.records import Skipped
from likewise.domains.text.roles import ASSISTANT, NAMES, SYSTEM
from likewise.domains.text.rows import chat_of
from likewise.domains.text.tables import Rows

TOOLS = ("tool", "function", "function_call", "tool_call", "observation", "tool_response")
CALLS = ("tool_calls", "function_call")
TOOL = "calls a tool or is the answer of one"
MORE = "holds more than text"
NONE = "has no text"
ROLE = "is of a role that is not known"


def sayable(found: Rows, file: str, skipped: list[Skipped]) -> Rows:
    """Rows with their dialogues cut before the first message that is no text.

    Args:
        found: rows of `file` with their names; what is no dialogue goes through as it is.
        skipped: is told how many messages were left out, and of which dialogues nothing is left.

    Example:
        >>> asked = {"role": "user", "content": "Is it late?"}
        >>> call = {"content": None, "tool_calls": [{"id": "a"}]}
        >>> told = []
        >>> said, call = {"role": "assistant", "content": "Yes."}, {"role": "assistant"} | call
        >>> rows = iter([("a:1", {"messages": [asked, said, asked, call]})])
        >>> [len(row["messages"]) for _, row in sayable(rows, "a", told)], told[0].what
        ([2], '2 messages in 1 dialogues of a')
    """
    dialogues: Counter[str] = Counter()
    messages: Counter[str] = Counter()
    for name, row in found:
        key = chat_of(row) if isinstance(row, Mapping) else None
        if key is None or not _is_dialogue(row[key]):
            yield name, row
            continue
        kept, why = _until(row[key])
        if not kept and why and why != ROLE:  # what is said of a role names those that are known
            skipped.append(Skipped(name, f"has no answer before a message that {why}"))
            continue
        if kept and why:
            dialogues[why] += 1
            messages[why] += len(row[key]) - len(kept)
        yield name, {**row, key: kept or row[key]}
    for why, count in dialogues.items():
        what = f"{messages[why]:,} messages in {count:,} dialogues of {file}"
        reason = f"come after the last answer before a message that {why}"
        skipped.append(Skipped(what, reason))


def _is_dialogue(messages: Any) -> bool:
    listed = isinstance(messages, Sequence) and not isinstance(messages, str) and len(messages) > 0
    return listed and all(isinstance(message, Mapping) for message in messages)


def _until(messages: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, str]], str]:
    """What can be said, up to its last answer where it ends early; and why it does, or ""."""
    kept: list[dict[str, str]] = []
    why = ""
    for message in messages:
        role = str(message.get("role", message.get("from"))).lower()
        text, why = _said(message, role)
        mark = NAMES.get(role)
        if mark == SYSTEM and why == NONE:  # an assistant that was told nothing
            why = ""
        elif not why or (mark == ASSISTANT and text.strip()):
            kept.append({"role": role, "content": text})
        if why:
            break
    while why and kept and NAMES[kept[-1]["role"]] != ASSISTANT:
        kept.pop()
    return kept, why


def _said(message: Mapping[str, Any], role: str) -> tuple[str, str]:
    """The text of a message, and why a dialogue ends with it, or ""."""
    content = next((message[k] for k in ("content", "value") if message.get(k) is not None), None)
    if content is None:
        content = message.get("refusal")
    parts = content if isinstance(content, list) else [content]
    texts = [_text(part) for part in parts]
    text = "".join(part for part in texts if part is not None)
    if role in TOOLS or any(message.get(call) for call in CALLS):
        return ("" if role in TOOLS else text), TOOL
    if role not in NAMES:
        return "", ROLE
    if None in texts or not texts:
        return text, MORE if isinstance(content, list) and texts else NONE
    return text, ""


def _text(part: Any) -> str | None:
    """The text of a content, or of a part of one; None if it is none."""
    if isinstance(part, Mapping):
        part = part.get("text", part.get("refusal"))
    return part if isinstance(part, str) else None
