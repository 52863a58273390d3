"""What is asked for: the bodies of `/v1/completions` and `/v1/chat/completions`, checked."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from likewise.core.contract import Controls
from likewise.core.errors import LengthError, LikewiseError, UsageError
from likewise.serve.errors import ApiError
from likewise.serve.fields import Fields, is_text
from likewise.serve.formats import NAME, form_of
from likewise.tasks.engine import Engine
from likewise.tasks.forms import Form, check_form
from likewise.tasks.rows import Request
from likewise.tasks.texts import dialogue, opened, tokens_of

DEFAULT = 16  # new tokens of a completion for which no number is given, as OpenAI's
CHOICES = 128  # the most choices of one request
STOPS = 16
STOP = 256  # characters of a stop string
TOP = 20  # the most log-probabilities of one place
SEED = 2**63
PENALTY = 100  # the most that a logit is divided by
FREE = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
"""Fields that say nothing about the text."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "best_of": (1,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "modalities": (["text"],),
    "reasoning_effort": ("none", "medium"),
    "verbosity": ("medium",),
}
"""Fields that are not served, with what they may be all the same."""
BOTH = {
    *("model", "max_tokens", "temperature", "top_p", "n", "stop", "seed"),
    *("top_k", "min_p", "repetition_penalty"),  # as vLLM calls them
    *("logprobs", "stream", "stream_options", NAME, *FREE, *NEUTRAL),
}
TEXT = {*BOTH, "prompt", "echo"}
CHAT = {*BOTH, "messages", "max_completion_tokens", "top_logprobs"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A checked request.

    Attributes:
        chat: whether it is one of `/v1/chat/completions`.
        requests: one for each choice, in their order.
        echoes: what the text of each choice begins with.
        read: tokens of all prompts.
        told: whether log-probabilities are told.
        stream: whether the answer comes in pieces.
        usage: whether a stream ends with the numbers of tokens.
    """

    chat: bool
    requests: tuple[Request, ...]
    echoes: tuple[str, ...]
    read: int
    told: bool
    stream: bool
    usage: bool


class Reader:
    """Reads bodies for one engine.

    Args:
        engine: that is to serve.
        name: of the model, as clients call it.
        most: new tokens of one choice, at most.
        choices: of one request, at most, those of all its prompts together.
    """

    def __init__(self, engine: Engine, name: str, most: int, choices: int) -> None:
        self.engine, self.name, self.most, self.choices = engine, name, most, choices

    def text(self, body: Mapping[str, Any]) -> Asked:
        """A body of `/v1/completions`; ApiError if it cannot be served."""
        fields = Fields(body, TEXT)
        self._common(fields)
        prompts = _prompts(fields)
        echo, told = fields.flag("echo"), "logprobs" in fields
        if echo and told:
            raise ApiError(
                400,
                "echo and logprobs cannot be had together: a prompt is read, not scored.",
                param="logprobs",
            )
        top = fields.whole("logprobs", 0, low=0, high=TOP)
        most = fields.whole("max_tokens", min(DEFAULT, self.most), low=1, high=self.most)
        n = self._each(fields, len(prompts))
        rows = self._tokens(fields, prompts)
        echoes = [self._spelled(p) if echo else "" for p in prompts for _ in range(n)]
        over = frozenset(self.engine.codec.roles.values())
        return self._asked(fields, rows, echoes, most, top, told=told, over=over)

    def chat(self, body: Mapping[str, Any]) -> Asked:
        """A body of `/v1/chat/completions`; ApiError if it cannot be served."""
        fields = Fields(body, CHAT)
        self._common(fields)
        turns = _turns(fields)
        told = fields.flag("logprobs")
        top = fields.whole("top_logprobs", 0, low=0, high=TOP)
        if top and not told:
            raise fields.must("top_logprobs", "without logprobs 0", top, "Set logprobs: true.")
        codec = self.engine.codec
        try:
            row = opened(codec, dialogue(codec, turns))
        except UsageError as error:
            raise ApiError(400, str(error), param="messages") from error
        old = fields.whole("max_tokens", self.most, low=1, high=self.most)
        most = fields.whole("max_completion_tokens", old, low=1, high=self.most)
        # An answer ends with the context, or it would go on without the question.
        most = min(most, max(1, self.engine.room - len(row)))
        n = self._each(fields, 1)
        over = frozenset(codec.roles.values())
        return self._asked(fields, [row], [""] * n, most, top, told=told, over=over, chat=True)

    def _common(self, fields: Fields) -> None:
        """Raise ApiError for another model, and for what is not served."""
        model = fields.text("model")
        if model != self.name:
            raise ApiError(
                404,
                f"model must be {self.name!r}, the one that is served; got {model[:120]!r}.",
                param="model",
                code="model_not_found",
            )
        for name, values in NEUTRAL.items():
            if name in fields and not _is_one_of(fields.body[name], values):
                remedy = "This server does nothing else with it."
                raise fields.must(name, f"left out, or {values[0]!r}", fields.body[name], remedy)

    def _each(self, fields: Fields, prompts: int) -> int:
        """How many choices each of so many prompts has."""
        n = fields.whole("n", 1, low=1, high=CHOICES)
        if n * prompts > self.choices:
            raise fields.must("n", f"at most {self.choices} with all prompts", n * prompts)
        return n

    def _tokens(self, fields: Fields, prompts: list[str | list[int]]) -> list[list[int]]:
        """The tokens of prompts, in range; none of them is padding."""
        space = self.engine.space
        for prompt in prompts:
            for token in () if isinstance(prompt, str) else prompt:
                if not 0 <= token < space.tokens or token == space.pad:
                    be = f"from 0 to {space.tokens - 1} and not {space.pad}, the padding"
                    raise fields.must("prompt", f"of tokens {be}", token)
        try:
            return tokens_of(self.engine.model, prompts)
        except UsageError as error:
            raise _refused(error, "prompt") from error

    def _spelled(self, prompt: str | list[int]) -> str:
        """A prompt as text."""
        if isinstance(prompt, str):
            return prompt
        codec = self.engine.codec
        return codec.text([token for token in prompt if token != codec.end])

    def _asked(
        self,
        fields: Fields,
        rows: list[list[int]],
        echoes: list[str],
        most: int,
        top: int,
        *,
        told: bool,
        over: frozenset[int],
        chat: bool = False,
    ) -> Asked:
        seed = fields.whole("seed", secrets.randbelow(SEED), low=-SEED, high=SEED - 1)
        controls, stop, form = _controls(fields), _stop(fields), self._form(fields)
        each = len(echoes) // len(rows)
        requests = tuple(
            Request(
                tokens=rows[number // each],
                most=most,
                controls=controls,
                seed=seed,
                sample=number,
                stop=stop,
                over=over,
                top=top,
                form=form,
            )
            for number in range(len(echoes))
        )
        self._check(requests, "messages" if chat else "prompt")
        options = fields.table("stream_options", {"include_usage", "include_obfuscation"})
        return Asked(
            chat=chat,
            requests=requests,
            echoes=tuple(echoes),
            read=sum(map(len, rows)),
            told=told,
            stream=fields.flag("stream"),
            usage=options.flag("include_usage"),
        )

    def _form(self, fields: Fields) -> Form | None:
        """The form of the answers; ApiError if there is no such, or the model cannot write it."""
        form = form_of(fields)
        if form is not None:
            try:
                check_form(self.engine.codec, form, self.engine.space.tokens)
            except LikewiseError as error:
                raise ApiError(400, str(error), param=NAME) from error
        return form

    def _check(self, requests: tuple[Request, ...], param: str) -> None:
        """Raise ApiError unless the engine can serve them all."""
        for request in requests:
            try:
                self.engine.check(request)
            except UsageError as error:
                long = isinstance(error, LengthError)
                raise _refused(error, param if long else None) from error


def _refused(error: UsageError, param: str | None) -> ApiError:
    """The error for what the model cannot be asked."""
    code = "context_length_exceeded" if isinstance(error, LengthError) else None
    return ApiError(400, str(error), param=param, code=code)


def _is_one_of(value: object, values: tuple[Any, ...]) -> bool:
    """Whether a value is one of some, for none of which true or false stands as a number."""
    return any(isinstance(value, bool) == isinstance(one, bool) and value == one for one in values)


def _prompts(fields: Fields) -> list[str | list[int]]:
    """The prompts: a text, texts, tokens, or lists of tokens."""
    value = fields.body.get("prompt")
    many: list[Any] = value if isinstance(value, list) and not _is_tokens(value) else [value]
    if many and all(_is_tokens(one) or (is_text(one) and one) for one in many):
        return many
    be = "a text, a list of texts, a list of tokens or a list of such lists, none of them empty"
    remedy = "To begin a document, give the token that ends one."
    raise fields.must("prompt", be, value, remedy)


def _is_tokens(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(one, int) and not isinstance(one, bool) for one in value)


def _turns(fields: Fields) -> list[dict[str, str]]:
    """The messages, as [{"role": ..., "content": ...}, ...]."""
    value = fields.body.get("messages")
    if not isinstance(value, list) or not value:
        raise fields.must("messages", "a list of {role, content}, 1 or more", value)
    return [_turn(fields, message, f"messages[{i}]") for i, message in enumerate(value)]


def _turn(fields: Fields, message: object, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise fields.must(where, "an object of role and content", message)
    role, content = message.get("role"), message.get("content")
    if isinstance(content, list):
        texts = [_part(part) for part in content]
        content = None if None in texts else "".join(map(str, texts))
    if not is_text(content):
        be = "a text, or a list of parts of the type text"
        raise fields.must(f"{where}.content", be, message.get("content"))
    if not isinstance(role, str) or len(role) > STOP:
        raise fields.must(f"{where}.role", "system, user or assistant", role)
    return {"role": "system" if role == "developer" else role, "content": str(content)}


def _part(part: object) -> str | None:
    """The text of a part of a message; None if it is something else."""
    if not isinstance(part, dict) or part.get("type") != "text":
        return None
    text = part.get("text")
    return text if isinstance(text, str) else None


def _stop(fields: Fields) -> tuple[str, ...]:
    value = fields.body.get("stop", [])
    many = [value] if isinstance(value, str) else value
    fits = isinstance(many, list) and len(many) <= STOPS
    if not (fits and all(is_text(one) and 0 < len(one) <= STOP for one in many)):
        be = f"a text or a list of up to {STOPS}, each of 1 to {STOP} characters"
        raise fields.must("stop", be, value)
    return tuple(many)


def _controls(fields: Fields) -> Controls:
    return Controls(
        temperature=fields.number("temperature", 1.0, "from 0 to 2", lambda x: 0 <= x <= 2),
        top_p=fields.number("top_p", 1.0, "above 0 and at most 1", lambda x: 0 < x <= 1),
        min_p=fields.number("min_p", 0.0, "from 0 to below 1", lambda x: 0 <= x < 1),
        top_k=fields.whole("top_k", 1, low=1) if "top_k" in fields else None,
        repetition=fields.number(
            "repetition_penalty", 1.0, f"from {1 / PENALTY:g} to {PENALTY}", _is_penalty
        ),
    )


def _is_penalty(value: float) -> bool:
    return 1 / PENALTY <= value <= PENALTY
