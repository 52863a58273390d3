"""What a page shows of records: a picture of them, or where they are texts, the texts."""

from pathlib import Path
from typing import Any

from likewise.core.contract import Domain
from likewise.core.records import Records
from likewise.store.files import write_bytes, write_json

LONGEST = 600  # characters of a text that a page shows


def keep(place: Path, domain: Domain, records: Records, **facts: Any) -> None:
    """Write what a page shows of records: `place`.png, or `place`.json with their texts.

    Args:
        place: a file's name without its suffix.
        domain: that can show them.
        records: few.
        **facts: plain data that go with them, into `place`.json.
    """
    texts = domain.texts(records)
    if texts is None:
        write_bytes(place.with_suffix(".png"), domain.show(records))
    else:
        facts = {"texts": [_short(text) for text in texts], **facts}
    if facts:
        write_json(place.with_suffix(".json"), facts)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
