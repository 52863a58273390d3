"""What each verb does: calls of the workbench, and what the terminal says of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from likewise.cli.show import Terminal, board_table, number, results, say_json, scores_table
from likewise.core.errors import UsageError
from likewise.workbench import verbs
from likewise.workbench.board import Leaderboard
from likewise.workbench.repeat import audit_run, evaluate_files, evaluate_run, train_run

HELD = 3
RESULT = {"release": "may be released", "hold": "is held", "unknown": "cannot be told yet"}


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


def data_job(data: str, *, options: Mapping[str, str], as_json: bool) -> None:
    """`likewise data`."""
    from likewise.workbench.data import Prepared

    facts = Prepared.of(verbs.load(data, **options)).facts()
    if as_json:
        say_json(facts)
        return
    out = results()
    counts = ", ".join(f"{count} {part}" for part, count in facts["counts"].items())
    out.print(f"[bold]{escape(facts['origin'] or data)}[/]  {escape(facts['domain'])}")
    out.print(f"  records     {facts['records']} ({counts})")
    out.print(f"  shape       {escape(facts['space'])}")
    out.print(f"  duplicates  {facts['duplicates']}")
    for name, tally in facts["conditions"].items():
        words = tally if isinstance(tally, str) else _tally(tally)
        out.print(f"  {escape(name):<11} {escape(words)}")
    for note in facts["notes"]:
        out.print(f"  note        {escape(note)}")
    reasons: dict[str, list[str]] = {}
    for item in facts["skipped"]:
        reasons.setdefault(item["why"], []).append(item["what"])
    for why, names in reasons.items():
        some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        out.print(f"  [yellow]skipped[/]     {len(names)}: {escape(why)} ({escape(some)})")


def train_job(
    family: str,
    data: str,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **rest: Any,
) -> None:
    """`likewise train`."""
    with Terminal(quiet=quiet, verbose=verbose) as terminal:
        path, facts = train_run(family, data, listener=terminal, **rest)
    if as_json:
        say_json({"run": str(path), "family": family, **facts})
        return
    results().print(
        f"[bold]{escape(family)}[/] trained in {number(facts['seconds'])} s, "
        f"{facts['steps']} steps. Next: [bold]likewise sample {escape(str(path))} -n 64[/]"
    )


def sample_job(
    run: Path,
    *,
    n: int,
    where: Mapping[str, str],
    family: str | None,
    seed: int,
    controls: Mapping[str, Any],
    out: Path | None,
    as_json: bool,
) -> None:
    """`likewise sample`."""
    from likewise.workbench.samples import sample_to_files

    files = sample_to_files(
        run, n=n, where=where, family=family, seed=seed, controls=controls, out=out
    )
    if as_json:
        say_json({"files": [str(file) for file in files]})
        return
    place = files[0] if len(files) == 1 else files[0].parent
    results().print(f"{n} samples in [bold]{escape(str(place))}[/]")


def evaluate_job(
    made: Path, data: str | None, *, options: Mapping[str, str], as_json: bool, quiet: bool
) -> None:
    """`likewise evaluate`."""
    with Terminal(quiet=quiet) as terminal:
        if (made / "run.json").exists():
            board = evaluate_run(made, data, listener=terminal, options=options)
            scores = None
        elif data is None:
            raise UsageError(f"{made} is not a run folder; name the real data to compare it with.")
        else:
            scores = evaluate_files(made, data, listener=terminal, options=options)
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


def _tally(tally: Mapping[str, int], most: int = 12) -> str:
    words: Sequence[str] = [f"{name or '(none)'} {count}" for name, count in tally.items()]
    return ", ".join(words[:most]) + (f", … ({len(words)} values)" if len(words) > most else "")
