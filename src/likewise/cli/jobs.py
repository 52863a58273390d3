"""What each verb does: calls of the workbench, and what the terminal says of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from likewise.cli.show import Terminal, board_table, number, results, say_json, scores_table
from likewise.core import registry
from likewise.core.errors import UsageError, must
from likewise.store.files import read_json
from likewise.workbench import verbs
from likewise.workbench.board import Leaderboard
from likewise.workbench.fitting import kinds
from likewise.workbench.repeat import audit_run, evaluate_files, evaluate_run, train_run
from likewise.workbench.wishes import Wishes

HELD = 3
RESULT = {
    "release": "may be released",
    "hold": "is held",
    "unknown": "is neither released nor held: its verdict is unknown",
}


def run_job(
    data: str,
    *,
    options: Mapping[str, Any],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **rest: Any,
) -> int:
    """`likewise run`."""
    with Terminal(quiet=quiet, verbose=verbose) as terminal:
        board = verbs.run(data, listener=terminal, **rest, **options)
    if as_json:
        say_json(board.data)
    else:
        _show_board(board)
    return 0 if board.data["best"] is not None else HELD


def train_job(
    family: str,
    data: str,
    wishes: Wishes,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **rest: Any,
) -> None:
    """`likewise train`."""
    with Terminal(quiet=quiet, verbose=verbose) as terminal:
        path, facts = train_run(family, data, wishes, listener=terminal, **rest)
    if as_json:
        say_json({"run": str(path), "family": family, **facts})
        return
    results().print(
        f"[bold]{escape(family)}[/] trained in {number(facts['seconds'])} s, "
        f"{_effort(family, facts['steps'])}. Next: [bold]{escape(_next(path, family))}[/]"
    )


def _effort(family: str, steps: int) -> str:
    """How long a family learned: steps, or passes over the data where it counts."""
    if all(kind.claims.learning == "counting" for kind in kinds(family)):
        return f"{steps} {'pass' if steps == 1 else 'passes'} over the data"
    return f"{steps} {'step' if steps == 1 else 'steps'}"


def _next(path: Path, family: str) -> str:
    """What to do with a model that is trained: talk, translate or write on, if it learned that."""
    codec = read_json(path / family / "codec.json")
    state, writes = codec["state"], hasattr(registry.get("families", family), "reader")
    if state.get("source"):
        return f'likewise translate {path} "…"'
    if codec["domain"] == "text" and writes:
        return f"likewise chat {path}" if state.get("roles") else f'likewise complete {path} "…"'
    return f"likewise sample {path} -n 64"


def sample_job(
    run: Path, *, n: int, only: str | None, as_json: bool, quiet: bool, **rest: Any
) -> None:
    """`likewise sample`."""
    from likewise.workbench.samples import sample_to_files, wanted

    numbers = wanted(n, only)
    with Terminal(quiet=quiet) as terminal:
        made = sample_to_files(run, numbers=numbers, listener=terminal, **rest)
    if as_json:
        say_json({
            "place": str(made.place),
            "made": made.made,
            "present": made.present,
            "files": [str(file) for file in made.files],
        })  # fmt: skip
        return
    place = made.files[0] if made.files and made.files[0].suffix == ".png" else made.place
    place = made.place if made.place.is_dir() else place
    there = f"; {made.present} more were there already" if made.present else ""
    results().print(f"{made.made} samples in [bold]{escape(str(place))}[/]{there}")


def evaluate_job(made: Path, data: str | None, *, as_json: bool, quiet: bool, **rest: Any) -> None:
    """`likewise evaluate`."""
    with Terminal(quiet=quiet) as terminal:
        if (made / "run.json").exists():
            board = evaluate_run(made, data, listener=terminal, **rest)
            scores = None
        elif data is None:
            raise UsageError(f"{made} is not a run folder; name the real data to compare it with.")
        else:
            scores = evaluate_files(made, data, listener=terminal, **rest)
    if scores is None:
        say_json(board.data) if as_json else _show_board(board)
    elif as_json:
        say_json(scores)
    else:
        results().print(scores_table(scores))


def audit_job(run: Path, family: str | None, *, as_json: bool, quiet: bool) -> int:
    """`likewise audit`."""
    with Terminal(quiet=quiet) as terminal:
        audits = audit_run(run, family, listener=terminal)
    if as_json:
        say_json(audits)
    else:
        _show_audits(audits)
    judged = [a["verdict"] for a in audits.values() if a["role"] == "model" or family is not None]
    return HELD if judged and all(verdict == "hold" for verdict in judged) else 0


def plant_job(
    data: str, out: Path, *, repeats: str, options: Mapping[str, Any], **rest: Any
) -> None:
    """`likewise plant`."""
    from likewise.workbench.canaries import plant

    counts = [part.strip() for part in repeats.split(",")]
    if not all(count.isdecimal() and len(count) < 7 for count in counts):
        raise UsageError(must("repeats", "whole numbers such as 1,4,16,64", repeats))
    made = plant(data, out, repeats=[*map(int, counts)], **rest, **options)
    times = sum(one.repeats for one in made.canaries)
    planted = sum(one.repeats > 0 for one in made.canaries)
    results().print(
        f"{planted} canaries stand {times:,} times in the {made.texts:,} training texts of "
        f"[bold]{escape(str(made.data))}[/]. After a run on it: "
        f"[bold]likewise audit RUN --canaries {escape(str(made.file))}[/]"
    )


def report_job(run: Path, *, with_train: bool) -> None:
    """`likewise report`."""
    results().print(f"[bold]{escape(str(verbs.report(run, with_train=with_train)))}[/]")


def _show_board(board: Leaderboard) -> None:
    out = results()
    out.print(board_table(board.data, out.width))
    for item in board.data["skipped"]:
        out.print(f"[yellow]skipped[/] {escape(item['name'])}: {escape(item['why'])}")
    best = board.data["best"]
    if best is None:
        out.print("[red]No family may be released[/]: the report says why.")
    else:
        row = next(row for row in board.rows if row["name"] == best)
        out.print(f"best: [bold]{escape(best)}[/], which {RESULT[row['verdict']]}")
        tied = board.tied(best)
        if tied:
            out.print(f"tied with it, their intervals overlap: {escape(', '.join(tied))}")
    page = board.path / "report.html"
    if page.exists():
        out.print(f"report: [bold]{escape(str(page))}[/]")


def _show_audits(audits: Mapping[str, Mapping[str, Any]]) -> None:
    out = results()
    colours = {"pass": "green", "fail": "red", "unknown": "yellow"}
    for name, found in audits.items():
        out.print(f"[bold]{escape(name)}[/] {RESULT[found['verdict']]}")
        for finding in found["findings"]:
            colour = colours[finding["outcome"]]
            out.print(
                f"  [{colour}]{finding['outcome']:<8}[/] {escape(finding['rule'])}: "
                f"{escape(finding['sentence'])}"
            )
    out.print("[dim]Evidence of resistance to the attacks run, and to no others.[/]")
