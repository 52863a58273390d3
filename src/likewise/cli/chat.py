"""A conversation in the terminal: one line in, one answer out, and two commands."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from likewise.core.errors import UsageError, must, nearest
from likewise.core.text import printable
from likewise.tasks.texts import Conversation

HELP = "an empty line ends it, Ctrl-C an answer; /new starts over, /save FILE keeps it"


class Talk:
    """What a person says, and what comes of it.

    Args:
        conversation: with the model.
        name: of the model, as it is shown.
        out: where it is shown.
    """

    def __init__(self, conversation: Conversation, name: str, out: Console) -> None:
        self.conversation, self.name, self.out = conversation, name, out
        self.forgotten = 0
        self.commands: dict[str, Callable[[str], str]] = {"/new": self._anew, "/save": self._save}

    def go_on(self) -> None:
        """Until an empty line, or the end of the input."""
        while said := heard(self.out):
            try:
                if said.startswith("/"):
                    self.out.print(f"[dim]{escape(self._obey(said))}[/]")
                else:
                    self._answer(said)
            except UsageError as error:  # what was said before stands
                self.out.print(f"[bold red]error[/]  {escape(str(error))}")

    def _answer(self, said: str) -> None:
        """Show the answer as it comes; Ctrl-C ends it, and what came of it stands."""
        pieces = self.conversation.say(said)
        self.out.print(f"[bold]{escape(self.name)}[/] ", end="")
        with contextlib.closing(pieces), contextlib.suppress(KeyboardInterrupt):
            for piece in pieces:
                sys.stdout.write(piece)
                sys.stdout.flush()
        self.out.print()
        if self.conversation.forgotten > self.forgotten:
            self.forgotten = self.conversation.forgotten
            words = f"the context is full: the oldest {self.forgotten} turns are forgotten."
            self.out.print(f"[dim]{words}[/]")

    def _obey(self, said: str) -> str:
        """Do what a command says; what is to be told of it."""
        word, _, rest = said.partition(" ")
        if word not in self.commands:
            raise UsageError(f"command {word!r} is unknown; {nearest(word, self.commands)}.")
        return self.commands[word](rest.strip())

    def _anew(self, rest: str) -> str:
        if rest:
            raise UsageError(must("/new", "alone on its line", rest))
        self.conversation.turns.clear()
        self.forgotten = 0
        return "a new conversation; what was said is forgotten."

    def _save(self, rest: str) -> str:
        if not rest:
            raise UsageError("/save must be followed by the name of a new file, as talk.jsonl.")
        if not self.conversation.turns:
            raise UsageError("there is nothing to save yet: say something first.")
        line = json.dumps({"messages": self.conversation.messages}, ensure_ascii=False)
        try:
            path = Path(os.path.expanduser(rest))  # a ~ of nobody is a name
            with path.open("x", encoding="utf-8", errors="replace") as file:
                file.write(f"{line}\n")
        except FileExistsError as error:
            raise UsageError(
                must("the file", "a new one", rest, "Choose another name.")
            ) from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{rest!r} cannot be written ({error}).") from error
        return f"written to {printable(rest)}"


def heard(out: Console) -> str:
    """The next line that is said; "" at the end of the input."""
    if not (sys.stdin.isatty() and out.is_terminal):
        out.print("[bold]you[/] ", end="")
        line = sys.stdin.readline()
        if not line:
            out.print()
        return line.strip()
    with contextlib.suppress(ImportError):  # not on Windows, where the terminal edits itself
        import readline  # noqa: F401
    # What the terminal does not show stands between marks, so that the line is counted right.
    prompt = "\x01\x1b[1m\x02you\x01\x1b[0m\x02 " if out.color_system else "you "
    try:
        return input(prompt).strip()
    except EOFError:
        out.print()
        return ""
