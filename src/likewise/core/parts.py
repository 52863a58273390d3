"""What the parts of a split are called where data brings one: folders, files, lists."""

from collections.abc import Mapping

from likewise.core.records import Part

CALLED: Mapping[str, Part] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "eval": "valid",
    "evaluation": "valid",
    "test": "test",
    "testing": "test",
}
