"""The verbs of texts: complete, chat, serve, export."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from likewise.cli.show import results
from likewise.core.contract import Controls
from likewise.tasks.texts import Conversation, stream
from likewise.workbench import verbs
from likewise.workbench.runs import device_of


def complete_job(
    path: Path,
    prompt: str,
    family: str | None,
    *,
    most: int,
    controls: Mapping[str, Any],
    stop: Sequence[str],
    seed: int,
) -> None:
    """`likewise complete`."""
    model = verbs.open(path, family)
    text = sys.stdin.read() if prompt == "-" else prompt
    pieces = stream(
        model, text, most=most, controls=Controls(**controls), stop=list(stop), seed=seed
    )
    for number, piece in enumerate(pieces):
        if number == 0:
            sys.stdout.write(text)
        _say(piece)
    _say("\n")


def chat_job(
    path: Path,
    family: str | None,
    *,
    system: str | None,
    most: int | None,
    controls: Mapping[str, Any],
    seed: int,
) -> None:
    """`likewise chat`: one line in, one answer out, until an empty line."""
    model = verbs.open(path, family)
    talk = Conversation(model, system, most=most, controls=Controls(**controls), seed=seed)
    out = results()
    size = model.parameters / 1e6
    out.print(
        f"[dim]{escape(model.name)}, {size:.1f} million parameters; an empty line ends it.[/]"
    )
    forgotten = 0
    while True:
        out.print("[bold]you[/] ", end="")
        said = sys.stdin.readline().strip()
        if not said:
            return
        out.print(f"[bold]{escape(model.name)}[/] ", end="")
        for piece in talk.say(said):
            _say(piece)
        _say("\n")
        if talk.forgotten > forgotten:
            forgotten = talk.forgotten
            out.print(f"[dim]the context is full: the oldest {forgotten} turns are forgotten.[/]")


def serve_job(path: Path, family: str | None, *, device: str, **rest: Any) -> None:
    """`likewise serve`."""
    from likewise.serve import serve

    serve(verbs.open(path, family, device=device_of(device)), name=path.resolve().name, **rest)


def export_job(path: Path, out: Path, family: str | None) -> None:
    """`likewise export`."""
    from likewise.workbench.exchange import export

    place = export(verbs.open(path, family), out)
    results().print(f"written to [bold]{escape(str(place))}[/]")


def _say(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
