"""One HTML file that stands alone: styles, script and pictures inside, nothing fetched.

The page forbids itself the network (a Content-Security-Policy without any source but `data:`
pictures, and a hash for its one script), and every value is escaped by the template engine, so a
family or a file named like markup stays a name.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from likewise.reporting import draw, words
from likewise.reporting.folder import Plain, quoted
from likewise.store.files import read_json

LARGEST_CRISP = 512
MOST_QUOTED = 12


def as_html(run: Path, view: Plain, private: list[Plain] | None = None) -> str:
    """The report as one page.

    Args:
        run: the folder that picture paths are relative to.
        view: what `view.collect` made of the folder.
        private: pictures that show training records; None leaves out these and all samples that
            may hold training records.
    """
    return render(
        "page.html",
        view=view,
        version=view["version"],
        private=private,
        embedded=lambda picture: _embedded(run / picture["path"]),
        quoted=lambda quotes: _quoted(run / quotes["path"]),
    )


def render(template: str, **values: Any) -> str:
    """A page out of a template that extends `base.html`, with its style and script inside."""
    from markupsafe import Markup

    environment = _environment()
    script = _source(environment, "script.js")
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup(_source(environment, "style.css")),
        script=Markup(script),
        seal=seal,
        **values,
    )


def withheld(family: Plain) -> str:
    """Why a family's samples are not on a page that may be passed on, or nothing.

    A control repeats training records by design, and a held family may do so.
    """
    if family["role"] == "control":
        return "a control repeats training records by design"
    if family["role"] not in {"model", "baseline"}:
        return "a family without a known role may repeat training records"
    if family["verdict"] == "hold":
        return "what a held family makes may not be passed on"
    return ""


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("likewise.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {word.__name__: word for word in words.FILTERS}
    environment.globals.update(
        axis=draw.axis,
        bar=draw.bar,
        effect=draw.effect,
        labelled=draw.labelled,
        panel=draw.panel,
        withheld=withheld,
        crisp=LARGEST_CRISP,
        states=words.STATES,
        verdicts=words.VERDICTS,
    )
    return environment


def _source(environment: Any, name: str) -> str:
    return environment.loader.get_source(environment, name)[0]


def _quoted(path: Path) -> list[str]:
    """The first texts of a JSON file."""
    return quoted(read_json(path).get("texts"))[:MOST_QUOTED]


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
