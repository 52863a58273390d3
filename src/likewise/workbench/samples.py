"""Samples as files in the user's own format, marked as model-made."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from likewise import __version__
from likewise.core.contract import Controls
from likewise.core.errors import UsageError
from likewise.store.files import file_digest
from likewise.store.provenance import read_png
from likewise.workbench.verbs import open as open_any

LOOKED_AT = 100


def sample_to_files(
    path: Path,
    *,
    n: int,
    where: Mapping[str, Any],
    family: str | None,
    seed: int,
    controls: Mapping[str, Any],
    out: Path | None,
) -> list[Path]:
    """Sample a run's family or a saved model into files; returns them.

    Args:
        path: a run folder or a saved model.
        n: how many.
        where: what they should be.
        family: of the run; None for its best.
        seed: of the samples.
        controls: fields of `Controls`.
        out: a folder, or a file for one picture of all; None for a folder beside the model.
    """
    model = open_any(path, family)
    _check_place(out)
    records = model.sample(n, where or None, seed=seed, controls=Controls(**controls))
    place = out or path / f"samples-{model.name}-{seed}"
    return model.domain.save(records, place, provenance(model.name, path, seed, family))


def _check_place(out: Path | None) -> None:
    """Raise UsageError if a folder holds what no model made: a next run would read both."""
    if out is None or not out.is_dir():
        return
    for file in sorted(out.iterdir())[:LOOKED_AT]:
        if file.is_dir() or (file.suffix == ".png" and read_png(file) is None):
            raise UsageError(
                f"{out} holds what no model made ({file.name}); samples need a folder of "
                f"their own."
            )


def provenance(name: str, path: Path, seed: int, family: str | None) -> dict[str, str]:
    """What every file that leaves carries: made by what, with which weights, when."""
    folder = path / name if (path / "run.json").exists() else path
    return {
        "generator": f"likewise {__version__}",
        "family": name,
        "model_sha256": file_digest(folder / "model.safetensors"),
        "seed": str(seed),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
