"""To complete texts, and to talk: what a model of texts is for."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, TypedDict, Unpack

from likewise.core.contract import Controls
from likewise.core.errors import UsageError, must
from likewise.core.rng import fold
from likewise.store.model import Model
from likewise.tasks.codec import Codec, codec_of, prompt_tokens
from likewise.tasks.drafting import drafted
from likewise.tasks.engine import Engine
from likewise.tasks.forms import Form
from likewise.tasks.rows import Event, Finish, Request
from likewise.tasks.searching import searched

Prompt: TypeAlias = str | Sequence[int]
ANSWER = 4  # an answer may fill this part of the context, if nothing else is said: one in so many


@dataclass(frozen=True, kw_only=True)
class Completion:
    """How a prompt went on.

    Attributes:
        text: without the prompt, and without the stop string that ended it.
        finish: "stop" where it ended by itself, at a stop string or as its form is complete,
            "length" where the most tokens were made, or the model has no token that the form
            could go on with.
        tokens: that were made, the one that closed the text too.
        log_probs: nats of each, in the family's own distribution.
        top: for each the likeliest tokens at its place, as (token, nats).
    """

    text: str
    finish: Finish
    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    top: tuple[tuple[tuple[int, float], ...], ...]


class Wishes(TypedDict, total=False):
    """How texts are to go on: what `complete` and `stream` take by name, as `Request` has it."""

    most: int | None
    controls: Controls
    seed: int
    stop: Sequence[str]
    form: Form | None
    where: Mapping[str, Any]


def complete(
    model: Model,
    prompts: Sequence[Prompt],
    *,
    logprobs: int = 0,
    slots: int = 32,
    draft: Model | None = None,
    beams: int = 1,
    **wishes: Unpack[Wishes],
) -> list[Completion]:
    """How prompts go on, one completion for each.

    Prompt i draws as sample i of the seed, so the texts are those of `Model.sample` with the same
    prompts (up to rounding, and but for the token of unknown characters, which is never written
    here), as far as the context goes. A text may be longer than that: when the context is full,
    its latest half is read anew and the text goes on, without what stood before.

    Args:
        model: of texts, whose family reads from left to right.
        prompts: texts, or tokens; "" is the beginning of a document. A model of dialogues
            answers them, or goes on with an answer that they end with; its answer is over where
            another speaks.
        logprobs: for how many of the likeliest tokens of each place they are told.
        slots: prompts that are continued at one time.
        draft: a smaller model with the same tokens, which guesses ahead; the texts are as likely
            as without it, and the same at a temperature of 0. See `drafted`.
        beams: of a search for the likeliest text, which draws nothing; 1 draws. It goes with
            `most`, `where` and `logprobs` alone. See `searched`.
        most: new tokens, at most; None for as many as the context holds.
        controls: temperature and the like.
        seed: of the draws, 0 by default.
        stop: strings at the first of which a text is over.
        form: that each text, without its prompt, must match as a whole.
        where: what else the texts should be, such as {"label": "letter"}.

    Raises:
        UsageError: a prompt is empty of tokens, or of words where it is to be answered, or too
            long, a number is out of its range, the form cannot be read or not be written with the
            tokens of the model, the draft does not go with the model, the family knows nothing of
            what is asked for, or two wishes do not go together.
        LikewiseError: the llguidance library is missing, which forms need.
    """
    over = frozenset(codec_of(model).roles.values())
    requests = [
        Request(tokens=tokens, sample=number, top=logprobs, over=over, **wishes)
        for number, tokens in enumerate(tokens_of(model, prompts))
    ]
    heard: dict[Request, list[Event]] = {request: [] for request in requests}
    for event in _events(model, requests, slots, draft, beams):
        heard[event.request].append(event)
    return [gathered(events) for events in heard.values()]


def stream(
    model: Model, prompt: Prompt, *, draft: Model | None = None, **wishes: Unpack[Wishes]
) -> Iterator[str]:
    """The text of `complete` for one prompt, piece by piece as it is made; arguments as there.

    Raises:
        UsageError, LikewiseError: as `complete`, when it is called.
    """
    (tokens,) = tokens_of(model, [prompt])
    over = frozenset(codec_of(model).roles.values())
    return _pieces(_events(model, [Request(tokens=tokens, over=over, **wishes)], 1, draft))


def _events(
    model: Model, requests: list[Request], slots: int, draft: Model | None, beams: int = 1
) -> Iterator[Event]:
    """The events of all requests; what cannot be served is refused at once."""
    if beams != 1:
        if draft is not None:
            raise UsageError("a draft and beams do not go together: leave one of them out.")
        return searched(model, requests, beams)
    engine = Engine(model, slots=slots)
    if draft is None:
        for request in requests:
            engine.submit(request)
        return _advanced(engine)
    groups = [requests[first : first + slots] for first in range(0, len(requests), slots)]
    return chain.from_iterable([drafted(model, draft, group) for group in groups])


def _advanced(engine: Engine) -> Iterator[Event]:
    while engine.busy:
        yield from engine.advance()


def gathered(events: Iterable[Event]) -> Completion:
    """The events of one request, to its last, as a completion."""
    every = list(events)
    return Completion(
        text="".join(event.text for event in every),
        finish=every[-1].finish or "length",
        tokens=tuple(event.token for event in every),
        log_probs=tuple(event.log_prob for event in every),
        top=tuple(event.top for event in every),
    )


def tokens_of(model: Model, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Prompts as tokens, those that are texts by `prompt_tokens`.

    Raises:
        UsageError: as there, or a model of dialogues is asked nothing.
    """
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if codec_of(model).roles and not all(text.strip() for text in texts):
        remedy = "Ask something, or give the lines of a dialogue that is to go on."
        raise UsageError(must("a prompt", "what this model of dialogues answers", "", remedy))
    spelled = iter(prompt_tokens(model, texts) if texts else ())
    return [next(spelled) if isinstance(one, str) else list(one) for one in prompts]


