"""What a page shows of records: a picture of them, or where they are texts, the texts."""

from pathlib import Path
from typing import Any

import torch

from likewise.auditing.copying import closest
from likewise.auditing.material import Material
from likewise.core.contract import Domain
from likewise.core.records import Records
from likewise.core.space import Space
from likewise.store.files import write_bytes, write_json

LONGEST = 600  # characters of a text that a page shows
PAIRS = 8  # shown beside each other in rows of two, however large the pictures are


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


def keep_closest(place: Path, domain: Domain, space: Space, material: Material) -> None:
    """Private evidence: the samples that most look like copies, each with its neighbour.

    Args:
        place: of the files, without an ending.
        domain: that shows them.
        space: of the samples.
        material: samples, and the training records.
    """
    pairs = closest(material, min(PAIRS, len(material.samples)))
    made, real = material.samples[pairs.samples], material.reference.train[pairs.train]
    both = torch.stack([made, real], dim=1).flatten(0, 1)
    words = "from the sample that looks most like a copy on; ratio is near 0 for a copy"
    numbers = {key: values.tolist() for key, values in pairs._asdict().items()}
    keep(place, domain, domain.decode(both, space), order=words, **numbers)
