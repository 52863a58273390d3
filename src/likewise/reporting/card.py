"""The model card of a run: Markdown with the front matter that model hubs read."""

import html
import json
import re
from functools import cache
from typing import Any

from likewise.reporting import words
from likewise.reporting.board import score_of
from likewise.reporting.folder import Plain

TASKS = {"images": "unconditional-image-generation", "text": "text-generation"}
_MARKS = re.compile(r"([\\`*_{}\[\]#|~!$])")


class Ready(str):
    """Text that is Markdown or YAML already and is written as it is."""


def as_markdown(view: Plain) -> str:
    """The card; every value is escaped unless a filter made it `Ready`.

    Args:
        view: what `view.collect` made of the folder.
    """
    task = TASKS.get(view["data"]["domain"], "other")
    scored = [
        row
        for row in view["board"]["rows"]
        if row["role"] == "model"
        and any(cell["value"] is not None for cell in row["scores"].values())
    ]
    return _environment().get_template("card.md").render(view=view, task=task, scored=scored)


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("likewise.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=escaped,
    )
    environment.filters |= {word.__name__: word for word in words.FILTERS}
    environment.filters |= {"yaml": quoted, "block": block}
    environment.globals.update(score_of=score_of, states=words.STATES, verdicts=words.VERDICTS)
    return environment


def escaped(value: Any) -> str:
    """A value as Markdown that shows it letter by letter.

    Example:
        >>> escaped("a_b <script>|")
        'a\\\\_b &lt;script&gt;\\\\|'
    """
    if isinstance(value, Ready):
        return value
    return _MARKS.sub(r"\\\1", html.escape(str(value), quote=False))


def quoted(value: Any) -> Ready:
    """A value as a YAML scalar; JSON's strings and numbers are YAML's too.

    Example:
        >>> quoted("a: b"), quoted(0.5)
        ('"a: b"', '0.5')
    """
    return Ready(json.dumps(value, ensure_ascii=False))


def block(value: str) -> Ready:
    """A command as a code block, with a fence that nothing in it can close."""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * max(3, longest + 1)
    return Ready(f"{fence}sh\n{value}\n{fence}")
