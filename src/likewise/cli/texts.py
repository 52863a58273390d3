"""The verbs of texts: complete, chat, serve, export."""

import os
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

from rich.markup import escape

from likewise.cli.chat import HELP, Talk
from likewise.cli.show import notices, results, say_json
from likewise.core.contract import Controls
from likewise.core.errors import UsageError, must
from likewise.store.model import Model
from likewise.tasks.codec import codec_of, word_of
from likewise.tasks.forms import Form, Kind
from likewise.tasks.texts import Completion, Conversation, Wishes, complete, stream
from likewise.workbench import verbs
from likewise.workbench.runs import device_of

KEY = "LIKEWISE_KEY"
FORMS: dict[str, Kind] = {"--regex": "regex", "--json-schema": "json", "--grammar": "grammar"}


def complete_job(
    path: Path,
    prompt: str,
    family: str | None,
    *,
    device: str,
    forms: Mapping[str, str | Path | None] | None = None,
    draft: str | None = None,
    beams: int = 1,
    logprobs: bool = False,
    as_json: bool = False,
    **wishes: Unpack[Wishes],
) -> None:
    """`likewise complete`."""
    wishes["form"] = form_of(forms or {})
    place = device_of(device)
    model = verbs.open(path, family, device=place)
    drafts = None if draft is None else draft_of(path, draft, place)
    text = sys.stdin.read() if prompt == "-" else prompt
    shown = f"{text}\n" if codec_of(model).roles else text  # an answer is no part of it
    if beams == 1 and not (logprobs or as_json):
        pieces = stream(model, text, draft=drafts, **wishes)  # refuses before anything is said
        for piece in chain([shown], pieces, ["\n"]):
            _say(piece)
        return
    (found,) = complete(model, [text], draft=drafts, beams=beams, **wishes)
    if as_json:
        say_json(told(model, text, found))
        return
    _say(f"{shown}{found.text}\n")
    if logprobs:
        _say("".join(f"{line}\n" for line in lines(model, found)))


def told(model: Model, prompt: str, found: Completion) -> dict[str, Any]:
    """A completion as plain data, with natural logarithms of probabilities."""
    codec = codec_of(model)
    pairs = zip(found.tokens, found.log_probs, strict=True)
    return {
        "model": model.name,
        "prompt": prompt,
        "text": found.text,
        "finish": found.finish,
        "log_prob": sum(found.log_probs),
        "tokens": [
            {"token": word_of(codec, token), "number": token, "log_prob": nats}
            for token, nats in pairs
        ],
    }


def lines(model: Model, found: Completion) -> list[str]:
    """Each token of a completion with its log-probability in nats, and their sum."""
    codec = codec_of(model)
    pairs = zip(found.tokens, found.log_probs, strict=True)
    each = [f"{nats:10.4f}  {word_of(codec, token)!r}" for token, nats in pairs]
    return [*each, f"{sum(found.log_probs):10.4f}  nats, of {len(each)} tokens"]


def draft_of(path: Path, draft: str, device: str) -> Model:
    """The model that drafts: another family of the same run, or a model at a path."""
    place = Path(draft)
    if place.exists():
        return verbs.open(place, device=device)
    return verbs.open(path, draft, device=device)


def form_of(forms: Mapping[str, str | Path | None]) -> Form | None:
    """The form that the options ask for, {option: a regex, or the file that it is in}.

    Raises:
        UsageError: there is more than one, or a file cannot be read.

    Example:
        >>> form_of({"--regex": "[0-9]+", "--json-schema": None, "--grammar": None})
        Form(kind='regex', text='[0-9]+')
    """
    given = {option: value for option, value in forms.items() if value is not None}
    if len(given) > 1:
        be = f"given by one of {', '.join(forms)}"
        raise UsageError(must("the form of a text", be, " and ".join(given)))
    for option, value in given.items():
        return Form(FORMS[option], _read(option, value) if isinstance(value, Path) else value)
    return None


def _read(option: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(must(option, "a file of text that can be read", str(path))) from error


def chat_job(
    path: Path,
    family: str | None,
    *,
    device: str,
    system: str | None,
    most: int | None,
    controls: Controls,
    seed: int,
) -> None:
    """`likewise chat`."""
    model = verbs.open(path, family, device=device_of(device))
    talk = Conversation(model, system, most=most, controls=controls, seed=seed)
    out = results()
    about = f"{model.name}, {model.parameters / 1e6:.1f} million parameters"
    out.print(f"[dim]{escape(about)}; {escape(HELP)}.[/]")
    Talk(talk, model.name, out).go_on()


def serve_job(
    path: Path,
    family: str | None,
    *,
    device: str,
    host: str,
    port: int,
    key: str | None,
    **rest: Any,
) -> None:
    """`likewise serve`."""
    from likewise.serve import serve
    from likewise.serve.connections import is_local

    if key is None and KEY in os.environ:  # the parser takes an empty one for none
        key = os.environ[KEY]
    model, name = verbs.open(path, family, device=device_of(device)), path.resolve().name

    def ready(url: str) -> None:
        size = f"{model.parameters / 1e6:.1f} million parameters"
        asks = "no key is asked for" if key is None else "a key is asked for"
        said = notices()
        about = escape(f"model {name!r} ({model.name}, {size}), {asks}")
        said.print(f"[bold]{url}[/]  {about}; Ctrl-C ends it")
        if key is None and not is_local(host):
            said.print("[bold yellow]note[/]  other machines can ask it, and no key bars them.")

    serve(model, name=name, host=host, port=port, key=key, ready=ready, **rest)


def export_job(path: Path, out: Path, family: str | None) -> None:
    """`likewise export`."""
    from likewise.workbench.exchange import export

    place = export(verbs.open(path, family), out)
    results().print(f"written to [bold]{escape(str(place))}[/]")


def _say(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
