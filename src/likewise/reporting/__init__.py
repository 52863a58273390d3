"""From the JSON and PNG files of a run to a page, a card and one JSON; computes nothing.

`report(run)` writes three files into the run folder: `report.html` (one file that stands alone),
`README.md` (a model card) and `report.json` (all that the page shows).
"""

from pathlib import Path

from likewise.reporting.card import as_markdown
from likewise.reporting.folder import Folder, Plain, number, open_folder
from likewise.reporting.page import as_html
from likewise.reporting.view import collect
from likewise.store.files import write_json, write_text

__all__ = ["report"]

EVIDENCE = ("nearest", "reconstruction", "answers")


def report(run: Path, *, with_train: bool = False) -> Path:
    """Write a run's report, card and JSON; returns the path of the page.

    `run/report.html`, `run/README.md` and `run/report.json` hold no training record and may be
    passed on. With `with_train` the page is also written to `run/private/report.html`, there with
    the samples that were withheld and the real records of `run/private`; that path is returned.

    Args:
        run: the folder of a run; what is missing or damaged in it is named on the page.
        with_train: whether to write the page that shows real records, training records among them.

    Raises:
        StoreError: there is no run in that folder, or a file cannot be written.
    """
    folder = open_folder(Path(run))
    shown = collect(folder)
    write_json(folder.path / "report.json", shown)
    write_text(folder.path / "README.md", as_markdown(shown))
    write_text(folder.path / "report.html", as_html(folder.path, shown))
    if not with_train:
        return folder.path / "report.html"
    place = folder.path / "private" / "report.html"
    write_text(place, as_html(folder.path, shown, _private(folder)))
    return place


def _private(folder: Folder) -> list[Plain]:
    """Pictures or texts of the private folder and what is known of each; held-out ones first."""
    told = []
    for reader, suffix in ((folder.picture, "png"), (folder.quotes, "json")):
        for path in sorted((folder.path / "private").rglob(f"*.{suffix}")):
            found = reader(path.relative_to(folder.path).as_posix())
            if found:
                told.append({**found, **_evidence(folder, found["path"])})
    return sorted(told, key=lambda shown: str(shown["kind"]))


def _evidence(folder: Folder, path: str) -> Plain:
    """Whose picture it is, of which kind, and the distances of its pairs in their order."""
    name = Path(path).stem
    kind = next((kind for kind in EVIDENCE if name.endswith(f"-{kind}")), "")
    facts = folder.json(str(Path(path).with_suffix(".json"))) if kind == "nearest" else {}
    columns = [facts.get(key) for key in ("to_train", "to_held_out", "ratio")]
    told = all(isinstance(column, list) for column in columns)
    return {
        "family": name.removesuffix(f"-{kind}") if kind else "",
        "kind": kind,
        "pairs": [
            {"to_train": number(near), "to_held_out": number(other), "ratio": number(ratio)}
            for near, other, ratio in (zip(*columns, strict=False) if told else ())
        ],
    }
