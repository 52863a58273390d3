"""The page of some data, before anything is trained on it: what it is, and how it looks."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from likewise import __version__
from likewise.reporting.folder import text
from likewise.reporting.page import render

MOST_BARS = 60


def data_page(
    facts: Mapping[str, Any],
    sheets: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]] = (),
) -> str:
    """One HTML file that stands alone, like a report; it shows real records and says so.

    Args:
        facts: what the workbench says of the data ("origin", "records", "classes", ...).
        sheets: contact sheets [{"name", "count", "shown", "source", "width", "height"}], where
            "source" is a `data:` URL of a picture.
        pairs: near-duplicates [{"names", "source", "width", "height"}].
    """
    data = _clean(facts)
    return render(
        "data_page.html",
        data=data,
        name=PurePath(data["origin"]).name or data["origin"] or "data",
        sheets=_clean(sheets),
        pairs=_clean(pairs),
        version=__version__,
        most_bars=MOST_BARS,
    )


def _clean(value: Any) -> Any:
    """Plain data whose text can be written and shown, whatever a user's files are named."""
    if isinstance(value, Mapping):
        return {text(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return text(value) if isinstance(value, str) else value
