"""Who speaks in a dialogue: one private-use character at the start of each turn.

| mark | role | shown as |
|---|---|---|
| U+E000 | system: what the assistant is told before | `SYSTEM:` |
| U+E001 | user | `USER:` |
| U+E002 | assistant: the one that answers | `ASSISTANT:` |
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from likewise.core.errors import DataError, must

SYSTEM, USER, ASSISTANT = "\ue000", "\ue001", "\ue002"
MARKS = (SYSTEM, USER, ASSISTANT)
SHOWN = {SYSTEM: "SYSTEM", USER: "USER", ASSISTANT: "ASSISTANT"}
NAMES = {
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("user", "human", "prompter"), USER),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatgpt", "model", "bing", "bard"), ASSISTANT),
}
_HEAD = re.compile(r"(SYSTEM|USER|HUMAN|ASSISTANT|BOT): ?")
_MARK = re.compile(f"[{''.join(MARKS)}]")
SAMPLE = 400  # lines that show whether a text is a script
SCRIPT = 0.3  # the least share of its lines that begin with who speaks


def dialogue(messages: Any) -> str:
    r"""A dialogue as one string, out of messages of OpenAI's or ShareGPT's form.

    Args:
        messages: [{"role": ..., "content": ...}, ...] or [{"from": ..., "value": ...}, ...].

    Raises:
        DataError: a message has another form, or a role is unknown.

    Example:
        >>> dialogue([{"role": "user", "content": "Hi"}, {"from": "gpt", "value": "Hello"}])
        '\ue001Hi\ue002Hello'
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise DataError(must("messages", "a list of {role, content}, at least one", messages))
    return "".join(_turn(message) for message in messages)


def _turn(message: Any) -> str:
    if not isinstance(message, Mapping):
        raise DataError(must("a message", "of the form {role, content}", message))
    role = message.get("role", message.get("from"))
    text = message.get("content", message.get("value"))
    if str(role).lower() not in NAMES:
        raise DataError(must("the role of a message", f"one of {', '.join(NAMES)}", role))
    if isinstance(text, list):  # OpenAI's parts of a message
        parts = [part.get("text") for part in text if isinstance(part, Mapping)]
        text = "".join(map(str, parts)) if parts and None not in parts else None
    if not isinstance(text, str):
        raise DataError(must("the content of a message", "text", text))
    return NAMES[str(role).lower()] + plain(text).strip()


def instruction(row: Mapping[str, Any]) -> str:
    r"""A row of Alpaca's form as a dialogue of two turns.

    Example:
        >>> instruction({"instruction": "Add.", "input": "1 1", "output": "2"})
        '\ue001Add.\n\n1 1\ue0022'
    """
    asked = [row.get("instruction"), row.get("input") or "", row.get("output")]
    if not all(isinstance(text, str) for text in asked):
        raise DataError(must("instruction, input and output", "texts", asked))
    task, more, answer = (plain(str(text)).strip() for text in asked)
    return USER + (f"{task}\n\n{more}" if more else task) + ASSISTANT + answer


def plain(text: str) -> str:
    """A text without characters that could be taken for marks."""
    return _MARK.sub("", text)


def is_script(text: str) -> bool:
    r"""Whether a text is a script of `USER:` and `SYSTEM:` lines, from its first lines.

    Example:
        >>> is_script("USER: Hi\nSYSTEM: Hello\n"), is_script("To be\nor not\n")
        (True, False)
    """
    lines = [line for line in text.split("\n")[:SAMPLE] if line.strip()]
    heads = [match[1] for line in lines if (match := _HEAD.match(line))]
    begins = bool(lines) and _HEAD.match(lines[0]) is not None
    return begins and len(set(heads)) > 1 and len(heads) >= SCRIPT * len(lines)


def script(lines: Iterable[str]) -> Iterator[list[tuple[str, str]]]:
    """The dialogues of a script, each [(who speaks, text), ...]; a blank line stands between.

    A line that names nobody goes on with the turn before it, also behind a blank line.

    Example:
        >>> list(script(["USER: Hi", "there", "", "you", "", "BOT: Well"]))
        [[('USER', 'Hi\\nthere\\n\\nyou')], [('BOT', 'Well')]]
    """
    turns: list[tuple[str, list[str]]] = []
    blank = 0
    for line in lines:
        match = _HEAD.match(line)
        if match and blank and turns:
            yield _joined(turns)
            turns = []
        if match:
            turns.append((match[1], [line[match.end() :].rstrip()]))
        elif line.strip() and turns:
            turns[-1][1].extend([""] * blank + [line.rstrip()])
        elif line.strip():
            turns.append(("USER", [line.rstrip()]))
        blank = 0 if line.strip() else blank + 1
    if turns:
        yield _joined(turns)


