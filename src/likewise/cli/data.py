"""`likewise data`: what is in some data, as a terminal shows it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from likewise.cli.show import Terminal, number, results, say_json
from likewise.core.text import printable
from likewise.workbench import verbs

WIDEST = 100
BAR = 24
MOST = 12
PICTURE = 16  # pixels a side, and characters


def data_job(data: str, *, options: Mapping[str, str], out: Path | None, as_json: bool) -> None:
    """`likewise data`."""
    from likewise.workbench.data_page import check_page, facts_of, some_pictures, write_page

    if out is not None:
        check_page(out)
    with Terminal():
        records = verbs.load(data, **options)
        if out is None:
            facts, prepared = facts_of(records, options)
        else:
            facts = write_page(records, out, options)
    if as_json:
        say_json(facts)
        return
    console = results()
    show_facts(facts, console)
    if out is None:
        if console.is_terminal:
            room = min(console.width, WIDEST) // (PICTURE + 1)
            console.print(contact_sheet(some_pictures(prepared.domain, records, room)))
        console.print("[dim]--out data.html writes a page that shows some of it.[/]")
    else:
        console.print(f"page: [bold]{escape(str(out))}[/]. It shows records of the data: private.")


def show_facts(facts: Mapping[str, Any], console: Console) -> None:
    """Print what is in some data, within the width of the console."""
    name = escape(facts["origin"] or "data")
    amount = facts.get("amount") or f"{facts['records']:,} {facts['domain']}"
    console.print(f"[bold]{name}[/]  {escape(amount)}")
    table = Table.grid(padding=(0, 2))
    table.width = min(console.width, WIDEST)
    table.add_column(no_wrap=True, style="dim", max_width=16)
    table.add_column(ratio=1, overflow="fold")
    for title, words in _lines(facts):
        table.add_row(escape(title), words)
    console.print(table)


def contact_sheet(pictures: Sequence[bytes], side: int = PICTURE) -> Text:
    """PNG files side by side, in half blocks: two pixels above each other in one character.

    Example:
        >>> contact_sheet([]).plain
        ''
    """
    import io

    from PIL import Image

    lines = [Text() for _ in range((side + 1) // 2)] if pictures else []
    for data in pictures:
        with Image.open(io.BytesIO(data)) as picture:
            cells = picture.convert("RGB").resize((side, 2 * len(lines)), Image.Resampling.BOX)
        for y, line in enumerate(lines):
            for x in range(side):
                above, below = (cells.getpixel((x, 2 * y + k)) for k in (0, 1))
                line.append("▀", f"{_colour(above)} on {_colour(below)}")
            line.append(" ")
    return Text("\n").join(lines)


def _colour(pixel: Any) -> str:
    return "rgb({},{},{})".format(*pixel)


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(title, markup) line by line."""
    if facts["refused"]:
        yield "refused", f"[red]a run would refuse this data:[/] {escape(facts['refused'])}"
    if facts["counts"]:
        yield "split", ", ".join(f"{count:,} {part}" for part, count in facts["counts"].items())
    if facts["choice"]:
        yield "a run takes", escape("; ".join(f"{k} {v}" for k, v in facts["choice"].items()))
    yield from _originals(facts)
    if facts["classes"]:
        yield "classes", f"{sum(map(bool, facts['classes'])):,}"
        yield from _bars(facts["classes"])
    elif "label" in facts["conditions"]:
        yield "classes", escape(facts["conditions"]["label"])
    yield "duplicates", _duplicates(facts)
    yield from _besides(facts)
    for note in facts["notes"]:
        yield "note", escape(note)
    for oddity in facts["oddities"]:
        some = ", ".join(oddity["first"]) + (
            ", …" if oddity["count"] > len(oddity["first"]) else ""
        )
        yield (
            "skipped",
            f"[yellow]{oddity['count']:,}: {escape(oddity['why'])}[/] ({escape(some)})",
        )


def _originals(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    sizes = facts["sizes"]
    if sizes and sizes["different"] == 1:
        yield "originals", f"all {_size(sizes['smallest'])}"
    elif sizes:
        shapes = ", ".join(f"{count:,} {shape}" for shape, count in sizes["shapes"].items())
        span = f"{_size(sizes['smallest'])} to {_size(sizes['largest'])}"
        by = "" if sizes["different"] <= len(sizes["bars"]) else "; by the smaller side:"
        yield "originals", f"{sizes['different']:,} sizes, {span}; {shapes}{by}"
        yield from _bars(sizes["bars"])
    if facts["formats"]:
        yield "formats", escape(", ".join(f"{k} {v:,}" for k, v in facts["formats"].items()))


def _duplicates(facts: Mapping[str, Any]) -> str:
    words = f"{facts['duplicates']:,} exact"
    near = facts["near"]
    if near is None:
        return words
    words += f", {near['pictures']:,} near"
    if near["pictures"]:
        words += f" in {near['clusters']:,} clusters"
    if near["examples"]:
        words += f", such as {escape(' and '.join(near['examples'][0]))}"
    return words


def _besides(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    told = facts["captions"]
    if told:
        example = printable(told["example"])
        short = escape(example if len(example) < 100 else example[:99] + "…")
        yield "captions", f"{told['records']:,} of {facts['records']:,}, such as “{short}”"
    for column in facts["columns"]:
        missing = f"; {column['missing']:,} missing" if column["missing"] else ""
        if column["numbers"]:
            low, middle, high = map(number, column["numbers"])
            yield column["name"], f"{low} to {high}, median {middle}{missing}"
        else:
            known = [f"{printable(value)} {n:,}" for value, n in column["values"].items()]
            more = (column["different"] or 0) - len(known)
            rest = f", … ({column['different']:,} values)" if more > 0 else ""
            yield column["name"], escape(", ".join(known) + rest + missing)


def _bars(groups: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """A bar for each of the first groups."""
    most = max(groups.values())
    for name, count in list(groups.items())[:MOST]:
        length = max(1, round(BAR * count / most)) if count else 0
        yield f"  {name or '(none)'}", f"[cyan]{'━' * length:<{BAR}}[/] {count:,}"
    if len(groups) > MOST:
        yield "", f"and {len(groups) - MOST:,} more"


def _size(size: list[int]) -> str:
    return f"{size[1]:,} × {size[0]:,}"
