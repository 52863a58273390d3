"""What the terminal shows: live progress with the time left, tables, one-line notes."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from likewise.workbench.listen import Listener

if TYPE_CHECKING:
    from rich.progress import TaskID

    from likewise.train.job import Progress
    from likewise.workbench.forecast import Forecast

VERDICTS = {"release": "green", "hold": "red", "unknown": "yellow"}
OPTIONAL = ("excess ↓", "bits/dim ↓", "coverage ↑", "train s")  # columns that tell something
ARROWS = {"lower": "↓", "higher": "↑"}
WIDE = 100
FORECAST_COLUMNS = (
    ("family", False),
    ("size", False),
    ("time", True),
    ("steps", True),
    ("passes", True),
    ("memory", True),
    ("numbers", False),
    ("to expect", False),
)


def console() -> Console:
    """Where progress and notes go: standard error, so that standard output holds results."""
    return Console(stderr=True, highlight=False)


def results() -> Console:
    """Where results go: standard output."""
    return Console(highlight=False)


def notices() -> Console:
    """Where what is said beside results goes: standard error."""
    return Console(stderr=True, highlight=False)


class Terminal(Listener):
    """A listener that draws on a terminal, or prints a line a phase where there is none.

    Args:
        quiet: only warnings and results.
        verbose: every phase, even on a terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = console()
        self.quiet = quiet
        self.verbose = verbose
        self.start = time.monotonic()
        self.live = self.console.is_terminal and not quiet
        self.bars = Progress(
            TextColumn("[bold]{task.fields[name]:<12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self.task: TaskID | None = None
        self.shown = 0.0

    def __enter__(self) -> "Terminal":
        self.bars.start()
        logger = logging.getLogger("likewise")
        self.logs = (_Heard(self), logger, logger.level)
        logger.addHandler(self.logs[0])
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        heard, logger, level = self.logs
        logger.removeHandler(heard)
        logger.setLevel(level)
        self.bars.stop()

    def phase(self, name: str, what: str) -> None:
        """A phase begins."""
        if self.live:
            if self.task is not None:
                self.bars.remove_task(self.task)
            self.task = self.bars.add_task("", total=None, name=name or "run", words=what)
        elif not self.quiet and (self.verbose or what == "training" or not name):
            self.say(f"{name}: {what}" if name else what)

    def progress(self, name: str, progress: "Progress") -> None:
        """A step was taken; drawn ten times a second at most."""
        now = time.monotonic()
        if not self.live or self.task is None or now - self.shown < 0.1:
            return
        self.shown = now
        left = progress.seconds / max(progress.step, 1) * (progress.steps - progress.step)
        losses = "  ".join(f"{part} {value:.4g}" for part, value in progress.losses.items())
        words = f"{progress.step}/{progress.steps}  {losses}  {clock(left)} left"
        self.bars.update(self.task, total=progress.steps, completed=progress.step, words=words)

    def forecast(self, rows: "Sequence[Forecast]") -> None:
        """What is to be expected, as a table, before training begins."""
        if self.quiet or not rows:
            return
        table = Table(title="expected", title_justify="left", box=None, pad_edge=False)
        for heading, side in FORECAST_COLUMNS:
            table.add_column(heading, justify="right" if side else "left", style="dim")
        for row in rows:
            memory = f"{row.memory} MiB" if row.memory is not None else "-"
            passes = f"{row.passes:.3g}"
            cells = (row.name, row.preset, clock(row.seconds), str(row.steps), passes, memory)
            table.add_row(*(escape(cell) for cell in cells), row.arithmetic, row.tier)
        self.console.print(table)

    def note(self, sentence: str) -> None:
        """Something worth saying."""
        if not self.quiet:
            self.say(sentence, "yellow")

    def done(self, name: str, what: str) -> None:
        """A family is done, failed or skipped."""
        if self.verbose or what.startswith("failed"):
            self.say(f"{name}: {what}", "red" if what.startswith("failed") else "")

    def say(self, words: str, style: str = "") -> None:
        """Print a line with the time since the start."""
        seconds = time.monotonic() - self.start
        self.console.print(f"[dim]{clock(seconds):>6}[/]  {escape(words)}", style=style or None)


class _Heard(logging.Handler):
    """Says what the library logs: how far reading has come where it takes long."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.INFO)
        self.terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        if not self.terminal.quiet:
            self.terminal.say(record.getMessage())


def clock(seconds: float) -> str:
    """Seconds as a person says them.

    Example:
        >>> clock(75), clock(9.4)
        ('1m15s', '9s')
    """
    whole = round(seconds)
    return f"{whole // 60}m{whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def number(value: Any) -> str:
    """Three significant digits, or a dash.

    Example:
        >>> number(0.012345), number(None), number(1234.5)
        ('0.0123', '-', '1234')
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def board_table(data: Mapping[str, Any], width: int = 80) -> Table:
    """A leaderboard as a table that fits a terminal of `width` columns."""
    headline = data["headline"]
    table = Table(show_edge=False, pad_edge=False)
    score: Mapping[str, Any] = next(
        (r["scores"][headline] for r in data["rows"] if headline in r["scores"]), {}
    )
    table.add_column("family", no_wrap=True)
    table.add_column(f"{headline} {ARROWS.get(score.get('better', ''), '')}", justify="right")
    table.add_column("95 %", justify="right", no_wrap=True)
    cells = [_cells(row, headline) for row in data["rows"]]
    optional = OPTIONAL if width >= WIDE else OPTIONAL[:2]
    told = [i for i, _ in enumerate(optional, 3) if any(line[i] != "-" for line in cells)]
    for place in told:
        table.add_column(OPTIONAL[place - 3], justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row, line in zip(data["rows"], cells, strict=True):
        kept = [*line[:3], *(line[place] for place in told), line[-1]]
        table.add_row(*kept, style=_style(row, data["best"]))
    return table


def _cells(row: Mapping[str, Any], headline: str) -> list[str]:
    scores = row["scores"]
    main = scores.get(headline, {})
    low, high = main.get("low"), main.get("high")
    verdict = "" if row["role"] == "floor" else row["verdict"]
    colour = VERDICTS.get(verdict, "")
    nll, share = scores.get("nll", {}), scores.get("excess", {}).get("value")
    # where bits of something else rank, those of a dimension say the same once more
    apart = nll.get("unit") == "bits/dim" and not main.get("unit", "").startswith("bits/")
    return [
        escape(row["name"]),
        number(main.get("value")),
        "-" if low is None else f"{number(low)} – {number(high)}",
        "-" if share is None else f"{share:.1%}",
        number(nll.get("value")) if apart else "-",
        number(scores.get("coverage", {}).get("value")),
        number(row["seconds"]),
        f"[{colour}]{verdict}[/]" if colour else verdict,
    ]


def _style(row: Mapping[str, Any], best: str | None) -> str:
    if row["name"] == best:
        return "bold"
    return "dim" if row["role"] != "model" else ""


def scores_table(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    """A scorecard as a table."""
    table = Table(show_edge=False, pad_edge=False)
    for name, justify in (("measure", "left"), ("value", "right"), ("95 %", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("unit")
    table.add_column("n", justify="right")
    table.add_column("")
    for name, score in scores.items():
        low, high = number(score.get("low")), number(score.get("high"))
        table.add_row(
            f"{name} {ARROWS[score['better']]}",
            number(score["value"]),
            f"{low} to {high}" if score.get("low") is not None else "",
            score["unit"] if score["unit"] != "1" else "",
            str(score["n"]),
            escape(score["why"]),
        )
    return table


def say_json(data: Any) -> None:
    """Plain data on standard output, for machines."""
    from likewise.store.files import finite

    sys.stdout.write(json.dumps(finite(data), indent=1, ensure_ascii=False) + "\n")
