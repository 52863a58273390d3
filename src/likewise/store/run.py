"""Run: the folder on disk that holds all of one job, and the states of its families.

```
run.json                 data fingerprint, split hashes, seed, versions, plan, states
leaderboard.json  report.html  README.md
features/                feature nets, trained once on train only
FAMILY/  config.json  model.safetensors  codec.json  log.jsonl
         samples/  scorecard.json  audit.json  training/
private/                 evidence that shows training records; never leaves
```
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from likewise.core.errors import StoreError
from likewise.store.files import digest, finite, read_json, sweep, write_json, write_text

SCHEMA = 1
State = Literal["pending", "training", "done", "failed", "skipped"]


class Run:
    """A run folder; every change is written at once and atomically.

    Args:
        path: of the folder.
        data: what run.json holds.
    """

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data

    @classmethod
    def create(cls, path: Path, data: Mapping[str, Any]) -> "Run":
        """A new run folder.

        Raises:
            StoreError: the folder holds something else.
        """
        if path.exists() and any(p for p in path.iterdir() if p.name != ".lock"):
            raise StoreError(
                f"{path} exists and is not an unfinished run of this data. Choose another folder "
                f"with --out, or remove it."
            )
        run = cls(path, {"schema": SCHEMA, "states": {}, **data})
        run.write()
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """The run in a folder; what killed writes left behind is removed.

        Raises:
            StoreError: there is no run, or it is of a newer version.
        """
        if not (path / "run.json").exists():
            raise StoreError(f"{path} is not a run folder: it has no run.json.")
        data = read_json(path / "run.json")
        wrong = _wrong(data)
        if wrong:
            raise StoreError(f"{path / 'run.json'} is damaged: {wrong}.")
        if data["schema"] > SCHEMA:
            raise StoreError(
                f"{path} was written by likewise {data.get('version', '?')}, which is newer than "
                f"this one. Install that version to open it."
            )
        return cls(path, data)

    def sweep(self) -> None:
        """Remove what killed writes left behind; only for the process that holds the lock."""
        sweep(self.path)

    def write(self) -> None:
        """Write run.json."""
        write_json(self.path / "run.json", self.data)

    def update(self, **changes: Any) -> None:
        """Change run.json."""
        self.data.update(changes)
        self.write()

    def folder(self, name: str) -> Path:
        """The folder of one family."""
        return self.path / name

    def state(self, name: str) -> State:
        """Where one family stands."""
        state: State = self.data["states"].get(name, {}).get("state", "pending")
        return state

    def set_state(self, name: str, state: State, why: str = "", **facts: Any) -> None:
        """Note where one family stands, and why."""
        self.data["states"][name] = {"state": state, "why": why, **facts}
        self.write()

    def families(self, state: State = "done") -> list[str]:
        """The families that stand so, in the order of the plan."""
        return [name for name, facts in self.data["states"].items() if facts["state"] == state]

    def write_log(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write the whole log of one family."""
        lines = [json.dumps(row, allow_nan=False) for row in finite(rows)]
        write_text(self.folder(name) / "log.jsonl", "".join(f"{line}\n" for line in lines))

    def fresh(self, path: Path, inputs: Any) -> dict[str, Any] | None:
        """An artefact that was made from exactly these inputs, or None."""
        try:
            data = read_json(path)
        except StoreError:  # missing or damaged: it is made again
            return None
        unchanged = isinstance(data, dict) and data.get("inputs") == digest(inputs)
        return data if unchanged else None

    def keep(self, path: Path, inputs: Any, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write an artefact with the hash of its inputs."""
        whole = {"schema": SCHEMA, **data, "inputs": digest(inputs)}
        write_json(path, whole)
        return whole


def _wrong(data: Any) -> str:
    """What is wrong with the content of run.json, or ""."""
    if not isinstance(data, dict):
        return "it is not a mapping"
    kinds = {"schema": int, "states": dict, "data": dict, "seed": int, "budget": dict}
    for key, kind in kinds.items():
        if not isinstance(data.get(key), kind):
            return f"{key!r} is missing or not what it should be"
    for key in ("fingerprint", "origin"):
        if not isinstance(data["data"].get(key), str):
            return f"the {key} of its data is missing"
    if not isinstance(data.get("plan", {}), dict):
        return "its plan is not what it should be"
    for name, state in data["states"].items():
        if not re.fullmatch(r"[\w-]+(\+[\w-]+)?", name) or not isinstance(state, dict):
            return f"the state of {name!r} is not what it should be"
        if not isinstance(state.get("state"), str):
            return f"the state of {name!r} is missing"
    return ""