def dialogue(codec: Codec, turns: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """The tokens of each turn of a dialogue, its role's first.

    Args:
        codec: of the model.
        turns: [{"role": "system", "user" or "assistant", "content": text}, ...].

    Raises:
        UsageError: the model was not trained on dialogues, or a role is unknown.
    """
    if not codec.roles:
        raise UsageError(
            "this model was not trained on dialogues, so it has no turns to take. Train one on "
            'data with roles: JSONL with "messages", or a script of USER: and ASSISTANT: lines.'
        )
    for turn in turns:
        if turn["role"] not in codec.roles:
            raise UsageError(must("a role", f"one of {', '.join(codec.roles)}", turn["role"]))
    return [[codec.roles[one["role"]], *codec.encode(one["content"].strip())] for one in turns]


def opened(codec: Codec, turns: Iterable[Sequence[int]]) -> list[int]:
    """The tokens of turns, from the beginning of a document to where the assistant answers.

    If the last turn is the assistant's own, its answer goes on.
    """
    read, last = [codec.end], None
    for turn in turns:
        read += turn
        last = turn[0]
    answers = codec.roles["assistant"]
    return read if last == answers else [*read, answers]


class Conversation:
    """A dialogue with a model of dialogues, which reads what was said before each answer.

    Where that does not fit into the context any more, the oldest turns are left out of what the
    model reads, never the system's; `forgotten` says how many.

    Args:
        model: trained on dialogues.
        system: what the assistant is told beforehand, or None.
        most: tokens of an answer, at most; None for a quarter of the context.
        controls: temperature and the like.
        seed: of the draws; each answer has draws of its own.

    Attributes:
        turns: what was said, as [{"role": ..., "content": ...}, ...].
        forgotten: how many of the turns the last answer did not know.

    Raises:
        UsageError: the model was not trained on dialogues, or `most` leaves no room.
    """

    def __init__(
        self,
        model: Model,
        system: str | None = None,
        *,
        most: int | None = None,
        controls: Controls = Controls(),
        seed: int = 0,
    ) -> None:
        self.model, self.codec = model, codec_of(model)
        self.controls, self.seed = controls, seed
        self.turns: list[dict[str, str]] = []
        self.forgotten = 0
        self._system = [] if system is None else [{"role": "system", "content": system}]
        dialogue(self.codec, self._system)  # refuses a model without roles now, not later
        room = Engine(model, slots=1).room
        self.most = max(1, room // ANSWER) if most is None else most
        if not 1 <= self.most <= room - ANSWER:
            be = f"from 1 to {room - ANSWER}, which leaves room for a question"
            raise UsageError(must("most", be, most))
        self._room = room - self.most

    @property
    def messages(self) -> list[dict[str, str]]:
        """All that was said, what the system was told first."""
        return [*self._system, *self.turns]

    def say(self, text: str) -> Generator[str, None, None]:
        """The answer to a text, piece by piece; both are turns when it is over.

        An answer that the caller closes, or a Ctrl-C, half-way is kept as far as it was given.

        Raises:
            UsageError: the text with the system's is too long, when it is called.
        """
        asked = {"role": "user", "content": text}
        tokens, forgotten = self._read([*self.turns, asked])
        engine = Engine(self.model, slots=1)
        request = Request(
            tokens=tokens,
            most=self.most,
            controls=self.controls,
            seed=fold(self.seed, "turn", len(self.turns)),
            over=frozenset(self.codec.roles.values()),
        )
        engine.submit(request)
        self.forgotten = forgotten
        return self._answered(asked, engine)

    def _answered(self, asked: dict[str, str], engine: Engine) -> Generator[str, None, None]:
        given: list[str] = []
        try:
            for piece in _pieces(_advanced(engine)):
                given.append(piece)
                yield piece
        finally:
            self.turns += [asked, {"role": "assistant", "content": "".join(given)}]

    def _read(self, turns: list[dict[str, str]]) -> tuple[list[int], int]:
        """What the model reads, and how many turns are left out of it."""
        system = dialogue(self.codec, self._system)
        spoken = dialogue(self.codec, turns)
        for left in range(0, len(spoken), 2):  # a question goes with its answer
            tokens = opened(self.codec, [*system, *spoken[left:]])
            if len(tokens) <= self._room:
                return tokens, left
        be = f"of at most {self._room} tokens, with what the system says"
        raise UsageError(must("what you say", be, len(tokens), "Say it in fewer words."))


def _pieces(events: Iterable[Event]) -> Iterator[str]:
    """The texts of events, none of them empty."""
    return (event.text for event in events if event.text)
