"""A tokeniser of texts as the files that Hugging Face's programs read, with the same numbers."""

import json
from collections.abc import Mapping
from typing import Any

from likewise.core.errors import LikewiseError, UsageError, must
from likewise.core.space import Sequence

ROLES = {"system": "\ue000", "user": "\ue001", "assistant": "\ue002"}  # marks inside texts
INSTALL = "A tokenizer.json needs the tokenizers library: pip install 'likewise[text]'"
TEMPLATE = """\
{%- set marks = {'system': '\ue000', 'user': '\ue001', 'assistant': '\ue002'} -%}
{{- bos_token -}}
{%- for message in messages -%}
{%- if message['role'] not in marks -%}
{{- raise_exception('a role must be system, user or assistant') -}}
{%- endif -%}
{{- marks[message['role']] + message['content'].strip() -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- marks['assistant'] -}}{%- endif -%}
"""


def tokenizer_files(state: Mapping[str, Any], space: Sequence) -> dict[str, Any]:
    """{file: content} of a tokeniser for Hugging Face, with the same numbers of tokens.

    Args:
        state: of the domain of texts.
        space: with its tokens.

    Raises:
        UsageError: the numbers of the tokens have gaps that cannot be filled.
        LikewiseError: the tokenizers library is missing.
    """
    tokenizer, names = _tokenizer(state, space)
    begin = tokenizer.id_to_token(int(state.get("begin", space.end)))
    special = {"bos_token": begin, "eos_token": tokenizer.id_to_token(space.end)}
    special["pad_token"] = tokenizer.id_to_token(space.pad)
    if state["tokeniser"]["kind"] == "characters":
        special["unk_token"] = names[space.end - 1]
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": space.length + 1,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    if state["roles"]:
        settings["chat_template"] = TEMPLATE
    return {
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": settings,
        "special_tokens_map.json": special,
    }


def _tokenizer(state: Mapping[str, Any], space: Sequence) -> tuple[Any, dict[int, str]]:
    """A tokeniser of the tokenizers library, and the names of the tokens that it was given."""
    kit, own = library(), state["tokeniser"]
    if own["kind"] == "subwords":
        tokenizer = kit.Tokenizer.from_str(json.dumps(own["tokenizer"]))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        taken = tokenizer.get_vocab(True)
        names = _names(state, space, max(taken.values(), default=-1) + 1, taken)
    else:
        letters = _byte_letters() if own["kind"] == "bytes" else list(own["characters"])
        names = _names(state, space, len(letters), dict.fromkeys(letters, 0))
        numbers = {name: i for i, name in enumerate([*letters, *names.values()])}
        # without merges every character is a token by itself
        unknown = names[space.end - 1] if own["kind"] == "characters" else None
        model = kit.models.BPE(vocab=numbers, merges=[], unk_token=unknown)
        tokenizer = kit.Tokenizer(model)
        tokenizer.decoder = kit.decoders.Fuse()
        if own["kind"] == "bytes":
            byte_level = kit.pre_tokenizers.ByteLevel
            tokenizer.pre_tokenizer = byte_level(add_prefix_space=False, use_regex=False)
            tokenizer.decoder = kit.decoders.ByteLevel()
    for number, name in names.items():
        added = kit.AddedToken(name, special=True, normalized=False)
        tokenizer.add_special_tokens([added])
        got = tokenizer.token_to_id(name)
        if got != number:
            raise UsageError(must(f"the number of the token {name}", str(number), got))
    if "begin" not in state:
        _begin(kit, tokenizer, state, space)
    return tokenizer, names


def _begin(kit: Any, tokenizer: Any, state: Mapping[str, Any], space: Sequence) -> None:
    """Put the end before each text, where texts are whole documents, as the domain does."""
    name = tokenizer.id_to_token(space.end)
    whole = state["whole"] or state["roles"]
    tokenizer.post_processor = kit.processors.TemplateProcessing(
        single=f"{name} $A" if whole else "$A", special_tokens=[(name, space.end)]
    )


def _names(
    state: Mapping[str, Any], space: Sequence, size: int, taken: Mapping[str, int]
) -> dict[int, str]:
    """Names of the tokens from `size` on, which the tokeniser does not have; none is taken."""
    names = {i: f"<|unused {i}|>" for i in range(size, space.tokens)}
    if state["roles"]:
        first = state.get("marks", size)
        names |= {first + i: mark for i, mark in enumerate(ROLES.values())}
    if state["tokeniser"]["kind"] == "characters":
        names[space.end - 1] = "<|unknown|>"
    for number, name in ((space.end, "<|end|>"), (space.pad, "<|pad|>")):
        if number >= size:
            names[number] = name
    for number, name in names.items():
        while name in taken:
            name = f"<{name}>"
        names[number] = name
    return dict(sorted(names.items()))


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level tokeniser (Radford et al., 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain}
    letters |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def closing(state: Mapping[str, Any], space: Sequence) -> int | list[int]:
    """What ends an answer: the end, and in dialogues the marks of those who do not answer.

    Example:
        >>> state = {"roles": True, "tokeniser": {"kind": "bytes"}}
        >>> closing(state, Sequence(length=8, tokens=261, end=259, pad=260))
        [259, 256, 257]
    """
    if not state["roles"]:
        return space.end
    unknown = state["tokeniser"]["kind"] == "characters"
    first = state.get("marks", space.end - len(ROLES) - unknown)
    return [space.end, first, first + 1]


def library() -> Any:
    """The tokenizers library; LikewiseError with its install line where it is missing."""
    try:
        import tokenizers
    except ImportError as error:
        raise LikewiseError(INSTALL) from error
    return tokenizers