def _joined(turns: Iterable[tuple[str, Iterable[str]]]) -> list[tuple[str, str]]:
    return [(name, "\n".join(lines)) for name, lines in turns]


def system_answers(turns: Iterable[tuple[str, str]]) -> bool:
    """Whether SYSTEM is the one that answers a dialogue: behind a user, and no assistant speaks.

    Example:
        >>> system_answers([("USER", "Hi"), ("SYSTEM", "Hello")])
        True
        >>> system_answers([("SYSTEM", "Be kind."), ("USER", "Hi")])
        False
    """
    heads = [name for name, _ in turns]
    asked = next((i for i, name in enumerate(heads) if name in ("USER", "HUMAN")), len(heads))
    return "SYSTEM" in heads[asked:] and not {"ASSISTANT", "BOT"} & set(heads)


def marked(turns: Iterable[tuple[str, str]], *, answers: bool) -> str:
    r"""Turns of a script as one string; `answers` says that SYSTEM is the assistant.

    Example:
        >>> marked([("USER", "Hi"), ("SYSTEM", "Hello")], answers=True)
        '\ue001Hi\ue002Hello'
    """
    role = {"HUMAN": USER, "BOT": ASSISTANT, **{name: mark for mark, name in SHOWN.items()}}
    if answers:
        role["SYSTEM"] = ASSISTANT
    return "".join(role[name] + plain(text) for name, text in turns)


def answer(text: str) -> str:
    r"""What is said up to where another speaks.

    Example:
        >>> answer("Hello\ue001Bye")
        'Hello'
    """
    return _MARK.split(text, maxsplit=1)[0]


def latest(text: str) -> str:
    r"""A dialogue from the last turn on that is not the assistant's; all of it if there is none.

    Example:
        >>> latest("\ue001Hi\ue002Hello\ue001Bye\ue002See you")
        '\ue001Bye\ue002See you'
    """
    others = [match.start() for match in _MARK.finditer(text) if match[0] != ASSISTANT]
    return text[others[-1] :] if others else text


def asked(text: str) -> str:
    r"""What a person writes to a model of dialogues, up to where it answers.

    Lines with USER: and the like are turns, and any other text is what a user says.

    Example:
        >>> asked("Hi"), asked("SYSTEM: Be kind.\nUSER: Hi")
        ('\ue001Hi\ue002', '\ue000Be kind.\ue001Hi\ue002')
        >>> asked("USER: Hi\nASSISTANT: Well,")
        '\ue001Hi\ue002Well,'
    """
    turns = list(script(text.split("\n")))
    if text.startswith(MARKS):
        said = text
    elif len(turns) == 1 and is_script(f"{text}\nUSER: \nASSISTANT: "):
        said = marked(turns[0], answers=False)
    else:
        said = USER + plain(text).strip()
    return answering(said)


def answering(said: str) -> str:
    r"""A dialogue, one mark at least, up to where the assistant answers, or goes on with it.

    Example:
        >>> answering("\ue001Hi"), answering("\ue001Hi\ue002Well,")
        ('\ue001Hi\ue002', '\ue001Hi\ue002Well,')
    """
    return said if _MARK.findall(said)[-1] == ASSISTANT else said + ASSISTANT


def shown(text: str) -> str:
    r"""A dialogue as lines that a person reads; any other text as it is.

    Example:
        >>> shown("\ue001Hi\ue002Hello")
        'USER: Hi\nASSISTANT: Hello'
    """
    pieces = _MARK.split(text)
    pairs = zip(_MARK.findall(text), pieces[1:], strict=True)
    turns = [f"{SHOWN[mark]}: {piece}" for mark, piece in pairs]
    return "\n".join([pieces[0], *turns] if pieces[0] or not turns else turns)


def messages(text: str) -> list[dict[str, str]]:
    r"""A dialogue as OpenAI's messages; what stands before the first mark is left out.

    Example:
        >>> messages("\ue001Hi\ue002Hello")
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    pieces = _MARK.split(text)[1:]
    found = zip(_MARK.findall(text), pieces, strict=True)
    return [{"role": SHOWN[mark].lower(), "content": piece} for mark, piece in found]
