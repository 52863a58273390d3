"""The command line: words become calls of the workbench.

One binary, verbs, path first. Exit codes: 0 ok, 1 error, 2 usage, 3 the audit says hold,
130 stopped by Ctrl-C. Results go to standard output (`--json` for machines), progress and errors
to standard error. Nothing heavy is imported until a verb runs, so help is instant.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from likewise.cli import fill_verbs, run_verbs, text_verbs
from likewise.cli.words import app
from likewise.core.errors import LikewiseError
from likewise.core.text import printable

__all__ = ["app", "fill_verbs", "guarded", "main", "run_verbs", "text_verbs"]
INTERRUPTED = 130
TALKING = {"complete", "chat", "infill", "translate", "serve"}  # verbs that leave nothing behind


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from likewise import __version__

        typer.echo(f"likewise {__version__}")
        raise typer.Exit


def main() -> None:
    """The entry point: every error of ours becomes one sentence and an exit code."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(call: Callable[[], Any]) -> int:
    """Run a command; a person's mistake never shows a traceback."""
    from rich.console import Console
    from rich.markup import escape

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        result = call()
        if result == INTERRUPTED:  # the parser turns Ctrl-C into this code
            raise KeyboardInterrupt
        return int(result) if isinstance(result, int) else 0
    except LikewiseError as error:
        stopped = error.exit_code == INTERRUPTED
        word = "[bold yellow]stopped[/]" if stopped else "[bold red]error[/]"
        errors.print(f"{word}  {escape(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        words = "What was learned is kept; give the same command again to go on."
        said = "" if set(sys.argv[1:2]) & TALKING else f"  {words}"
        errors.print(f"[bold yellow]stopped[/]{said}")
        return INTERRUPTED
    except BrokenPipeError:
        return 1
    except OSError as error:
        named = f"'{error.filename}'" if error.filename else "a file"
        why = error.strerror or type(error).__name__
        words = f"{named} cannot be used ({why}). Check its name, its rights and the disk."
        errors.print(f"[bold red]error[/]  {escape(printable(words))}")
        return 1
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(error, "exit_code", 2))


if __name__ == "__main__":
    main()
