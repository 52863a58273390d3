"""The bodies of answers, whole and in pieces, in OpenAI's form."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from likewise.serve.asked import Asked
from likewise.tasks.codec import Codec, spelled, word_of
from likewise.tasks.rows import Event, Request

LEAST = -9999.0  # nats, as OpenAI tells those of what cannot be: JSON has no infinity


@dataclass
class _Choice:
    """What was told of one choice, and what waits to be told."""

    number: int
    begins: int  # where what is new stands in its text, in characters
    waiting: list[Event] = field(default_factory=list)


class Answer:
    """The answer to one request.

    Args:
        asked: the request.
        name: of the model.
        codec: of the model.
    """

    def __init__(self, asked: Asked, name: str, codec: Codec) -> None:
        self.asked, self.name, self.codec = asked, name, codec
        self.made = 0
        self.created = int(time.time())
        self.id = f"{'chatcmpl' if asked.chat else 'cmpl'}-{uuid4().hex}"
        pairs = enumerate(zip(asked.requests, asked.echoes, strict=True))
        self._choices = {request: _Choice(i, len(echo)) for i, (request, echo) in pairs}

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        """All of it, from all of its events."""
        by_request: dict[Request, list[Event]] = {request: [] for request in self.asked.requests}
        for event in events:
            by_request[event.request].append(event)
        self.made = len(events)
        choices = []
        for (request, heard), echo in zip(by_request.items(), self.asked.echoes, strict=True):
            text = echo + "".join(event.text for event in heard)
            shown = (
                {"message": {"role": "assistant", "content": text, "refusal": None}}
                if self.asked.chat
                else {"text": text}
            )
            choices.append(self._choice(self._choices[request], shown, heard))
        return self._body("chat.completion", choices) | {"usage": self.usage()}

    def first(self) -> Iterator[dict[str, Any]]:
        """The pieces that stand before all tokens: roles, or echoes of prompts."""
        for choice, echo in zip(self._choices.values(), self.asked.echoes, strict=True):
            if self.asked.chat:
                opening = {"delta": {"role": "assistant", "content": ""}}
                yield self._piece(choice, opening, [])
            elif echo:
                yield self._piece(choice, {"text": echo}, [])

    def piece(self, event: Event) -> dict[str, Any] | None:
        """What can be told with one more token, or None."""
        self.made += 1
        choice = self._choices[event.request]
        choice.waiting.append(event)
        if not (event.text or event.finish):
            return None
        heard, choice.waiting = choice.waiting, []
        if not self.asked.chat:
            return self._piece(choice, {"text": event.text}, heard)
        return self._piece(choice, {"delta": {"content": event.text}}, heard)

    def last(self) -> Iterator[dict[str, Any]]:
        """The piece that stands after all tokens, if usage was asked for."""
        if self.asked.usage:
            yield self._body("chat.completion.chunk", []) | {"usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """How many tokens were read and made."""
        read, made = self.asked.read, self.made
        return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}

    def _piece(self, choice: _Choice, shown: dict[str, Any], heard: list[Event]) -> dict[str, Any]:
        body = self._body("chat.completion.chunk", [self._choice(choice, shown, heard)])
        return body | {"usage": None} if self.asked.usage else body

    def _body(self, chat: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": chat if self.asked.chat else "text_completion",
            "created": self.created,
            "model": self.name,
            "choices": choices,
        }

    def _choice(
        self, choice: _Choice, shown: dict[str, Any], heard: list[Event]
    ) -> dict[str, Any]:
        told = None
        if self.asked.told and heard:
            told = self._content(heard) if self.asked.chat else self._columns(choice, heard)
        finish = heard[-1].finish if heard else None
        return {"index": choice.number, **shown, "logprobs": told, "finish_reason": finish}

    def _content(self, heard: list[Event]) -> dict[str, Any]:
        """Log-probabilities as chats tell them."""
        content = [
            self._token(event.token, event.log_prob)
            | {"top_logprobs": [self._token(token, nats) for token, nats in event.top]}
            for event in heard
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, nats: float) -> dict[str, Any]:
        data = spelled(self.codec)[token]
        told = {"token": word_of(self.codec, token), "logprob": max(nats, LEAST)}
        return told | {"bytes": list(data) or None}

    def _columns(self, choice: _Choice, heard: list[Event]) -> dict[str, Any]:
        """Log-probabilities as completions tell them."""
        tops = [
            {word_of(self.codec, token): max(nats, LEAST) for token, nats in event.top}
            for event in heard
        ]
        return {
            "tokens": [word_of(self.codec, event.token) for event in heard],
            "token_logprobs": [max(event.log_prob, LEAST) for event in heard],
            "top_logprobs": tops if any(tops) else None,
            "text_offset": [choice.begins + event.place for event in heard],
        }
