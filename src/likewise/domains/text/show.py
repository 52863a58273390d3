"""A page of texts as one SVG, readable in light and dark."""

from collections.abc import Iterator
from html import escape
from textwrap import wrap

from likewise.core.errors import DataError, must
from likewise.core.records import Records
from likewise.core.text import printable
from likewise.domains.text.roles import latest, shown

MOST = 12  # texts
LINES = 14  # of one text
COLUMNS = 88  # characters of a line
WIDTH, LINE, MARGIN = 760, 19, 20
STYLE = (
    "rect{fill:#fff;stroke:#d5d5d8}text{font:13px ui-monospace,Menlo,Consolas,monospace;"
    "fill:#1d1d20;white-space:pre}.name{fill:#6a6a72}"
    "@media(prefers-color-scheme:dark){rect{fill:#1b1b1f;stroke:#3a3a42}text{fill:#e8e8ec}"
    ".name{fill:#9b9ba6}}"
)


def show(records: Records) -> bytes:
    """The bytes of an SVG with up to `MOST` texts, evenly chosen, long ones cut.

    Raises:
        DataError: there are no records.
    """
    if not len(records):
        raise DataError(must("records to show", "at least one", 0))
    count = min(MOST, len(records))
    rows = [number * len(records) // count for number in range(count)]
    lines: list[str] = []
    top = MARGIN
    for row in rows:
        label = records.conditions.get("label", (None,) * len(records))[row]
        name = printable(records.ids[row]) + (
            "" if label is None else f" · {printable(str(label))}"
        )
        top += LINE
        lines.append(_line(name[:COLUMNS], top, "name"))
        for line in _lines(read(records, row)):
            top += LINE
            lines.append(_line(line, top))
        top += LINE // 2
    height = top + MARGIN
    page = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}"><style>{STYLE}</style>'
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>'
        f"{''.join(lines)}</svg>"
    )
    return page.encode()


def read(records: Records, row: int) -> str:
    """A record as a person reads it: an answer or a target after what it was made for."""
    told = {name: values[row] for name, values in records.conditions.items()}
    item: str = records.items[row]
    if told.get("source") is not None:
        return f"{shown(told['source'])}\n→ {shown(item)}"
    return shown(item if told.get("prompt") is None else latest(told["prompt"] + item))


def _line(text: str, top: int, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{MARGIN}" y="{top}"{mark} xml:space="preserve">{escape(text)}</text>'


def _lines(text: str) -> Iterator[str]:
    """The first lines of a text, wrapped, without what XML cannot hold."""
    found: list[str] = []
    for line in text[: COLUMNS * LINES * 2].expandtabs(4).split("\n"):
        plain = printable(line).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
        found += wrap(plain, COLUMNS, drop_whitespace=False, replace_whitespace=False) or [""]
    yield from found[:LINES]
    if len(found) > LINES or len(text) > COLUMNS * LINES * 2:
        yield "…"
